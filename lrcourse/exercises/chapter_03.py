"""Checks of chapter 03, Schedules in PyTorch."""

from typing import Any

import numpy as np
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from lrcourse.data import digits
from lrcourse.exercises.contest import Contest
from lrcourse.exercises.engine import Hints, rates_used, update, weights
from lrcourse.models import MLP
from lrcourse.schedules import Linear


def check_03_open(answer: Any) -> Hints:
    """Rates that end lower than the tuned constant one."""
    return Contest("03 open", "cuts", "constant").judge(answer)


def check_03_repair(answer: Any) -> Hints:
    """A loop that makes an update of several minibatches, under a schedule that counts updates."""
    batches = digits().batches(64)
    for pieces, updates in ((4, 40), (1, 12), (3, 7)):
        plan = 0.1 * (1 - np.arange(updates) / updates)
        right = MLP((64, 8, 10), seed=0)
        optimizer = SGD(right.parameters(), lr=0.1)
        given = [batches(t) for t in range(pieces * updates)]
        for t, lr in enumerate(plan):
            optimizer.param_groups[0]["lr"] = lr
            parts = given[pieces * t : pieces * (t + 1)]
            x, y = (torch.cat(part) for part in zip(*parts, strict=True))
            update(right, optimizer, (x, y))

        model = MLP((64, 8, 10), seed=0)
        optimizer = SGD(model.parameters(), lr=0.1)
        used = rates_used(optimizer)
        scheduler = LambdaLR(optimizer, Linear(1, 0, updates))
        told = answer(model, optimizer, scheduler, iter(given), pieces)
        case = f"With {updates} updates of {pieces}"
        if len(used) != updates:
            yield f"{case} it makes {len(used)} updates."
        if np.allclose(used[:-1], plan[1:]):
            yield f"{case} each rate comes one update early: which step() is first?"
        if not np.allclose(used, plan):
            yield f"{case} the rates are not as planned: once per what is the scheduler stepped?"
        if np.shape(told) != plan.shape or not np.allclose(told, plan):
            yield f"{case} the right rates are used now. The ones it returns are others."
        if not torch.allclose(weights(model), weights(right), rtol=1e-4, atol=1e-5):
            yield (
                f"{case} the rates are right, the weights are not: is the gradient that of the "
                "mean, and is it cleared after each update?"
            )
