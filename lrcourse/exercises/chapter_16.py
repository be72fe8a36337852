"""Checks of chapter 16, Predicting the loss."""

from typing import Any

import numpy as np

from lrcourse.chapters.theory import bound
from lrcourse.exercises.contest import Contest
from lrcourse.exercises.engine import Hints
from lrcourse.schedules import Constant, Cosine, Linear, Warmup, values, wsd


def check_16_repair(answer: Any) -> Hints:
    """A function: a tuned peak, the factors it was tuned for, others → their peak by the bound."""
    line, held = values(Linear(1, 0, 200), 200), values(wsd(200, 0, 40), 200)
    rising = values(Warmup(20) >> Cosine(180), 200)
    done = np.append(line, np.zeros(20))
    cases = [
        ("From a constant rate to a line", values(Constant(), 200), line),
        ("From wsd to a warmup and a cosine", held, rising),
        ("From a constant rate to a line that has reached zero before the end", np.ones(220), done),
    ]
    for case, old, new in cases:
        with np.errstate(all="ignore"):
            mine = np.asarray(answer(0.01, old.copy(), new.copy()), dtype=float)
        first, then = (bound(f.__getitem__, len(f)).best_peak for f in (old, new))
        if mine.shape:
            yield f"One peak is asked for, and it gives something of shape {mine.shape}."
        if np.isnan(mine):
            yield f"{case} it gives nan: what is divided by what after the last update that moves?"
        if np.isclose(mine, 0.01 * first / then):
            yield f"{case} the ratio is upside down: whose peak is the higher one?"
        if not np.isclose(mine, 0.01 * then / first):
            yield (
                f"{case} it goes from 0.01 to {mine:.4g}, not to {0.01 * then / first:.4g}. From "
                "where to where do A and B add up?"
            )


def check_16_open(answer: Any) -> Hints:
    """Rates that end lower than a tuned line, from a constant rate's best peak and theory."""
    return Contest("16 open", "shapes", "linear", part="500 updates of 128").judge(answer)
