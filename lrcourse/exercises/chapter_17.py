"""Checks of chapter 17, Scaling the rate."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from lrcourse.data import digits
from lrcourse.exercises.engine import Hints, number, rates_used, weights
from lrcourse.models import MLP
from lrcourse.schedules import Linear


def check_17_clock(answer: Any) -> Hints:
    """Updates in all and of warmup, when the batch is four times as large."""
    if np.shape(answer) != (2,):
        yield "Two numbers are asked for: updates in all, and updates of warmup."
    total, warmup = (float(value) for value in answer)
    if total == 8000:
        yield "8000 updates of batch 128 read four times the samples."
    slips: dict[tuple[float, float], str] = {
        (125, 2000): "The right numbers, in the other order: all updates first.",
        (2000, 500): "500 updates of the new run read four times the samples of the old warmup.",
    }
    if (total, warmup) != (2000, 125):
        hint = "How many samples does the old run read, and how many its warmup?"
        yield slips.get((total, warmup), hint)


def check_17_both(answer: Any) -> Hints:
    """Adam's rate for a larger batch at the same samples, by both exponents."""
    hint = "Batch × 4 at fixed samples: what happens to the updates?"
    slips = {
        0.002 * 4**0.5: "That holds the updates fixed. How many are there now?",
        0.002 * 4**0.5 * 4**-0.3: "Four times the batch: are there more updates, or fewer?",
        0.002 * 4: "That is the linear rule. The calculator has two other exponents.",
        0.002 * 0.25**-0.3: "That is what the updates do. The batch has changed, too.",
    }
    yield number(answer, 0.002 * 4**0.5 * 0.25**-0.3, rel=0.02, hint=hint, slips=slips)


_STAGES: list[tuple[list[tuple[float, int]], int, float]] = [
    ([(1.0, 640), (0.25, 640)], 16, 1.0),
    ([(1.0, 900), (0.5, 300), (0.25, 400), (0.125, 80)], 32, 1.0),
    ([(1.0, 320), (0.5, 64), (0.25, 160)], 8, 0.5),
]


def check_17_twin(answer: Any) -> Hints:
    """A function: stages of a decay → batches and updates of its twin at a constant rate."""
    for stages, batch, power in _STAGES:
        mine = answer(list(stages), batch, power)
        if mine is None or np.shape(mine) != (len(stages), 2):
            yield f"It must return one (batch, updates) for each of the {len(stages)} stages."
        for (factor, updates), (size, count) in zip(stages, mine, strict=True):
            where = f"For power {power} and the stage ({factor}, {updates}) of batch {batch}"
            got = f"you give batch {size:g} and {count:g} updates"
            if not math.isclose(size * count, batch * updates):
                yield f"{where} {got}: that reads {size * count:g} samples, not {batch * updates}."
            if not math.isclose(size**-power, factor * batch**-power, rel_tol=1e-6):
                yield f"{where} {got}: rate ÷ batch^power is not what it was under the decay."
            if not isinstance(size, (int, np.integer)) or not isinstance(count, (int, np.integer)):
                yield f"{where} {got}: return both as int, since a batch is a whole number."


def check_17_repair(answer: Any) -> Hints:
    """A loop that makes one update from several small batches."""
    pieces, updates, rate = 4, 12, 0.1
    data, schedule = digits(torch.float64), Linear(1, 0, 12)

    def made() -> tuple[nn.Module, SGD]:
        model = MLP((64, 8, 10), seed=0).double()
        return model, SGD(model.parameters(), lr=rate, momentum=0.9)

    def trained(first: int, share: float) -> Tensor:
        """The weights after a run that adds `share` of each piece's gradient, from `first` on."""
        model, optimizer = made()
        scheduler = LambdaLR(optimizer, schedule)
        small = data.batches(8)
        for t in range(updates):
            optimizer.zero_grad()
            for i in range(first, pieces):
                x, y = small(t * pieces + i)
                (share * cross_entropy(model(x), y)).backward()
            optimizer.step()
            scheduler.step()
        return weights(model)

    model, optimizer = made()
    used = rates_used(optimizer)
    answer(model, optimizer, schedule, data.batches(8), pieces, updates)
    if len(used) != updates:
        yield f"Asked for {updates} updates of {pieces} pieces, it makes {len(used)} updates."
    plan = rate * schedule(np.arange(updates))
    if not np.allclose(used, plan, atol=1e-12):
        yield f"Update 6 uses {used[6]:.3g}, not {plan[6]:.3g}. What does the scheduler count?"
    last = "The rates are right. The weights are as if only each last piece were read."
    for first, share, hint in (
        (0, 1, f"The rates are right. The steps are {pieces} times those of the large batch."),
        (pieces - 1, 1, last),
        (pieces - 1, 1 / pieces, last),
    ):
        if torch.allclose(weights(model), trained(first, share), atol=1e-9):
            yield hint
    if not torch.allclose(weights(model), trained(0, 1 / pieces), atol=1e-9):
        yield "The rates are right, the weights are not those of one large batch. What adds up?"
