"""Checks of chapter 04, Steps."""

from typing import Any

import numpy as np

from lrcourse.exercises.contest import Contest
from lrcourse.exercises.engine import Hints, rates_under


def check_04_open(answer: Any) -> Hints:
    """Rates that end lower than one tuned cut at 80 % of the run."""
    return Contest("04 open", "cuts", "at 80 %").judge(answer)


def check_04_repair(answer: Any) -> Hints:
    """A scheduler that cuts the rate at a half and at three quarters of all updates."""
    for epochs, n in ((8, 25), (9, 10), (7, 3), (5, 44)):
        total = epochs * n
        rates = rates_under(answer, epochs, n, steps=total, lr=0.1)
        case = f"With {epochs} epochs of {n} updates"
        cuts = np.flatnonzero(~np.isclose(rates[1:], rates[:-1])) + 1
        if len(cuts) == 0:
            yield f"{case} the rate is never cut: is each milestone a whole number?"
        if cuts[0] <= epochs:
            yield f"{case} the first cut comes at update {cuts[0]}: what does the loop count?"
        if len(cuts) == 1:
            yield f"{case} the rate is cut only once: is each milestone a whole number, always?"
        by = rates[cuts] / rates[cuts - 1]
        if (by < 0.05).any():
            yield f"{case} one cut divides by {1 / by.min():.0f}: is a milestone given twice?"
        if by.shape != (2,) or abs(cuts - np.array([0.5, 0.75]) * total).max() > 1:
            yield f"{case} the cuts come at updates {', '.join(map(str, cuts))}."
        if not np.allclose(by, 0.1):
            yield f"{case} the cuts divide by {1 / by[0]:.3g} and {1 / by[1]:.3g}."
