"""Checks of chapter 03, Schedules in PyTorch."""

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR, StepLR

from lrcourse.data import digits
from lrcourse.exercises.engine import Hints, agrees, number, parting, rates_used, update, weights
from lrcourse.models import MLP
from lrcourse.schedules import Constant, Linear, recorded


def check_03_clock(answer: Any) -> Hints:
    """The rate of update 130 under a StepLR that is stepped once an epoch."""
    epoch = 130 // 25
    right = recorded(lambda o: StepLR(o, step_size=3, gamma=0.1), epoch + 1, lr=0.4)[epoch]
    yield number(answer, right, hint="How often was step() called before update 130?")


def check_03_horizon(answer: Any) -> Hints:
    """T_max in updates, where an update takes eight minibatches."""
    epochs = "That counts epochs, or the updates of one epoch."
    hint = "Count optimizer updates in the whole run."
    slips = {
        30 * 1200: "That counts minibatches. An update takes eight of them.",
        30: epochs,
        1200 // 8: epochs,
    }
    yield number(answer, 30 * 1200 // 8, rel=1e-9, hint=hint, slips=slips)


def check_03_factor(answer: Any) -> Hints:
    """A function of t: up, level, and down to 0."""
    right = Linear(0.05, 1, 20) >> Constant(1.0, 130) >> Linear(1, 0, 50)
    yield agrees(answer, right, [*range(0, 200, 5), 199, 200, 201, 260])


def check_03_repair(answer: Any) -> Hints:
    """A loop whose scheduler counts epochs, and which returns the rates that it used."""
    batches, epochs = digits().batches(287), 5  # 5 updates an epoch
    plan = np.repeat(0.1 * 0.5 ** (np.arange(epochs) // 2), batches.per_epoch)
    right = MLP((64, 8, 10), seed=0)
    optimizer = SGD(right.parameters(), lr=0.1)
    for t, lr in enumerate(plan):
        optimizer.param_groups[0]["lr"] = lr
        update(right, optimizer, batches(t))

    model = MLP((64, 8, 10), seed=0)
    optimizer = SGD(model.parameters(), lr=0.1)
    used = rates_used(optimizer)
    told = answer(model, optimizer, StepLR(optimizer, 2, gamma=0.5), batches, epochs)
    if len(used) != len(plan):
        yield f"It made {len(used)} updates, and {len(plan)} were asked for."
    if len(set(used[: batches.per_epoch])) > 1:
        yield "The rate changes within the first epoch: how often is step() called?"
    if not np.allclose(used, plan):
        yield "The cuts come in the wrong epoch: when is step() called?"
    if np.shape(told) != plan.shape or not np.allclose(told, plan):
        yield "The updates use the right rates now. The ones it returns are others."
    if not torch.allclose(weights(model), weights(right), rtol=1e-5, atol=1e-5):
        yield "The rates are right, the weights are not: whose gradients does an update use?"


def check_03_resume(answer: Any) -> Hints:
    """A function that brings model, optimizer and scheduler back from their saved states."""
    batches = digits().batches(200)

    def make_optimizer(model: Any) -> Any:
        return SGD(model.parameters(), lr=0.1, momentum=0.9)

    def make_scheduler(optimizer: Any) -> Any:
        warm, cosine = LinearLR(optimizer, 0.1, total_iters=5), CosineAnnealingLR(optimizer, 25)
        return SequentialLR(optimizer, [warm, cosine], milestones=[5])

    def run(model: Any, optimizer: Any, scheduler: Any, start: int, stop: int) -> Any:
        rates = rates_used(optimizer)
        for t in range(start, stop):
            update(model, optimizer, batches(t))
            scheduler.step()
        return np.array(rates)

    model = MLP((64, 8, 10), seed=0)
    optimizer = make_optimizer(model)
    scheduler = make_scheduler(optimizer)
    run(model, optimizer, scheduler, 0, 12)
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    saved = deepcopy({name: part.state_dict() for name, part in parts.items()})
    rates = run(model, optimizer, scheduler, 12, 30)

    other = MLP((64, 8, 10), seed=1)
    made = answer(saved, other, make_optimizer, make_scheduler)
    if not isinstance(made, (tuple, list)) or len(made) != 2:
        yield "It must return two things: the optimizer and the scheduler."
    optimizer, scheduler = made
    wrong = parting(run(other, optimizer, scheduler, 12, 30), rates)
    if wrong == 0:
        yield "The first rate after the resume is wrong: what did building the scheduler do to it?"
    if wrong is not None:
        yield "The first rate is right and later ones are not: does the scheduler know the time?"
    if not torch.allclose(weights(other), weights(model), atol=1e-6):
        yield "The rates are right, the weights are not: the model's state, or the momentum?"
