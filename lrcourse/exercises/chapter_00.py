"""Checks of chapter 00, Start here."""

from typing import Any

from torch.optim import SGD

from lrcourse.data import digits
from lrcourse.exercises.engine import Hints, is_number, number
from lrcourse.models import MLP
from lrcourse.training import train


def check_00_best(answer: Any) -> Hints:
    """Which of three rates made the best network."""
    yield number(answer, 1.0, rel=0, hint="Which row of the figure has no box, or the fewest?")


def check_00_epoch(answer: Any) -> Hints:
    """How many updates one epoch is."""
    hint = "A last batch that is not full is left out, so round down."
    yield number(answer, digits().batches(32).per_epoch, rel=0, hint=hint)


def check_00_your_rate(answer: Any) -> Hints:
    """A rate at which fifty updates are enough for 93 of 100 digits."""
    if not is_number(answer) or not float(answer) > 0:
        yield "A single number above zero is asked for."
    if float(answer) in (0.003, 1, 30):
        yield "That one stands above already. Find another."
    model = MLP((64, 64, 10), seed=0)
    optimizer = SGD(model.parameters(), lr=float(answer))
    run = train(model, digits().batches(32), optimizer, steps=50, norms=False, progress=False)
    if run.diverged_at is not None:
        yield "The loss left all bounds. That is the far side: go down."
    accuracy = float(digits().score(model)["test_accuracy"])
    if accuracy < 0.93:
        way = "Larger" if float(answer) < 1 else "Smaller"
        yield f"It reads {100 * accuracy:.0f} of 100 digits. {way}, perhaps?"
