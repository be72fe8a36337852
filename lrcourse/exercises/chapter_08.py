"""Checks of chapter 08, Listening to the loss."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lrcourse.data import digits
from lrcourse.exercises.engine import Hints, number, one_weight, rates_used
from lrcourse.models import MLP


def _rates(metrics: Any, **settings: Any) -> np.ndarray:
    """The rate after each value of the metric, under the real class, from 1."""
    optimizer = one_weight(1.0)
    scheduler, rates = ReduceLROnPlateau(optimizer, **settings), []
    for metric in metrics:
        scheduler.step(metric)
        rates.append(optimizer.param_groups[0]["lr"])
    return np.array(rates)


def _first_cut(metrics: Any, **settings: Any) -> int:
    """The number, from 1, of the value with which the rate is cut for the first time."""
    return int(np.argmax(_rates(metrics, **settings) < 1)) + 1


def check_08_first_cut(answer: Any) -> Hints:
    """The epoch after which a patience of 2 cuts."""
    losses = [0.90, 0.80, 0.81, 0.79999, 0.80, 0.78, 0.78, 0.78, 0.78]
    right = _first_cut(losses, patience=2)
    slips = dict.fromkeys((8, 9), "By how much must epoch 4 beat epoch 2 to count as better?")
    slips[right - 1] = "That is the second bad epoch. How many does a patience of 2 bear?"
    hint = "Note the best so far and the count, row by row."
    yield number(answer, right, rel=1e-9, hint=hint, slips=slips)


def check_08_clock(answer: Any) -> Hints:
    """How many updates are made, at the least, before the default patience cuts."""
    hint = "How many evaluations, the first one included?"
    slips = {
        5000: "The tenth bad value is still borne, and the first value of all is never bad.",
        5500: "Close. Is the first value that it hears a bad one?",
    }
    yield number(answer, 500 * _first_cut(np.ones(50)), rel=1e-9, hint=hint, slips=slips)


def check_08_likelihood(answer: Any) -> Hints:
    """The settings with which the class listens to a log-likelihood."""
    if not isinstance(answer, Mapping):
        yield "A dictionary is asked for, such as {'patience': 3}."
    steps = np.arange(60)
    cases = {
        "stands at -2": (np.full(60, -2.0), True),
        "slowly falls": (-2 - 5e-5 * steps, True),
        "rises by 0.01 each time": (-2 + 0.01 * steps, False),
    }
    for name, (metric, cut) in cases.items():
        if (_rates(metric, **answer)[-1] < 1) != cut:
            yield f"The likelihood that {name} is {'never cut' if cut else 'cut'}."
    first = _first_cut(np.full(60, -2.0), **answer)
    if first != 5:
        yield f"It works, but the flat one is cut at value {first}: is that a patience of 3?"


def check_08_race(answer: Any) -> Hints:
    """The patience of a stop that comes an interval after the second cut."""
    rates = _rates(np.ones(60), patience=4, cooldown=2, factor=0.5)
    second = int(np.argmax(rates < 0.5))  # bad values heard when it is made: the first is good
    hint = "Count the bad values, one by one."
    slips = {
        second: "The second cut and the stop come with the same value: nothing is trained "
        "after it.",
        second - 1: "The run is stopped just before the second cut.",
        2 * 4 + 2: "Do values in the cooldown count towards the next cut?",
    }
    yield number(answer, second + 1, rel=1e-9, hint=hint, slips=slips)


def check_08_repair(answer: Any) -> Hints:
    """A loop that listens to the validation loss once an epoch."""
    batches, epochs = digits().batches(287), 14  # 5 updates an epoch
    losses = [3.0, 2.0, 1.5, 1.2, 1.1, 1.15, 1.2, 1.3, 0.9, 0.8, 0.85, 0.9, 0.95, 0.9]
    heard: list[int] = []
    model = MLP((64, 8, 10), seed=0)
    optimizer = SGD(model.parameters(), lr=0.1)
    used = rates_used(optimizer)

    def validate(_: Any) -> float:
        heard.append(len(used))
        return losses[min(len(heard), epochs) - 1]

    told = answer(model, optimizer, batches, validate, epochs)
    if len(used) != epochs * batches.per_epoch:
        yield f"It made {len(used)} updates, and {epochs * batches.per_epoch} were asked for."
    if not heard:
        yield "The rate never hears the validation loss: validate(model) was not called."
    per_epoch = np.array(used).reshape(epochs, -1)
    if (per_epoch != per_epoch[:, :1]).any():
        yield "The rate changes within an epoch: how often is step() called, and with what?"
    if heard != [batches.per_epoch * (epoch + 1) for epoch in range(epochs)]:
        yield f"The validation loss was asked for {len(heard)} times, or not at the epochs' ends."
    plan = 0.1 * np.append(1, _rates(losses, factor=0.5, patience=2)[:-1])
    if per_epoch[4, 0] < plan[4]:
        yield "The rate was cut in the first epochs, while the loss it heard was falling."
    if not np.allclose(per_epoch[:, 0], plan):
        yield "The cuts come in the wrong epochs."
    if np.shape(told) != (len(used),) or not np.allclose(told, used):
        yield "The updates use the right rates now. The ones it returns are others."
