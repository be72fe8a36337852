"""Checks of chapter 04, Steps."""

import math
from functools import partial
from typing import Any

import numpy as np
from torch.optim.lr_scheduler import LambdaLR, MultiStepLR, StepLR

from lrcourse.exercises.engine import Hints, number, parting, rates_under
from lrcourse.schedules import recorded


def check_04_ticks(answer: Any) -> Hints:
    """How many updates of a run use the last rate of a StepLR."""
    rates = recorded(lambda o: StepLR(o, step_size=40, gamma=0.5), 150, lr=0.8)
    hint = "At which update does the rate become 0.1?"
    slips = {40: "The stretch would last 40 updates. Does the run?"}
    yield number(answer, int(np.isclose(rates, 0.1).sum()), rel=0, hint=hint, slips=slips)


def check_04_milestones(answer: Any) -> Hints:
    """A recipe in epochs as milestones in updates."""
    lengths, per_epoch, total = [10, 20, 50], 25, 3000
    right = per_epoch * np.cumsum(lengths)
    if np.ndim(answer) != 1 or len(answer) == 0 or isinstance(answer, dict):
        yield "A list of numbers is asked for, as in [30, 80]."
    for wrong, hint in (
        (lengths, "Those are the lengths, and in epochs."),
        (np.cumsum(lengths), "Those are the right epochs. What does the loop count?"),
        (per_epoch * np.array(lengths), "Those are the lengths. Where does the second cut come?"),
    ):
        if np.array_equal(answer, wrong):
            yield hint
    mine = recorded(lambda o: MultiStepLR(o, list(answer), gamma=0.5), total, lr=0.4)
    plan = recorded(lambda o: MultiStepLR(o, right.tolist(), gamma=0.5), total, lr=0.4)
    if (t := parting(mine, plan)) is not None:
        yield f"Update {t} gets the rate {mine[t]:g}."


def check_04_wait(answer: Any) -> Hints:
    """The smallest rate with which 60 updates bring nine tenths of the fall."""
    updates = 60
    right = math.log(10) / (2 * updates)  # for small rates, where (1 - rate)² is exp(-2 rate)
    slips = {
        2 * right: "The loss goes with the square of the distance, so it shrinks twice as fast."
    }
    hint = "Which rate needs 60 updates for nine tenths?"
    yield number(answer, right, rel=0.03, hint=hint, slips=slips)


def check_04_stairs(answer: Any) -> Hints:
    """A function of rates and lengths that gives the factor for a LambdaLR."""
    cases: list[tuple[list[float], list[int]]] = [
        ([0.1, 0.05, 0.01], [50, 30]),
        ([0.4, 0.4, 0.02, 0.3], [5, 1, 7]),
        ([0.2], []),
    ]
    for rates, lengths in cases:
        plan = np.repeat(rates, [*lengths, 5])
        factor = answer(list(rates), list(lengths))
        if not callable(factor):
            yield f"It must return a function of t, not {factor!r}."
        if not np.isclose(float(factor(0)), 1):
            yield f"At t = 0 its function gives {float(factor(0)):g}: it must give a factor."
        mine = recorded(partial(LambdaLR, lr_lambda=factor), len(plan), lr=rates[0])
        if (t := parting(mine, plan)) is not None:
            case = f"For rates {rates} and lengths {lengths}"
            yield f"{case}, update {t} gets {mine[t]:g} instead of {plan[t]:g}."


def check_04_repair(answer: Any) -> Hints:
    """A scheduler that cuts the rate at a half and at three quarters of all updates."""
    for epochs, n in ((8, 25), (9, 10), (7, 3), (5, 44)):
        total = epochs * n
        rates = rates_under(answer, epochs, n, steps=total, lr=0.1)
        case = f"With {epochs} epochs of {n} updates"
        cuts = np.flatnonzero(~np.isclose(rates[1:], rates[:-1])) + 1
        if len(cuts) == 0:
            yield f"{case} the rate is never cut: is each milestone a whole number?"
        if cuts[0] < total // 2:
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
