"""Checks of chapter 14, The LLM era."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from lrcourse.chapters.recipes import schedule
from lrcourse.data import digits
from lrcourse.exercises.engine import Hint, exercise, number
from lrcourse.models import MLP
from lrcourse.schedules import Constant, Cosine, Linear, OneMinusSqrt, Warmup


@exercise("14 ledger")
def _(answer: Any) -> Hint:
    horizons = np.array([1000, 2000, 4000, 8000])
    trunk, cooldowns = 0.9 * horizons.max(), 0.1 * horizons.sum()
    if not isinstance(answer, str) and answer == horizons.sum():
        return "That is one run for each. How much do they share?"
    if not isinstance(answer, str) and answer == 0.9 * horizons.sum() + cooldowns:
        return "The trunk is run only once."
    if not isinstance(answer, str) and answer == horizons.max() + cooldowns:
        return "The trunk may end where its last cooldown branches off."
    return number(answer, trunk + cooldowns, rel=1e-6, hint="One trunk, and four cooldowns.")


@exercise("14 plan")
def _(answer: Any) -> Hint:
    right = Warmup(200) >> Constant(1.0, 4800) >> OneMinusSqrt(1000, end=0.05) >> Constant(0.05)
    if not callable(answer):
        return "A function of t is asked for: a schedule, for instance."
    for t in [0, 1, 100, 199, 200, 201, 4999, 5000, 5001, 5250, 5999, 6000, 6001, 9000]:
        mine = answer(t)
        if mine is None or np.ndim(mine) != 0:
            return f"At t = {t} it gives {mine!r}, and a number is asked for."
        if not np.isclose(float(mine), right(t), atol=1e-9):
            return f"At t = {t} it gives {float(mine):.4g}. Which part is that, and how far is it?"
    return None


@exercise("14 stages")
def _(answer: Any) -> Hint:
    if not isinstance(answer, str):
        return "Give the text of the stages, in quotes."
    plan = schedule(answer)
    whole = Cosine(99_500, end=0.1)
    right = Warmup(500) >> whole.take(59_500) >> Linear(whole(59_500), 0, 5_000)
    if plan.length != right.length:
        return f"It is {plan.length} steps long, not {right.length}."
    for t in [0, 250, 500, 10_000, 30_000, 59_999]:
        if not np.isclose(plan(t), right(t), atol=1e-4):
            return (
                f"At step {t} it stands at {plan(t):.4f}. How long was the cosine planned to be, "
                "and which of its steps were run?"
            )
    for t in [60_000, 62_500, 64_999, 65_000]:
        if not np.isclose(plan(t), right(t), atol=1e-3):
            return f"At step {t} it stands at {plan(t):.4f}. Where does the line begin and end?"
    return None


def _cooled(at: int, count: int, clock: int, first: int) -> torch.Tensor:
    """The weights after a trunk of `at` updates and a branch of `count`."""
    model, batches = MLP((64, 16, 10), seed=0), digits().batches(32)
    optimizer = AdamW(model.parameters(), lr=0.01)
    plan = Constant(1.0, at) >> Linear(1, 0, count)
    for t in range(at + count):
        if t == at:
            scheduler = LambdaLR(optimizer, lambda t: plan(t + clock))
        x, y = batches(t if t < at else first + t - at)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        if t >= at:
            scheduler.step()
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach()


@exercise("14 branch")
def _(answer: Any) -> Hint:
    at, count = 24, 12
    trunk, batches = MLP((64, 16, 10), seed=0), digits().batches(32)
    optimizer = AdamW(trunk.parameters(), lr=0.01)
    for t in range(at):
        x, y = batches(t)
        optimizer.zero_grad()
        F.cross_entropy(trunk(x), y).backward()
        optimizer.step()
    before = torch.nn.utils.parameters_to_vector(trunk.parameters()).detach().clone()
    twin = answer(trunk, optimizer, batches, at, count)
    if not isinstance(twin, torch.nn.Module):
        return "It must return the branch's model."
    if twin is trunk:
        return "It must leave the trunk as it is, and return another model."
    mine = torch.nn.utils.parameters_to_vector(twin.parameters()).detach()
    after = torch.nn.utils.parameters_to_vector(trunk.parameters()).detach()
    if not torch.equal(after, before):
        return "The trunk's weights have moved: they must stay, for the next branch."
    if torch.equal(mine, before):
        return "The branch's weights have not moved at all. Whose weights does its optimizer hold?"

    def like(clock: int, first: int) -> bool:
        return torch.allclose(mine, _cooled(at, count, clock, first), atol=1e-6)

    if like(at, at):
        return None
    if like(0, 0) or like(0, at):
        return "It moves, but its rate never falls. Where does the clock of its schedule begin?"
    if like(at, 0):
        return "It cools down, but on minibatches that the trunk has seen. Which come next?"
    return "It ends at other weights than the run that was planned so from the start."
