"""Instant checks: `check("name", answer)` says right, not yet (and a hint), or not answered.

Each exercise is one small function, in the module of its chapter: it returns None when the answer
is right and a hint when it is not. Right answers are computed, not stored, wherever that is
possible.
"""

from importlib import import_module
from pkgutil import iter_modules

from lrcourse.exercises.engine import check, names

__all__ = ["check", "names"]

for _module in iter_modules(__path__):
    if _module.name.startswith("chapter_"):
        import_module(f"{__name__}.{_module.name}")
