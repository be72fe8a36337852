"""Checks of chapter 08, Listening to the loss."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lrcourse.data import digits
from lrcourse.exercises.contest import Contest
from lrcourse.exercises.engine import Hints, one_weight, rates_used
from lrcourse.experiments.declared import Listener
from lrcourse.files import fingerprint
from lrcourse.models import MLP

STEPS, LARGEST, BUDGET = 2000, 2048, 640  # updates; windows of validation text: there, to read


def _rates(metrics: Any, **settings: Any) -> np.ndarray:
    """The rate after each value of the metric, under the real class, from 1."""
    optimizer = one_weight(1.0)
    scheduler, rates = ReduceLROnPlateau(optimizer, **settings), []
    for metric in metrics:
        scheduler.step(metric)
        rates.append(optimizer.param_groups[0]["lr"])
    return np.array(rates)


def check_08_open(answer: Any) -> Hints:
    """A listener that reads a tenth of a noisy one's text and ends lower than a constant rate."""
    if not isinstance(answer, Mapping):
        yield "A dictionary is asked for: peak, windows, every, and settings of the scheduler."
    settings = dict(answer)
    peak, windows, every = (settings.pop(key, None) for key in ("peak", "windows", "every"))
    if not isinstance(peak, float) or not 0 < peak < 1:
        yield f"peak is {peak!r}: a rate between 0 and 1 is asked for."
    if not all(isinstance(n, int) and n > 0 for n in (windows, every)) or STEPS % every:
        yield f"windows is {windows!r}, every {every!r}: whole numbers; every divides {STEPS}."
    read = windows * STEPS // every
    if windows > LARGEST or read > BUDGET:
        yield f"It reads {read} windows, {windows} at a time: of {BUDGET}, {LARGEST} at most."
    try:
        _rates([1.0], **settings)
    except (TypeError, ValueError) as error:
        yield f"ReduceLROnPlateau does not take these settings: {error}"
    name = fingerprint([f"{peak:.6g}", windows, every, sorted(settings.items())])
    listener = Listener(windows, settings, every)
    return (yield from Contest("08 open", "plateau", "constant").race(listener, peak, name))


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
    plan = 0.1 * np.append(1, _rates(losses, factor=0.5, patience=2)[:-1])
    if per_epoch[4, 0] < plan[4]:
        yield "The rate was cut in the first epochs, while the loss it heard was falling."
    if not np.allclose(per_epoch[:, 0], plan):
        yield "The cuts come in the wrong epochs."
    if np.shape(told) != (len(used),) or not np.allclose(told, used):
        yield "The updates use the right rates now. The ones it returns are others."
