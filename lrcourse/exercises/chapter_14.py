"""Checks of chapter 14, The LLM era."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from lrcourse.chapters.recipes import schedule
from lrcourse.data import digits
from lrcourse.exercises.engine import Hints, agrees, number, update, weights
from lrcourse.models import MLP
from lrcourse.schedules import Constant, Cosine, Linear, OneMinusSqrt, Warmup


def check_14_ledger(answer: Any) -> Hints:
    """How many updates four finished models take with one trunk."""
    horizons = np.array([1000, 2000, 4000, 8000])
    trunk, cooldowns = 0.9 * horizons.max(), 0.1 * horizons.sum()
    hint = "One trunk, and four cooldowns."
    slips = {
        horizons.sum(): "That is one run for each. How much do they share?",
        horizons.max() + cooldowns: "The trunk may end where its last cooldown branches off.",
    }
    yield number(answer, trunk + cooldowns, rel=1e-6, hint=hint, slips=slips)


def check_14_plan(answer: Any) -> Hints:
    """A function of t: warmup, trunk, 1 − sqrt down to a twentieth."""
    right = Warmup(200) >> Constant(1.0, 4800) >> OneMinusSqrt(1000, end=0.05) >> Constant(0.05)
    if not callable(answer):
        yield "A function of t is asked for: a schedule, for instance."
    times = [0, 1, 100, 199, 200, 201, 4999, 5000, 5001, 5250, 5999, 6000, 6001, 9000]
    told = "At t = {} it gives {:.4g}. Which part is that, and how far is it?".format
    yield agrees(answer, right, times, rel=1e-5, told=told)


def check_14_stages(answer: Any) -> Hints:
    """The text of a run's stages: a cosine, cut and brought to zero."""
    if not isinstance(answer, str):
        yield "Give the text of the stages, in quotes."
    plan = schedule(answer)
    whole = Cosine(99_500, end=0.1)
    right = Warmup(500) >> whole.take(59_500) >> Linear(whole(59_500), 0, 5_000)
    if plan.length != right.length:
        yield f"It is {plan.length} steps long, not {right.length}."

    def told(step: int, stands: float) -> str:
        if step < 60_000:
            why = "How long was the cosine planned to be, and which of its steps were run?"
        else:
            why = "Where does the line begin and end?"
        return f"At step {step} it stands at {stands:.4f}. {why}"

    steps = [0, 250, 500, 10_000, 30_000, 59_999, 60_000, 62_500, 64_999, 65_000]
    yield agrees(plan, right, steps, rel=2e-3, told=told)


def _trunk(at: int) -> tuple[torch.nn.Module, AdamW]:
    """A model and its optimizer after `at` updates."""
    model, batches = MLP((64, 16, 10), seed=0), digits().batches(32)
    optimizer = AdamW(model.parameters(), lr=0.01)
    for t in range(at):
        update(model, optimizer, batches(t))
    return model, optimizer


def _cooled(at: int, count: int, clock: int, first: int) -> Tensor:
    """The weights after a trunk of `at` updates and a branch of `count`.

    The branch begins with its schedule at `clock` and with minibatch `first`.
    """
    (model, optimizer), batches = _trunk(at), digits().batches(32)
    plan = Constant(1.0, at) >> Linear(1, 0, count)
    scheduler = LambdaLR(optimizer, lambda t: plan(t + clock))
    for t in range(count):
        update(model, optimizer, batches(first + t))
        scheduler.step()
    return weights(model)


def check_14_branch(answer: Any) -> Hints:
    """A function that branches a cooldown off a trunk, and leaves the trunk as it is."""
    at, count = 24, 12
    (trunk, optimizer), batches = _trunk(at), digits().batches(32)
    before = weights(trunk)
    twin = answer(trunk, optimizer, batches, at, count)
    if not isinstance(twin, torch.nn.Module):
        yield "It must return the branch's model."
    if twin is trunk:
        yield "It must leave the trunk as it is, and return another model."
    mine = weights(twin)
    if not torch.equal(weights(trunk), before):
        yield "The trunk's weights have moved: they must stay, for the next branch."
    if torch.equal(mine, before):
        yield "The branch's weights have not moved at all. Whose weights does its optimizer hold?"

    def like(clock: int, first: int) -> bool:
        return torch.allclose(mine, _cooled(at, count, clock, first), atol=1e-6)

    if like(at, at):
        return
    if like(0, 0) or like(0, at):
        yield "It moves, but its rate never falls. Where does the clock of its schedule begin?"
    if like(at, 0):
        yield "It cools down, but on minibatches that the trunk has seen. Which come next?"
    yield "It ends at other weights than the run that was planned so from the start."
