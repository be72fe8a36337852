"""Instant checks: `check("name", answer)` says right, not yet (and a hint), or not answered.

Each exercise is one small function, in the module of its chapter, which is loaded when one of its
exercises is checked: it yields hints, of which the first is told, and none when the answer is
right. Right answers are computed, not stored, wherever that is possible.
"""

from lrcourse.exercises.engine import check, names

__all__ = ["check", "names"]
