"""Checks of chapter 17, Scaling the rate."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from lrcourse.data import digits
from lrcourse.exercises.contest import Contest
from lrcourse.exercises.engine import Hints, rates_used, weights
from lrcourse.models import MLP
from lrcourse.schedules import Linear


def check_17_repair(answer: Any) -> Hints:
    """A loop that makes one update from several small batches."""
    pieces, updates, rate = 4, 12, 0.1
    data, schedule = digits(torch.float64), Linear(1, 0, 12)

    def made() -> tuple[nn.Module, SGD]:
        model = MLP((64, 8, 10), seed=0).double()
        return model, SGD(model.parameters(), lr=rate, momentum=0.9)

    def trained(read: Iterable[Iterable[int]]) -> Tensor:
        """The weights after updates that each read these pieces."""
        model, optimizer = made()
        scheduler = LambdaLR(optimizer, schedule)
        small = data.batches(8)
        for update in read:
            optimizer.zero_grad()
            for i in update:
                x, y = small(i)
                (cross_entropy(model(x), y) / pieces).backward()
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
    whole = np.arange(updates * pieces).reshape(updates, pieces)
    early = [range(max(0, (n - 1) * pieces + 1), n * pieces + 1) for n in range(updates)]
    one = "The rates are right. Only one piece of each large batch is read."
    for read, hint in (
        (whole[:, :1], one),
        (whole[:, -1:], one),
        (early, "The rates are right. The first update is made after a single piece."),
    ):
        if torch.allclose(weights(model), trained(read), atol=1e-9):
            yield hint
    if not torch.allclose(weights(model), trained(whole), atol=1e-9):
        yield "The rates are right, the weights are not those of one large batch. What adds up?"


def check_17_open(answer: Any) -> Hints:
    """Rates that end lower than a tuned line, in few updates of large batches."""
    return Contest("17 open", "batch", "line", part="AdamW, batch 1024").judge(answer)
