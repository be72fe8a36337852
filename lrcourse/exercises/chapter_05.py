"""Checks of chapter 05, Smooth decay."""

import math
import warnings
from typing import Any

import numpy as np
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import ExponentialLR, LRScheduler

from lrcourse.exercises.engine import Hint, exercise, number
from lrcourse.schedules import Linear, Polynomial, recorded, values


@exercise("05 gamma")
def _(answer: Any) -> Hint:
    right = 0.94 ** (1 / 1000)
    hint = number(answer, right, rel=1e-6)
    if hint is None:
        return None
    value = float(answer) if np.ndim(answer) == 0 and not isinstance(answer, (str, bool)) else 0.0
    if not 0 < value < 1:
        return "A decay needs one number between 0 and 1."
    left = recorded(lambda o: ExponentialLR(o, value), 1001, lr=1.0)[1000]
    return f"After two epochs, 1000 updates, it leaves {left:.3g} of the rate."


@exercise("05 reach")
def _(answer: Any) -> Hint:
    right = 3 * recorded(lambda o: ExponentialLR(o, 0.98), 1000, lr=0.1).sum()
    if number(answer, 20) is None:
        return "It never arrives: what do all its rates add up to?"
    if number(answer, right / 3) is None:
        return "That is the sum of the rates. A step is rate × slope."
    return number(answer, right, hint="What do all the rates add up to?")


@exercise("05 factor")
def _(answer: Any) -> Hint:
    right = Polynomial(1, 0.05, 80, power=3)
    for t in (0, 80, 79, 60, 40, 20, 1, 81, 120, 400):
        mine = answer(t)
        if mine is None or np.ndim(mine) != 0:
            return f"At t = {t} it returns {mine!r}, and a number is asked for."
        if not math.isclose(float(mine), right(t), rel_tol=1e-6, abs_tol=1e-9):
            return f"At t = {t} it gives {float(mine):.4g}."
    return None


@exercise("05 repair")
def _(answer: Any) -> Hint:
    for epochs, per_epoch in ((8, 25), (3, 40)):
        steps = epochs * per_epoch
        optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
        scheduler = answer(optimizer, epochs, per_epoch)
        if not isinstance(scheduler, LRScheduler):
            return f"It must return a scheduler, and returns {scheduler!r}."
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rates = []
            for _ in range(steps + 20):
                rates.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                scheduler.step()
        hint = _symptom(np.array(rates) / 0.3, values(Linear(1, 0.1, steps), steps + 20), steps)
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
