"""Checks of chapter 06, Cosine."""

import math
import warnings
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
from torch.optim.lr_scheduler import CosineAnnealingLR, CosineAnnealingWarmRestarts

from lrcourse.exercises.engine import Hint, agrees, number, one_weight, walk
from lrcourse.schedules import Cosine, Linear, recorded


def check_06_left(answer: Any) -> Hint:
    """The rate of the last update of a cosine that was stopped at four fifths."""
    right = recorded(lambda o: CosineAnnealingLR(o, T_max=12_500), 10_000, lr=4e-4)[-1]
    hint = "How far round the half circle is update 10 000 of 12 500?"
    slips = {
        right / 4e-4: "That is the share of the peak. The rate is asked for.",
        4e-4 * 0.2: "That is what a straight line would have left.",
    }
    return number(answer, right, hint=hint, slips=slips)


def check_06_bottom(answer: Any) -> Hint:
    """The last bottom of a run with restarts within 1000 ticks."""
    rates = recorded(lambda o: CosineAnnealingWarmRestarts(o, T_0=10, T_mult=2), 1001, lr=1.0)
    *earlier, last = (np.flatnonzero(np.diff(rates) > 0) + 1).tolist()
    slips = dict.fromkeys(earlier, "That is a bottom, but not the last one that the time allows.")
    none = "Add up the cycles: 10, 20, 40, … Does one of them end there?"
    slips |= dict.fromkeys([1000, 990, 1270], none)
    hint = "Add up the cycles: 10 + 20 + 40 + …"
    return number(answer, last, rel=1e-9, hint=hint, slips=slips)


def check_06_land(answer: Any) -> Hint:
    """A function of t: an old cosine, and from where it stands a line down to 0."""
    cosine = Cosine(4000)
    right = cosine.take(2500) >> Linear(cosine(2500), 0, 500)
    old = "At t = {} it gives {:.4g}: until 2500 it is the old cosine.".format
    hint = agrees(answer, right, [*range(0, 2500, 100), 2499], rel=1e-3, told=old)
    if hint:
        return hint
    if math.isclose(float(answer(2500)), 1, rel_tol=0.01):
        return "At t = 2500 it jumps back to the peak: where does the line have to begin?"
    return agrees(answer, right, [*range(2500, 3000, 25), 2999, 3000, 3500], rel=2e-3)


def check_06_repair(answer: Any) -> Hint:
    """A scheduler that warms up from a tenth and falls along a cosine to a tenth."""
    for peak, epochs, per_epoch, warmup in ((0.1, 6, 20, 10), (0.02, 5, 30, 15)):
        optimizer = one_weight(peak)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scheduler = answer(optimizer, epochs, per_epoch, warmup)
        if not callable(getattr(scheduler, "step", None)):
            return "It must return a scheduler."
        factor = walk(optimizer, scheduler, epochs * per_epoch) / peak
        rising = 0.1 + 0.9 * np.arange(warmup + 1) / warmup
        off = np.flatnonzero(~np.isclose(factor[: warmup + 1], rising, atol=1e-6))
        if len(off):
            return (
                f"With a warmup of {warmup}, update {off[0]} runs at {factor[off[0]]:.3g} of the "
                f"peak and {rising[off[0]]:.3g} is meant: when does the warmup end, and in which "
                "unit?"
            )
        after = factor[warmup:]
        if after.max() > 1.001:
            return "The rate rises above the peak: is eta_min a rate, or a share of the peak?"
        if after.min() > 0.999:
            return (
                "After the warmup the rate never falls: when does the cosine take over, and is "
                "eta_min a rate or a share?"
            )
        if (np.diff(after) > 1e-9).any():
            at = warmup + int(np.argmin(after))
            return f"The rate is lowest at update {at} and climbs again: in which unit is T_max?"
        if after[-1] < 0.05:
            return (
                f"It ends at {after[-1]:.3g} of the peak, a tenth is meant: which eta_min, "
                "and what stood in param_groups when it was computed?"
            )
        if after[-1] > 0.102:
            return (
                f"With a peak of {peak} it ends at {after[-1]:.3g} of it, a tenth is meant: "
                "is eta_min right for every peak, and how many updates are left to the cosine?"
            )
    return None


def check_06_extend(answer: Any) -> Hint:
    """A function that resumes a cosine and lets it reach 0 at a new, later end."""
    for planned, stop, total in ((40, 25, 80), (100, 50, 160)):
        optimizer = one_weight(0.1)
        scheduler = CosineAnnealingLR(optimizer, T_max=planned)
        before = walk(optimizer, scheduler, stop)
        stands = optimizer.param_groups[0]["lr"]
        parts: dict[str, Any] = {"optimizer": optimizer, "scheduler": scheduler}
        saved = deepcopy({name: part.state_dict() for name, part in parts.items()})
        made = answer(saved, partial(one_weight, 0.1), total)
        if not isinstance(made, (tuple, list)) or len(made) != 2:
            return "It must return two things: the optimizer and the scheduler."
        resumed, its_scheduler = made
        rates = walk(resumed, its_scheduler, total - stop)
        if not math.isclose(rates[0], stands, rel_tol=1e-3):
            return f"The run stopped at a rate of {stands:.3g} and goes on at {rates[0]:.3g}."
        low = int(np.argmin(rates))
        if (np.diff(rates) > 1e-12).any() and low < len(rates) - 1:
            return (
                f"The rate is lowest at update {stop + low} and then climbs; the run ends at "
                f"{total}. Which T_max does the scheduler have after the last line? It "
                "counts from the beginning of the run."
            )
        if (np.diff(rates) > 1e-12).any() or rates[1] > before[-1]:
            return "The rate rises after the resume, and it should only fall."
        if rates[-1] > 0.001:
            return f"In the last update the rate is still {rates[-1] / 0.1:.2g} of the peak."
        if rates[len(rates) * 3 // 4] < 1e-5:
            return "The rate is at zero long before the run ends."
    return None
