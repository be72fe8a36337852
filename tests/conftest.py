"""Settings for all tests: how hypothesis draws its examples."""

import os

from hypothesis import settings

# No deadline: the first call may import torch. On CI the same examples on every run, so that a red
# run means the change is wrong; at home new ones each time, so that more is found.
settings.register_profile("course", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "course")
