"""Checks of chapter 13, The Transformer experiment."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn.utils import get_total_norm
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from lrcourse.comparison import best
from lrcourse.exercises.engine import Hints, number, rates_used, update, weights
from lrcourse.models import GPT, next_token_loss
from lrcourse.schedules import Linear


def check_13_parameters(answer: Any) -> Hints:
    """How many parameters a GPT has."""
    model = GPT(vocabulary=256, context=128, layers=6, heads=6, width=192, seed=0)
    right = len(weights(model))
    hint = "Go through it part by part, as above."
    slips = {
        right + 256 * 192: "The last layer has no weights of its own: it is the token table again.",
        right - 128 * 192: "Each place in the context has a learned vector, too.",
        right - 2 * 192: "One LayerNorm stands after the last block.",
        right - 13 * 2 * 192: "Each LayerNorm has two numbers for each entry.",
        right - 6 * 192**2: "In attention a last layer mixes what the heads bring.",
        right - 6 * 4 * 192**2: "The feed-forward part has two matrices, up and down again.",
        right - 6 * 6 * 192**2: "The first feed-forward layer makes four times the width.",
    }
    yield number(answer, right, rel=1e-9, hint=hint, slips=slips)


def check_13_hours(answer: Any) -> Hints:
    """How long a model of 1e9 parameters trains on twenty tokens for each."""
    n = 1e9
    seconds = 6 * n * 20 * n / 1.5e14
    hint = "6 operations per parameter and token; 20 tokens per parameter; 3600 s in an hour."
    slips = {
        seconds: "That is in seconds, and there are 3600 s in an hour.",
        seconds / 60: "That is in minutes.",
        seconds / 86400: "That is in days.",
        seconds / 3600 / n: "The parameters, or the tokens, come in billions: 20 are for *each*.",
    }
    yield number(answer, seconds / 3600, rel=0.02, hint=hint, slips=slips)


def _grid(losses: list[list[float]], peaks: tuple[float, ...]) -> pd.DataFrame:
    """One row a run: a row of `losses` a seed, a column a peak."""
    return pd.DataFrame(
        {"schedule": "s", "peak": peak, "seed": seed, "test_loss": row[i]}
        for seed, row in enumerate(losses)
        for i, peak in enumerate(peaks)
    )


def check_13_peak(answer: Any) -> Hints:
    """A function: a frame of runs → the best peak, by the rules of the course."""
    peaks = (0.001, 0.002, 0.004, 0.008, 0.016)
    plain = _grid([[2.6, 2.5, 2.4, 2.5, 2.7], [2.6, 2.5, 2.42, 2.5, 2.7]], peaks)
    lucky = _grid([[2.6, 2.5, 2.4, 2.2, 2.7], [2.6, 2.5, 2.4, 2.9, 2.7]], peaks)
    lost = _grid([[2.6, 2.5, 2.4, 2.3, 2.7], [2.6, 2.5, 2.4, np.nan, 2.7]], peaks)
    for frame, wrong in (
        (plain, "With a plain U it must give the lowest mean over seeds."),
        (lucky, "It follows one lucky run: take the mean over seeds first."),
        (lost, "A peak at which some seed was lost (nan) is out of the race."),
    ):
        shuffled = frame.sample(frac=1, random_state=0)
        mine = answer(shuffled.copy())
        right = best(frame, "test_loss")["peak"].item()
        if mine is None or np.ndim(mine) != 0 or isinstance(mine, str):
            yield f"It returns {mine!r}, and a single peak is asked for."
        if not np.isclose(float(mine), right):
            yield f"{wrong} (It gives {float(mine):g}, not {right:g}.)"
    for end in (peaks[:3], peaks[2:]):
        try:
            mine = answer(plain[plain["peak"].isin(end)].copy())
        except ValueError:
            continue
        yield f"On the peaks {end} it gives {mine!r}. The best lies on the edge: raise ValueError."


class _Sums(torch.nn.Module):
    """Stands in for a GPT with a context of 6: what comes next depends on every token it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.position = torch.nn.Embedding(6, 1)
        self.longest = 0  # tokens it has seen at once

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        if tokens.shape[-1] > 6:
            raise ValueError(f"tokens must be at most 6 long, the context, got {tokens.shape[-1]}")
        self.longest = max(self.longest, tokens.shape[-1])
        following = (3 * tokens + 5 * tokens.cumsum(-1) + 1) % 16
        return torch.nn.functional.one_hot(following, 16).float()


def check_13_continue(answer: Any) -> Hints:
    """A function that continues a prompt by the likeliest token, again and again."""
    model, prompt = _Sums(), torch.tensor([3, 1, 4])
    right = prompt
    for _ in range(12):
        right = torch.cat([right, model(right[-6:])[-1].argmax().reshape(1)])
    model = _Sums()
    mine = answer(model, prompt.clone(), 12)
    if not isinstance(mine, torch.Tensor) or mine.shape != right.shape:
        yield "It must return the prompt and 12 tokens more, as one row."
    if torch.equal(mine, right):
        return
    first = int((mine != right).nonzero()[0])
    if first <= 3:
        yield "Already the first new token is wrong: it is for the scores of the last place."
    if first < 6:
        yield f"Token {first} is the first that is wrong."
    if model.longest < 6:
        yield f"You show it {model.longest} of 6 tokens at most. How many does the context hold?"
    yield f"{first} tokens are right: so long the text fits. What of a longer one must it see?"


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
