"""Checks of chapter 14, The LLM era."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from lrcourse.data import digits
from lrcourse.exercises.contest import Contest, rates_of
from lrcourse.exercises.engine import Hints, parting, update, weights
from lrcourse.models import MLP
from lrcourse.schedules import Constant, Linear, Warmup, values


def check_14_open(answer: Any) -> Hints:
    """Rates that learn at update 900 where they end, and lead below a cosine that knew it."""
    rates = yield from rates_of(answer, 1000)
    peak = rates[100]
    if (t := parting(rates[:900], values(Warmup(100), 900, peak), rtol=0.01)) is not None:
        yield (
            f"At t = {t} the rate is {rates[t]:.4g}: until t = 900 it is to be a warmup in a "
            f"straight line over 100 updates, and then stay, at {peak:.4g}."
        )
    return (yield from Contest("14 open", "cooldown", "cosine", pairs=12).judge(answer))


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


def check_14_repair(answer: Any) -> Hints:
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
