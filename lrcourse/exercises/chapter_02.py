"""Checks of chapter 02, Too large, too small."""

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD

from lrcourse.exercises.contest import Contest
from lrcourse.exercises.engine import Hints, is_number, update, weights


def check_02_open(answer: Any) -> Hints:
    """Rates that end lower than the best constant one."""
    return Contest("02 open", "cuts", "constant").judge(answer)


def check_02_repair(answer: Any) -> Hints:
    """A range test: (model, batches, low, high) → half of the rate at its lowest point."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(8, 3, generator=generator)
    noise = torch.randn(200, 16, 3, generator=generator)
    x = torch.randn(200, 16, 8, generator=generator)
    y = (x @ target + 2 * noise).argmax(-1)
    model = nn.Linear(8, 3)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    asked: list[int] = []

    def batches(t: int) -> tuple[Tensor, Tensor]:
        asked.append(t)
        return x[t], y[t]

    start = weights(model).clone()
    told = answer(model, batches, 1e-3, 100.0)
    if told is None or not is_number(told):
        yield "A single rate is asked for."
    if not torch.equal(weights(model), start):
        yield "The network that was handed over is changed afterwards: who else will train it?"
    if len(set(asked)) < 200:
        count = len(set(asked))
        yield f"Of 200 minibatches it looks at {count}: what does a run learn from so few?"
    lowest = _lowest(model, lambda t: (x[t], y[t]))
    if np.isclose(told, lowest, rtol=0.2):
        yield "That is the lowest point itself: which share of it is asked for?"
    if not np.isclose(told, lowest / 2, rtol=0.2):
        yield f"It suggests {float(told):.3g}, and half of the lowest point is {lowest / 2:.3g}."


def _lowest(model: nn.Module, batches: Any) -> float:
    """The rate at the lowest point of a range test from 0.001 to 100, in 200 updates."""
    model = deepcopy(model)
    optimizer = SGD(model.parameters(), lr=1.0)
    rates = np.geomspace(1e-3, 100.0, 200)
    losses: list[float] = []
    for t, rate in enumerate(rates):
        x, y = batches(t)
        loss = nn.functional.cross_entropy(model(x), y).item()
        losses.append(0.9 * losses[-1] + 0.1 * loss if losses else loss)
        optimizer.param_groups[0]["lr"] = rate
        update(model, optimizer, (x, y))
    return float(rates[np.nanargmin(losses)])
