"""Declared comparisons, run, recorded, read back: `python -m lrcourse.experiments`."""
