"""Checks of chapter 13, The Transformer experiment."""

from typing import Any

import numpy as np
import torch
from torch.nn.utils import get_total_norm
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from lrcourse.exercises.contest import Contest
from lrcourse.exercises.engine import Hints, rates_used, update, weights
from lrcourse.models import GPT, next_token_loss
from lrcourse.schedules import Linear


def check_13_open(answer: Any) -> Hints:
    """Rates for 1000 updates of the small GPT that end lower than a line to zero."""
    return Contest("13 open", "schedules", "linear").judge(answer)


def check_13_repair(answer: Any) -> Hints:
    """A loop that trains a GPT on windows of tokens, with clipped gradients."""
    stream = torch.Generator().manual_seed(0)
    windows = [torch.randint(0, 12, (8, 9), generator=stream) for _ in range(40)]
    plan = Linear(1.0, 0.0, 40)

    def start() -> tuple[GPT, AdamW, LambdaLR]:
        model = GPT(vocabulary=12, context=8, layers=1, width=8, seed=0)
        optimizer = AdamW(model.parameters(), lr=0.02)
        return model, optimizer, LambdaLR(optimizer, plan)

    model, optimizer, scheduler = start()
    for window in windows:
        update(model, optimizer, (window[:, :-1], window[:, 1:]), next_token_loss, clip=0.1)
        scheduler.step()

    mine, optimizer, scheduler = start()
    rates, norms = rates_used(optimizer), [0.0]
    optimizer.register_step_pre_hook(
        lambda *_: norms.append(
            get_total_norm([w.grad for w in mine.parameters() if w.grad is not None]).item()
        )
    )
    answer(mine, [w.clone() for w in windows], optimizer, scheduler, 0.1)
    if len(rates) != 40:
        yield f"It makes {len(rates)} updates of 40 windows: one each is asked for."
    if not np.allclose(rates, 0.02 * plan(np.arange(40))):
        yield f"The rate of update 20 is {rates[20]:.3g}, and {0.02 * plan(20):.3g} was planned."
    if not 0 < max(norms) <= 0.1001:
        yield f"The optimizer sees gradients of length {max(norms):.3g}. The limit is 0.1."
    if not torch.allclose(weights(mine), weights(model), atol=1e-4):
        yield "Rates and limit are right. What is the model asked to guess at each place?"
