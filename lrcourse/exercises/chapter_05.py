"""Checks of chapter 05, Smooth decay."""

from typing import Any

import numpy as np

from lrcourse.exercises.contest import Contest
from lrcourse.exercises.engine import Hints, rates_under
from lrcourse.schedules import Linear, values


def check_05_open(answer: Any) -> Hints:
    """Rates that end lower than a line to a tenth in a short run."""
    part = "500 updates of 32, to a tenth"
    return Contest("05 open", "shapes", "line to a tenth", part=part).judge(answer)


def check_05_repair(answer: Any) -> Hints:
    """A scheduler that falls in a straight line to a tenth over the whole run."""
    for epochs, per_epoch in ((8, 25), (3, 40)):
        steps = epochs * per_epoch
        factor = rates_under(answer, epochs, per_epoch, steps=steps + 20, lr=0.3) / 0.3
        if (np.diff(factor) > 1e-9).any():
            yield "The rate rises."
        if not np.isclose(factor[0], 1):
            yield f"The first update uses {factor[0]:.3g} of the peak."
        last = np.isclose(factor, factor[-1]).argmax()
        if last < steps:
            yield f"From update {last} on the rate no longer changes, and the run has {steps}."
        if not np.isclose(factor[steps], 0.1):
            left = f"{factor[steps]:.3g} of the peak is left"
            yield f"When the run is over, at {steps} updates, {left}."
        if not np.allclose(factor, values(Linear(1, 0.1, steps), steps + 20), rtol=1e-6):
            yield "It starts and ends right. Between them it is not a straight line, or not after."
