"""Checks of chapter 00, Start here."""

from typing import Any

import numpy as np
from torch.optim import SGD

from lrcourse.data import digits
from lrcourse.exercises.engine import Hint, exercise, number
from lrcourse.models import MLP
from lrcourse.training import train


@exercise("00 best")
def _(answer: Any) -> Hint:
    return number(answer, 1.0, rel=0, hint="Which row of the figure has no box, or the fewest?")


@exercise("00 epoch")
def _(answer: Any) -> Hint:
    return number(
        answer,
        digits().batches(32).per_epoch,
        rel=0,
        hint="A last batch that is not full is left out, so round down.",
    )


@exercise("00 your rate")
def _(answer: Any) -> Hint:
    if isinstance(answer, (str, bool)) or np.ndim(answer) != 0 or not float(answer) > 0:
        return "A single number above zero is asked for."
    if float(answer) in (0.003, 1, 30):
        return "That one stands above already. Find another."
    model = MLP((64, 64, 10), seed=0)
    optimizer = SGD(model.parameters(), lr=float(answer))
    run = train(model, digits().batches(32), optimizer, steps=50, norms=False, progress=False)
    if run.diverged_at is not None:
        return "The loss left all bounds. That is the far side: go down."
    accuracy = float(digits().score(model)["test_accuracy"])
    said = f"It reads {100 * accuracy:.0f} of 100 digits."
    if accuracy >= 0.93:
        return None
    return f"{said} {'Larger, perhaps?' if float(answer) < 1 else 'Smaller, perhaps?'}"
