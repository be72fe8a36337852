"""Checks of chapter 10, Adaptive optimizers."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from schedulefree import AdamWScheduleFree  # type: ignore[import-untyped]
from torch import nn
from torch.nn.functional import cross_entropy

from lrcourse.data import digits, sympy_text
from lrcourse.exercises.contest import Contest
from lrcourse.exercises.engine import Hints, update, weights
from lrcourse.experiments.recordings import read_recording
from lrcourse.experiments.repeating import run_again
from lrcourse.files import fingerprint
from lrcourse.models import MLP, NextCharacter

UPDATES, PAIRS = 2000, 8  # as recorded; eight pairs, since an entry trains run by run


class _Spent(Exception):
    """An entry asks for more minibatches than it may have."""


def _end(answer: Any, seed: int) -> float:
    """The test loss of the model that an entry trains, within the budget."""
    text, model, asked = sympy_text(), NextCharacter(seed=seed), 0
    batches = text.batches(64, seed)

    def counted(t: int) -> Any:
        nonlocal asked
        asked += 1
        if asked > UPDATES:
            raise _Spent
        return batches(t)

    trained = answer(model, counted, UPDATES)
    if not isinstance(trained, nn.Module):
        raise TypeError("it must return the model that is to be judged")
    with torch.no_grad():
        loss = text.score(trained)["test_loss"].item()
    return loss if np.isfinite(loss) else np.nan


def check_10_open(answer: Any) -> Hints:
    """A loop that trains the small network, and ends below AdamW along a line."""
    if not callable(answer) or isinstance(answer, type):
        yield "A function is asked for: of a model, its minibatches and the number of updates."
    try:
        first = _end(answer, seed=0)
    except _Spent:
        yield f"It asks for more than {UPDATES} minibatches: that is the budget."
        return ""
    contest = Contest("10 open", "averages", "linear", part="AdamW", pairs=PAIRS)
    name = fingerprint([f"{first:.4g}"])  # what it comes to on one seed: another entry, other seeds
    seeds, recording = contest.seeds(name), read_recording(contest.experiment)
    ends = run_again(recording, {"base": contest.tuned}, seeds=seeds, part=contest.part)
    ends["entry"] = pd.Series({seed: _end(answer, seed) for seed in seeds})
    return (yield from contest.place(ends, name))


def check_10_repair(answer: Any) -> Hints:
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
    modes = []  # of the model: training wherever gradients are taken, and nowhere else
    mine.register_forward_hook(
        lambda one, *_: modes.append(one.training == torch.is_grad_enabled())
    )
    told = answer(mine, optimizer, batches, 30, 10, score)
    if np.shape(told) != (3,):
        yield "It must return the three scores of a run with 30 updates and every = 10."
    if np.allclose(told, at_y, rtol=1e-4):
        yield "These are scores of the weights that gradients are taken at, not of the answer."
    if not np.allclose(told, at_x, rtol=1e-4):
        yield "The scores are off: does it make 30 updates, all in the optimizer's training mode?"
    if not torch.allclose(weights(mine), weights(model), atol=1e-5):
        yield "The scores are right. In which mode does it leave the weights at the end?"
    if not all(modes):
        yield (
            "The optimizer's modes are right. But a model with dropout or batch norm has modes of "
            "its own: model.eval() before the score, model.train() before the next update."
        )
