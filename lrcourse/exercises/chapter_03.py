"""Checks of chapter 03, Schedules in PyTorch."""

import math
import warnings
from copy import deepcopy
from typing import Any

import numpy as np
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR, StepLR

from lrcourse.data import digits
from lrcourse.exercises.engine import Hint, exercise, number
from lrcourse.models import MLP
from lrcourse.schedules import Constant, Linear, recorded


def _rates_and_weights(optimizer: Any, model: Any) -> tuple[list[list[float]], list[Any]]:
    """Lists that grow at each optimizer step: the rates it used, the weights it left."""
    rates: list[list[float]] = []
    weights: list[Any] = []

    def note(*_: Any) -> None:
        rates.append([group["lr"] for group in optimizer.param_groups])
        weights.append(np.concatenate([p.detach().numpy().ravel() for p in model.parameters()]))

    optimizer.register_step_post_hook(note)
    return rates, weights


@exercise("03 clock")
def _(answer: Any) -> Hint:

    epoch = 130 // 25
    right = recorded(lambda o: StepLR(o, step_size=3, gamma=0.1), epoch + 1, lr=0.4)[epoch]
    return number(answer, right, hint="How often was step() called before update 130?")


@exercise("03 horizon")
def _(answer: Any) -> Hint:
    updates = 30 * 1200 // 8
    if answer == 30 * 1200:
        return "That counts minibatches. An update takes eight of them."
    if answer in (30, 1200 // 8):
        return "That counts epochs, or the updates of one epoch."
    return number(answer, updates, rel=1e-9, hint="Count optimizer updates in the whole run.")


@exercise("03 factor")
def _(answer: Any) -> Hint:

    right = Linear(0.05, 1, 20) >> Constant(1.0, 130) >> Linear(1, 0, 50)
    for t in [*range(0, 200, 5), 199, 200, 201, 260]:
        mine = answer(t)
        if mine is None or np.ndim(mine) != 0:
            return f"At t = {t} it returns {mine!r}, and a number is asked for."
        if not math.isclose(float(mine), right(t), rel_tol=1e-6, abs_tol=1e-9):
            return f"At t = {t} it gives {float(mine):.4g}."
    return None


@exercise("03 repair")
def _(answer: Any) -> Hint:

    batches, epochs = digits().batches(287), 5  # 5 updates an epoch
    plan = np.repeat(0.1 * 0.5 ** (np.arange(epochs) // 2), batches.per_epoch)
    right = MLP((64, 8, 10), seed=0)
    optimizer = SGD(right.parameters(), lr=0.1)
    for t, lr in enumerate(plan):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        x, y = batches(t)
        cross_entropy(right(x), y).backward()
        optimizer.step()

    model = MLP((64, 8, 10), seed=0)
    optimizer = SGD(model.parameters(), lr=0.1)
    used, _ = _rates_and_weights(optimizer, model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = answer(model, optimizer, StepLR(optimizer, 2, gamma=0.5), batches, epochs)
    rates = np.array(used).ravel()
    if len(rates) != len(plan):
        return f"It made {len(rates)} updates, and {len(plan)} were asked for."
    if len(set(rates[: batches.per_epoch])) > 1:
        return "The rate changes within the first epoch: how often is step() called?"
    if not np.allclose(rates, plan):
        return "The cuts come in the wrong epoch: when is step() called?"
    if told is None or np.shape(told) != plan.shape or not np.allclose(told, plan):
        return "The updates use the right rates now. The ones it returns are others."
    pairs = zip(model.parameters(), right.parameters(), strict=True)
    if not all(np.allclose(p.detach(), q.detach(), atol=1e-5) for p, q in pairs):
        return "The rates are right, the weights are not: whose gradients does an update use?"
    return None


@exercise("03 resume")
def _(answer: Any) -> Hint:

    batches = digits().batches(200)

    def make_optimizer(model: Any) -> Any:
        return SGD(model.parameters(), lr=0.1, momentum=0.9)

    def make_scheduler(optimizer: Any) -> Any:
        warm, cosine = LinearLR(optimizer, 0.1, total_iters=5), CosineAnnealingLR(optimizer, 25)
        return SequentialLR(optimizer, [warm, cosine], milestones=[5])

    def run(model: Any, optimizer: Any, scheduler: Any, start: int, stop: int) -> Any:
        rates, weights = _rates_and_weights(optimizer, model)
        for t in range(start, stop):
            x, y = batches(t)
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
            scheduler.step()
        return np.array(rates), np.array(weights)

    model = MLP((64, 8, 10), seed=0)
    optimizer = make_optimizer(model)
    scheduler = make_scheduler(optimizer)
    run(model, optimizer, scheduler, 0, 12)
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    saved = deepcopy({name: part.state_dict() for name, part in parts.items()})
    rates, weights = run(model, optimizer, scheduler, 12, 30)

    other = MLP((64, 8, 10), seed=1)
    made = answer(saved, other, make_optimizer, make_scheduler)
    if not isinstance(made, (tuple, list)) or len(made) != 2:
        return "It must return two things: the optimizer and the scheduler."
    optimizer, scheduler = made
    my_rates, my_weights = run(other, optimizer, scheduler, 12, 30)
    if not np.isclose(my_rates[0], rates[0]).all():
        return "The first rate after the resume is wrong: what did building the scheduler do to it?"
    if not np.allclose(my_rates, rates):
        return "The first rate is right and later ones are not: does the scheduler know the time?"
    if not np.allclose(my_weights, weights, atol=1e-6):
        return "The rates are right, the weights are not: the model's state, or the momentum?"
    return None
