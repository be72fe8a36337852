"""`python -m lrcourse.experiments`: list, run and record the experiments."""

import sys

from lrcourse.experiments.declared import main

sys.exit(main())
