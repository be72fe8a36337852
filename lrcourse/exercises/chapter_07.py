"""Checks of chapter 07, Cycles."""

from typing import Any

import numpy as np
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset

from lrcourse.data import digits
from lrcourse.exercises.contest import Contest, rates_of
from lrcourse.exercises.engine import Hints, one_weight
from lrcourse.schedules import OneCycle, values


def check_07_open(answer: Any) -> Hints:
    """Rates that end lower than four equal restarts, and come down as often on the way."""
    rates = yield from rates_of(answer, 1200)
    if (found := bottoms(rates)) < 3:
        yield f"Before the end the rate comes down and goes up again {found} times, not 3."
    return (yield from Contest("07 open", "cycles", "restarts, equal", part="AdamW").judge(answer))


def bottoms(rates: np.ndarray) -> int:
    """How often the rate falls under a tenth of its highest and then rises above a fifth of it."""
    share = rates / np.maximum.accumulate(rates)
    side = np.select([share < 0.1, share > 0.2], [-1, 1])  # what lies between does not count
    return int((np.diff(side[side != 0]) > 0).sum())


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
