"""Checks of chapter 05, Smooth decay."""

import math
from typing import Any

import numpy as np
from torch.optim.lr_scheduler import ExponentialLR, LRScheduler

from lrcourse.exercises.engine import Hint, agrees, is_number, number, one_weight, walk
from lrcourse.schedules import Linear, Polynomial, recorded, values


def check_05_gamma(answer: Any) -> Hint:
    """The gamma per update that does what 0.94 does in two epochs."""
    if number(answer, 0.94 ** (1 / 1000), rel=1e-6) is None:
        return None
    if not is_number(answer) or not 0 < float(answer) < 1:
        return "A decay needs one number between 0 and 1."
    left = recorded(lambda o: ExponentialLR(o, float(answer)), 1001, lr=1.0)[1000]
    return f"After two epochs, 1000 updates, it leaves {left:.3g} of the rate."


def check_05_reach(answer: Any) -> Hint:
    """How far an exponential decay gets on a ramp of slope 3."""
    total = recorded(lambda o: ExponentialLR(o, 0.98), 1000, lr=0.1).sum()
    hint = "What do all the rates add up to?"
    slips = {
        20: "It never arrives: what do all its rates add up to?",
        total: "That is the sum of the rates. A step is rate × slope.",
    }
    return number(answer, 3 * total, hint=hint, slips=slips)


def check_05_factor(answer: Any) -> Hint:
    """A function of t: a polynomial of power 3 that ends above 0."""
    return agrees(
        answer, Polynomial(1, 0.05, 80, power=3), (0, 80, 79, 60, 40, 20, 1, 81, 120, 400)
    )


def check_05_repair(answer: Any) -> Hint:
    """A scheduler that falls in a straight line to a tenth over the whole run."""
    for epochs, per_epoch in ((8, 25), (3, 40)):
        steps, optimizer = epochs * per_epoch, one_weight(0.3)
        scheduler = answer(optimizer, epochs, per_epoch)
        if not isinstance(scheduler, LRScheduler):
            return f"It must return a scheduler, and returns {scheduler!r}."
        factor = walk(optimizer, scheduler, steps + 20) / 0.3
        hint = _symptom(factor, values(Linear(1, 0.1, steps), steps + 20), steps)
        if hint:
            return hint
    return None


def _symptom(factor: np.ndarray, right: np.ndarray, steps: int) -> Hint:
    """What is seen to be wrong with the rates, in the order in which one would notice it."""
    if (np.diff(factor) > 1e-9).any():
        return "The rate rises."
    if not math.isclose(factor[0], 1.0, rel_tol=1e-6):
        return f"The first update uses {factor[0]:.3g} of the peak."
    moves = np.flatnonzero(np.abs(np.diff(factor)) > 1e-9)
    last = int(moves[-1]) + 1 if len(moves) else 0
    if last < steps:
        return f"From update {last} on the rate no longer changes, and the run has {steps}."
    if not math.isclose(factor[steps], 0.1, rel_tol=1e-6):
        return f"When the run is over, at {steps} updates, {factor[steps]:.3g} of the peak is left."
    if not np.allclose(factor, right, rtol=1e-6):
        return "It starts and ends right. Between them it is not a straight line, or not after."
    return None
