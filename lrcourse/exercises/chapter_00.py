"""Checks of chapter 00, Start here."""

from math import inf
from typing import Any

import numpy as np
from torch.optim import SGD

from lrcourse.data import digits
from lrcourse.evidence import measured
from lrcourse.exercises.engine import Hints, is_number, update
from lrcourse.files import fingerprint
from lrcourse.models import MLP

SEEDS, UPDATES = 64, 10
LEAD = 5  # digits of 100; the best rates gain about 11, with a standard error of 1.3


def check_00_epoch(answer: Any) -> Hints:
    """How many updates one epoch is."""
    if not is_number(answer):
        yield "A single number is asked for."
    images = len(digits().x)
    if abs(float(answer) - images / 32) >= 1:
        yield f"There are {images} images to train on, and each update sees 32 of them."
    if float(answer) != images // 32:
        yield "A last minibatch that is not full is left out, so round down."


def check_00_search(answer: Any) -> Hints:
    """A rate at which ten updates teach clearly more than at 1, on seeds drawn from the answer."""
    if not is_number(answer) or not 0 < float(answer) < inf:
        yield "A single number above zero is asked for."
    rate = float(answer)
    if rate == 1:
        yield "That is the rate to beat."
    first = 10_000 + int(fingerprint([f"{rate:.6g}"])[:6], 16)  # far from all that chapters use
    seeds = range(first, first + SEEDS)
    mine, base = (np.mean([_read(each, seed) for seed in seeds]) for each in (rate, 1.0))
    if mine < base + LEAD:
        yield (
            f"On {SEEDS} new seeds it reads {mine:.1f} of 100 digits on average, and rate 1 "
            f"reads {base:.1f}. {'Larger' if rate < 2 else 'Smaller'}, perhaps?"
        )
    return measured(reads=mine, rate_1_reads=base, seeds=SEEDS)


def _read(rate: float, seed: int) -> float:
    """How many of 100 test images the chapter's network reads after ten updates."""
    data, model = digits(), MLP((64, 64, 10), seed=seed)
    optimizer, batches = SGD(model.parameters(), lr=rate), data.batches(32, seed)
    for t in range(UPDATES):
        update(model, optimizer, batches(t))
    return 100 * float(data.score(model)["test_accuracy"])
