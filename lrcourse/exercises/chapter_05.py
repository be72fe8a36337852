"""Checks of chapter 05, Smooth decay."""

from typing import Any

import numpy as np
from torch.optim.lr_scheduler import ExponentialLR

from lrcourse.exercises.engine import Hints, agrees, is_number, number, rates_under
from lrcourse.schedules import Linear, Polynomial, recorded, values


def check_05_gamma(answer: Any) -> Hints:
    """The gamma per update that does what 0.94 does in two epochs."""
    if not is_number(answer) or not 0 < float(answer) < 1:
        yield "A decay needs one number between 0 and 1."
    left = float(answer) ** 1000
    hint = f"After two epochs, 1000 updates, it leaves {left:.3g} of the rate."
    yield number(left, 0.94, rel=0.001, hint=hint)


def check_05_reach(answer: Any) -> Hints:
    """How far an exponential decay gets on a ramp of slope 3."""
    total = recorded(lambda o: ExponentialLR(o, 0.98), 1000, lr=0.1).sum()
    hint = "What do all the rates add up to?"
    slips = {
        20: "It never arrives: what do all its rates add up to?",
        total: "That is the sum of the rates. A step is rate × slope.",
    }
    yield number(answer, 3 * total, hint=hint, slips=slips)


def check_05_factor(answer: Any) -> Hints:
    """A function of t: a polynomial of power 3 that ends above 0."""
    yield agrees(answer, Polynomial(1, 0.05, 80, power=3), (0, 80, 79, 60, 40, 20, 1, 81, 120, 400))


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
