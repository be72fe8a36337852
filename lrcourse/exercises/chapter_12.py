"""Checks of chapter 12, Noam, and Transformers that need warmup."""

from typing import Any

import numpy as np
import torch

from lrcourse.exercises.contest import Contest, rates_of
from lrcourse.exercises.engine import Hints, parting, rates_used
from lrcourse.schedules import InverseSqrt, Noam, values


def check_12_open(answer: Any) -> Hints:
    """Rates that follow Noam's tail for 800 updates, and end lower than the tail does at 1000."""
    rates = yield from rates_of(answer, 1000)
    tail = values(InverseSqrt(100), 1001, peak=0.01275)[1:]  # update t + 1, so none is at rate 0
    if (t := parting(rates[:800], tail[:800], rtol=0.01)) is not None:
        seen = f"At t = {t} the rate is {rates[t]:.4g}, and the tail's {tail[t]:.4g}"
        yield f"{seen}: the first 800 updates are made."
    return (yield from Contest("12 open", "schedules", "inverse-sqrt", pairs=8).judge(answer))


def check_12_repair(answer: Any) -> Hints:
    """A function: parameters, width, warmup, factor → an optimizer and Noam as its scheduler."""
    for width, warmup, factor in ((64, 10, 1.0), (512, 40, 0.5)):
        made = answer([torch.nn.Parameter(torch.zeros(1))], width, warmup, factor)
        if not isinstance(made, (tuple, list)) or len(made) != 2:
            yield "It must return two things: the optimizer and the scheduler."
        optimizer, scheduler = made
        rates = rates_used(optimizer)
        for _ in range(3 * warmup):
            optimizer.step()
            scheduler.step()
        mine, right = np.array(rates), factor * values(Noam(width, warmup), 3 * warmup)
        off = parting(mine, right)
        if off is None:
            continue
        if mine[0] == mine[1]:
            yield "The first two updates have the same rate: from which number does t count?"
        if np.allclose(mine[1:], right[:-1]):
            yield "It is one update late: from which number does t count?"
        case, times = f"With a width of {width} and a factor of {factor:g}", mine[-1] / right[-1]
        if np.allclose(mine, times * right):
            yield f"{case} every rate is {times:.3g} times what it should be: what is in lr?"
        yield f"{case} update {off} runs at {mine[off]:.4g}, and not at {right[off]:.4g}."
