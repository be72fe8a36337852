"""Checks of chapter 10, Adaptive optimizers."""

from typing import Any

import numpy as np
import torch
from schedulefree import AdamWScheduleFree  # type: ignore[import-untyped]
from torch.nn.functional import cross_entropy
from torch.optim import Adam, RMSprop

from lrcourse.data import digits
from lrcourse.exercises.engine import Hints, agrees, number, update, weights
from lrcourse.models import MLP
from lrcourse.schedules import Constant, Linear


def check_10_first(answer: Any) -> Hints:
    """How far RMSprop's first update moves a weight."""
    w = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    w.grad = torch.full_like(w, 5.0)
    RMSprop([w], lr=0.001, alpha=0.9).step()
    hint = "How large is v after one update? Then take its root."
    slips = {
        0.001: "That is Adam's first update. RMSprop corrects nothing at the start.",
        0.005: "That is SGD's first update. RMSprop divides by the gradient's size.",
        0.01: "That is the step for alpha = 0.99. How large is v after one update here?",
    }
    yield number(answer, abs(w.item()), hint=hint, slips=slips)


def check_10_window(answer: Any) -> Hints:
    """Over how many updates AdamW's weights are an average."""
    share = 0.0003 * 0.1
    slips = {
        share: "That is the share of the weights that one update takes away. Turn it upside down."
    }
    hint = "Which share does each update forget?"
    yield number(answer, 1 / share, rel=0.02, hint=hint, slips=slips)


def check_10_mean(answer: Any) -> Hints:
    """The schedule that weighs updates as the mean of the last 300 weights does."""
    right = Constant(1.0, 700) >> Linear(1, 0, 300)  # update t is in 1000 - t of the 300 weights
    told = "At t = {0} it gives {1:.4g}. In how many of the 300 is update {0}?".format
    yield agrees(answer, right, [*range(0, 1000, 50), 699, 700, 701, 999], told=told)


def check_10_adam(answer: Any) -> Hints:
    """One update of Adam as a function."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.tensor([1.0, 100.0, 1e-3, 1e-9], dtype=torch.float64)
    ours = torch.ones(4, dtype=torch.float64)
    theirs = ours.clone().requires_grad_(True)
    optimizer, seen = Adam([theirs], lr=0.01), {"m": 0 * ours, "v": 0 * ours}
    for t in range(50):
        pull = sizes * (1 + 0.5 * torch.randn(4, generator=generator, dtype=torch.float64))
        before = ours.clone()
        ours = answer(ours, pull.clone(), seen, t, 0.01)
        if not isinstance(ours, torch.Tensor) or ours.shape != before.shape:
            yield "It must return the new weights."
        start = theirs.detach().clone()
        theirs.grad = pull
        optimizer.step()
        times = ((ours - before) / (theirs.detach() - start)).detach()
        if not torch.allclose(times[:2], torch.ones(2, dtype=times.dtype), rtol=1e-6):
            yield f"Update {t} of a common weight is {times[0]:.3g} times torch's."
        if not torch.allclose(times, torch.ones_like(times), rtol=1e-6):
            small = f"With a gradient of 1e-9 update {t} is {times[-1]:.3g} times torch's"
            yield f"Common weights move as they should. {small}: what else is as small as that?"


def check_10_modes(answer: Any) -> Hints:
    """A loop for a schedule-free optimizer, scored and left in the right mode."""
    data = digits()
    batches = data.batches(100)

    def made() -> tuple[Any, Any]:
        model = MLP((64, 8, 10), seed=0)
        return model, AdamWScheduleFree(model.parameters(), lr=0.02, betas=(0.5, 0.999))

    def score(model: Any) -> float:
        with torch.no_grad():
            return cross_entropy(model(data.x_test), data.y_test).item()

    model, optimizer = made()
    at_y, at_x = [], []
    optimizer.train()
    for t in range(30):
        update(model, optimizer, batches(t))
        if (t + 1) % 10 == 0:
            at_y.append(score(model))
            optimizer.eval()
            at_x.append(score(model))
            optimizer.train()
    optimizer.eval()

    mine, optimizer = made()
    told = answer(mine, optimizer, batches, 30, 10, score)
    if np.shape(told) != (3,):
        yield "It must return the three scores of a run with 30 updates and every = 10."
    if np.allclose(told, at_y, rtol=1e-4):
        yield "These are scores of the weights that gradients are taken at, not of the answer."
    if not np.allclose(told, at_x, rtol=1e-4):
        yield "The scores are off: does it make 30 updates, all in the optimizer's training mode?"
    if not torch.allclose(weights(mine), weights(model), atol=1e-5):
        yield "The scores are right. In which mode does it leave the weights at the end?"
