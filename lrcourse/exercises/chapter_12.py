"""Checks of chapter 12, Noam, and Transformers that need warmup."""

import math
from typing import Any

import numpy as np
import torch
from torch.optim import SGD

from lrcourse.exercises.engine import Hints, agrees, number
from lrcourse.schedules import InverseSqrt, Linear, Noam, Plateau


def check_12_warmup(answer: Any) -> Hints:
    """The warmup with which Noam peaks at 0.0005."""
    hint = "The peak is 1/√(width × warmup). Solve for the warmup."
    yield number(answer, 1 / (1024 * 0.0005**2), hint=hint)


def check_12_tenth(answer: Any) -> Hints:
    """The update at which Noam is down to a tenth of its peak."""
    slips = {40_000: "That is ten warmups. The tail falls like a root: what is √10?"}
    yield number(answer, 100 * 4000 - 1, hint="Where is √(warmup / s) a tenth?", slips=slips)


def check_12_landing(answer: Any) -> Hints:
    """A function of t: a rise, a tail like 1/√t, and a line to 0 from where it stands."""
    tail = InverseSqrt(400)
    right = tail.take(1800) >> Linear(tail(1800), 0, 200)

    def told(t: int, mine: float) -> str:
        part = "rise" if t < 400 else "tail" if t < 1800 else "landing"
        why = " Where does the tail stand at 1800?" if t == 1800 else ""
        if t == 400 and mine == 0:
            why = " InverseSqrt brings its own rise."
        return f"At t = {t}, in the {part}, it gives {mine:.4g}.{why}"

    times = (0, 100, 399, 400, 900, 1799, 1800, 1801, 1900, 1999, 2000)
    yield agrees(answer, right, times, told=told)


def check_12_noam(answer: Any) -> Hints:
    """A function: width, warmup → Noam's function of t."""
    for width, warmup in ((64, 10), (512, 400)):
        mine, right = answer(width, warmup), Noam(width, warmup)
        if not callable(mine):
            yield "It must return a function of t."
        try:
            mine(0)
        except ZeroDivisionError:
            yield "At t = 0 it divides by zero. From which number does the formula count?"
        rises, falls = warmup // 2, 9 * warmup
        if math.isclose(mine(rises), right(rises - 1)):
            yield "It is one update late. From which number does the formula count?"
        if not math.isclose(mine(falls), right(falls)):
            times = mine(falls) / right(falls)
            yield f"Long after the warmup it gives {times:.3g} times Noam's rate."
        if not math.isclose(mine(rises), right(rises)):
            yield f"Half way up it gives {mine(rises) / right(rises):.3g} times Noam's rate."
        yield agrees(mine, right, range(3 * warmup))


def check_12_both(answer: Any) -> Hints:
    """A loop in which a schedule and a plateau set the rates of two groups."""
    schedule = InverseSqrt(5)
    losses = [3.0, 2.0, *[2.0] * 6, 1.0, *[1.5] * 11]
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (1.0, 0.1)]
    optimizer, used = SGD(groups, lr=1.0), []

    def note(o: Any, *_: Any) -> None:
        used.append([group["lr"] for group in o.param_groups])

    optimizer.register_step_pre_hook(note)
    answer(optimizer, schedule, Plateau(factor=0.5, patience=2), list(losses))
    if len(used) != len(losses):
        yield f"{len(losses)} losses should make as many updates, there were {len(used)}."
    rule = Plateau(factor=0.5, patience=2)
    factors = [1.0, *(rule.update(loss) for loss in losses)]
    plain = np.array([[schedule(t), 0.1 * schedule(t)] for t in range(len(losses))])
    right = plain * np.array(factors[:-1])[:, None]
    late = plain * np.array([1.0, *factors[:-2]])[:, None]
    mine = np.array(used)
    if np.allclose(mine, plain):
        yield "All updates run at the plain schedule: a cut is gone before the next update."
    if np.allclose(mine[:, 0], right[:, 0]) and not np.allclose(mine[:, 1], right[:, 1]):
        yield "The first parameter group is right. What of the second?"
    if np.allclose(mine, late):
        yield "A cut acts one update late: in which order do the two hear and write?"
    wrong = np.argwhere(~np.isclose(mine, right))
    if len(wrong):
        t, group = wrong[0]
        rates = f"{mine[t, group]:.3g}, and not at the {right[t, group]:.3g} that was meant"
        yield f"Update {t} of group {group} runs at {rates}."
