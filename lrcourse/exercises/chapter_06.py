"""Checks of chapter 06, Cosine."""

import math
import warnings
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, CosineAnnealingWarmRestarts

from lrcourse.exercises.engine import Hint, exercise, number
from lrcourse.schedules import Cosine, Linear, recorded


def _optimizer(lr: float) -> SGD:
    return SGD([torch.zeros(1, requires_grad=True)], lr=lr)


def _walk(optimizer: Any, scheduler: Any, steps: int) -> np.ndarray:
    """The rates of `steps` updates, the scheduler stepped once after each."""
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(steps):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            scheduler.step()
    return np.array(rates)


@exercise("06 left")
def _(answer: Any) -> Hint:

    right = recorded(lambda o: CosineAnnealingLR(o, T_max=12_500), 10_000, lr=4e-4)[-1]
    if isinstance(answer, float) and math.isclose(answer, right / 4e-4, rel_tol=0.01):
        return "That is the share of the peak. The rate is asked for."
    if isinstance(answer, float) and math.isclose(answer, 4e-4 * 0.2, rel_tol=0.01):
        return "That is what a straight line would have left."
    return number(answer, right, hint="How far round the half circle is update 10 000 of 12 500?")


@exercise("06 bottom")
def _(answer: Any) -> Hint:

    rates = recorded(lambda o: CosineAnnealingWarmRestarts(o, T_0=10, T_mult=2), 1001, lr=1.0)
    restarts = np.flatnonzero(np.diff(rates) > 0) + 1
    if not isinstance(answer, bool) and answer in restarts[:-1]:
        return "That is a bottom, but not the last one that the time allows."
    if answer in (1000, 990, 1270):
        return "Add up the cycles: 10, 20, 40, … Does one of them end there?"
    return number(answer, restarts[-1], rel=1e-9, hint="Add up the cycles: 10 + 20 + 40 + …")


@exercise("06 land")
def _(answer: Any) -> Hint:

    cosine = Cosine(4000)
    right = cosine.take(2500) >> Linear(cosine(2500), 0, 500)
    for t in [*range(0, 2500, 100), 2499]:
        if not math.isclose(float(answer(t)), right(t), rel_tol=1e-3):
            return f"At t = {t} it gives {float(answer(t)):.4g}: until 2500 it is the old cosine."
    if math.isclose(float(answer(2500)), 1, rel_tol=0.01):
        return "At t = 2500 it jumps back to the peak: where does the line have to begin?"
    for t in [*range(2500, 3000, 25), 2999, 3000, 3500]:
        if not math.isclose(float(answer(t)), right(t), rel_tol=2e-3, abs_tol=1e-6):
            return f"At t = {t} it gives {float(answer(t)):.4g}."
    return None


@exercise("06 repair")
def _(answer: Any) -> Hint:

    for peak, epochs, per_epoch, warmup in ((0.1, 6, 20, 10), (0.02, 5, 30, 15)):
        optimizer = _optimizer(peak)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scheduler = answer(optimizer, epochs, per_epoch, warmup)
        if not callable(getattr(scheduler, "step", None)):
            return "It must return a scheduler."
        factor = _walk(optimizer, scheduler, epochs * per_epoch) / peak
        rising = 0.1 + 0.9 * np.arange(warmup + 1) / warmup
        if not np.allclose(factor[: warmup + 1], rising, atol=1e-6):
            at = int(np.argmax(~np.isclose(factor[: warmup + 1], rising, atol=1e-6)))
            return (
                f"With a warmup of {warmup}, update {at} runs at {factor[at]:.3g} of the peak and "
                f"{rising[at]:.3g} is meant: when does the warmup end, and in which unit?"
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


@exercise("06 extend")
def _(answer: Any) -> Hint:

    def make_optimizer() -> SGD:
        return _optimizer(0.1)

    for planned, stop, total in ((40, 25, 80), (100, 50, 160)):
        optimizer = make_optimizer()
        scheduler = CosineAnnealingLR(optimizer, T_max=planned)
        before = _walk(optimizer, scheduler, stop)
        stands = optimizer.param_groups[0]["lr"]
        parts: dict[str, Any] = {"optimizer": optimizer, "scheduler": scheduler}
        saved = deepcopy({name: part.state_dict() for name, part in parts.items()})
        made = answer(saved, make_optimizer, total)
        if not isinstance(made, (tuple, list)) or len(made) != 2:
            return "It must return two things: the optimizer and the scheduler."
        resumed, its_scheduler = made
        rates = _walk(resumed, its_scheduler, total - stop)
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
