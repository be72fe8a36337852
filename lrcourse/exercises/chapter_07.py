"""Checks of chapter 07, Cycles."""

from typing import Any

import numpy as np
from torch.optim.lr_scheduler import CyclicLR, OneCycleLR
from torch.utils.data import DataLoader, TensorDataset

from lrcourse.data import digits
from lrcourse.exercises.engine import Hints, number, one_weight
from lrcourse.schedules import OneCycle, recorded, values


def check_07_peak(answer: Any) -> Hints:
    """The update at which a OneCycleLR is at its peak."""

    def build(optimizer: Any) -> Any:
        return OneCycleLR(optimizer, max_lr=0.2, epochs=12, steps_per_epoch=50, pct_start=0.25)

    right = int(recorded(build, 600, lr=0.1).argmax())
    slips = dict.fromkeys((2, 3), "That counts epochs. The class is stepped once per update.")
    slips[right + 1] = "Close. The first update is number 0."
    hint = "What share of how many updates is the rise?"
    yield number(answer, right, rel=1e-9, hint=hint, slips=slips)


def check_07_height(answer: Any) -> Hints:
    """The rate of update 200 under a triangular2 CyclicLR."""

    def build(optimizer: Any) -> Any:
        return CyclicLR(optimizer, 0.001, 0.017, step_size_up=40, mode="triangular2")

    hint = "Which cycle is update 200 in, and where in it?"
    slips = {
        0.017 / 4: "What is halved is the height over the base, not the rate.",
        0.016 / 4: "That is the height. It stands on the base.",
        0.009: "Which cycle is it in? A cycle has a climb and a descent.",
        0.017: "That would be a top of the first cycle.",
        0.003: "Which cycle is it in? The first has the whole height.",
    }
    yield number(answer, recorded(build, 201, lr=0.1)[200], hint=hint, slips=slips)


def check_07_scale(answer: Any) -> Hints:
    """A scale_fn with which the cycles' heights go 1, 1/2, 1/3, …"""

    def build(optimizer: Any) -> Any:
        return CyclicLR(optimizer, 0.0, 1.0, 5, scale_fn=answer, scale_mode="cycle")

    if answer(1) is None:
        yield "It returns None, and a number is asked for."
    rates = recorded(build, 50, lr=0.1)
    for cycle, top in enumerate(rates[5::10], 1):
        if not np.isclose(top, 1 / cycle):
            yield f"The top of cycle {cycle} has the height {top:.3g}, and not 1/{cycle}."


def check_07_repair(answer: Any) -> Hints:
    """A OneCycleLR as long as a run that accumulates gradients."""
    images, peak, pieces, epochs = digits(), 0.2, 4, 6
    loader = DataLoader(TensorDataset(images.x[:300], images.y[:300]), batch_size=16)  # 19 batches
    updates = epochs * -(-len(loader) // pieces)
    optimizer = one_weight(0.01, momentum=0.8)
    scheduler = answer(optimizer, loader, pieces, epochs, peak)
    if not isinstance(scheduler, OneCycleLR) or scheduler.optimizer is not optimizer:
        yield "It must return a OneCycleLR on the optimizer that it was given."
    rates, momenta = np.empty((2, updates))
    try:
        for t in range(updates):
            rates[t], momenta[t] = (optimizer.param_groups[0][key] for key in ("lr", "momentum"))
            optimizer.step()
            scheduler.step()
    except ValueError as error:
        yield f"The run dies before its end: {error}. How many updates does the loop make?"
    share = rates[-1] / rates.max()
    if share > 1e-3:
        yield f"The last update uses {share:.0%} of the highest: the cycle is longer than the run."
    if not np.isclose(rates.max(), peak, rtol=0.02):
        yield f"The highest rate is {rates.max():.3g}, and {peak} was asked for as the peak."
    if not np.allclose(momenta, 0.8):
        yield f"The rates are right now. The momentum was 0.8 and starts at {momenta[0]:.2g}."
    if not np.allclose(rates, values(OneCycle(updates), updates, peak), rtol=1e-6):
        yield "It is a cycle with the right peak, but not the default one over the whole run."
