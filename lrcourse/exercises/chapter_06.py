"""Checks of chapter 06, Cosine."""

import math
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, CosineAnnealingWarmRestarts

from lrcourse.exercises.engine import (
    Hints,
    agrees,
    number,
    one_weight,
    parting,
    rates_under,
    rates_used,
)
from lrcourse.schedules import Cosine, Linear, Warmup, recorded, values


def check_06_left(answer: Any) -> Hints:
    """The rate of the last update of a cosine that was stopped at four fifths."""
    right = recorded(lambda o: CosineAnnealingLR(o, T_max=12_500), 10_000, lr=4e-4)[-1]
    hint = "How far round the half circle is update 10 000 of 12 500?"
    slips = {
        right / 4e-4: "That is the share of the peak. The rate is asked for.",
        4e-4 * 0.2: "That is what a straight line would have left.",
    }
    yield number(answer, right, hint=hint, slips=slips)


def check_06_bottom(answer: Any) -> Hints:
    """The last bottom of a run with restarts within 1000 ticks."""
    rates = recorded(lambda o: CosineAnnealingWarmRestarts(o, T_0=10, T_mult=2), 1001, lr=1.0)
    *earlier, last = (np.flatnonzero(np.diff(rates) > 0) + 1).tolist()
    slips = dict.fromkeys(earlier, "That is a bottom, but not the last one that the time allows.")
    none = "Add up the cycles: 10, 20, 40, … Does one of them end there?"
    slips |= dict.fromkeys([1000, 990, 1270], none)
    hint = "Add up the cycles: 10 + 20 + 40 + …"
    yield number(answer, last, rel=1e-9, hint=hint, slips=slips)


def check_06_land(answer: Any) -> Hints:
    """A function of t: an old cosine, and from where it stands a line down to 0."""
    cosine = Cosine(4000)
    right = cosine.take(2500) >> Linear(cosine(2500), 0, 500)
    old = "At t = {} it gives {:.4g}: until 2500 it is the old cosine.".format
    yield agrees(answer, right, [*range(0, 2500, 100), 2499], rel=1e-3, told=old)
    if math.isclose(float(answer(2500)), 1, rel_tol=0.01):
        yield "At t = 2500 it jumps back to the peak: where does the line have to begin?"
    yield agrees(answer, right, [*range(2500, 3000, 25), 2999, 3000, 3500], rel=2e-3)


def check_06_repair(answer: Any) -> Hints:
    """A scheduler that warms up from a tenth and falls along a cosine to a tenth."""
    for peak, epochs, per_epoch, warmup in ((0.1, 6, 20, 10), (0.02, 5, 30, 15)):
        steps = epochs * per_epoch
        factor = rates_under(answer, epochs, per_epoch, warmup, steps=steps, lr=peak) / peak
        rising = values(Warmup(warmup, 0.1), warmup + 1)
        if (t := parting(factor[: warmup + 1], rising)) is not None:
            seen = f"With a warmup of {warmup}, update {t} runs at {factor[t]:.3g} of the peak"
            yield f"{seen}, not {rising[t]:.3g}: when does the rise end, and in which unit?"
        after = factor[warmup:]
        if (np.diff(after) > 1e-9).any():
            at = warmup + int(np.argmin(after))
            yield f"The rate is lowest at update {at} and climbs again: in which unit is T_max?"
        if not 0.05 < after[-1] < 0.102:
            seen = f"With a peak of {peak} it ends at {after[-1]:.3g} of it, not at a tenth"
            yield f"{seen}: which eta_min is read when, and is the cosine as long as what is left?"


def _walk(optimizer: Optimizer, scheduler: Any, steps: int) -> list[float]:
    """The rates of `steps` updates, the scheduler stepped once after each."""
    rates = rates_used(optimizer)
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
    return rates


def check_06_extend(answer: Any) -> Hints:
    """A function that resumes a cosine and lets it reach 0 at a new, later end."""
    for planned, stop, total in ((40, 25, 80), (100, 50, 160)):
        optimizer = one_weight(0.1)
        scheduler = CosineAnnealingLR(optimizer, T_max=planned)
        _walk(optimizer, scheduler, stop)
        stands = optimizer.param_groups[0]["lr"]
        parts: dict[str, Any] = {"optimizer": optimizer, "scheduler": scheduler}
        saved = deepcopy({name: part.state_dict() for name, part in parts.items()})
        made = answer(saved, partial(one_weight, 0.1), total)
        if not isinstance(made, (tuple, list)) or len(made) != 2:
            yield "It must return two things: the optimizer and the scheduler."
        resumed, its_scheduler = made
        rates = _walk(resumed, its_scheduler, total - stop)
        if not math.isclose(rates[0], stands, rel_tol=1e-3):
            yield f"The run stopped at a rate of {stands:.3g} and goes on at {rates[0]:.3g}."
        rises = np.diff(rates) > 1e-12
        if rises.any():
            seen = f"The rate falls until update {stop + rises.argmax()} of {total} and then climbs"
            yield f"{seen}. Which T_max, from the run's beginning, has it after the last line?"
        if rates[-1] > 0.001:
            yield f"In the last update the rate is still {rates[-1] / 0.1:.2g} of the peak."
        if rates[len(rates) * 3 // 4] < 1e-5:
            yield "The rate is at zero long before the run ends."
