"""Where `lrcourse.schedules` and the libraries mean the same, and where they do not.

"Warm up for W updates, then a cosine over N" is one sentence and, in three libraries and a script,
four different lists of rates. This is the one place where that is written down, as things that run:

- `WARMUP_THEN_COSINE` holds that one request as each library takes it; `habits` reads it off;
- `PHRASES` says how to write a library's schedule with ours;
- `DIFFERENCES` lists the cases in which the nearest schedule of ours gives another number.

The last two are data, in `conventions.toml`. The tests run all of it against the installed
versions: a phrase that stops being right, a difference that disappears and a schedule that nobody
has considered each make one fail. transformers and keras are imported where they are first needed,
not before.
"""

import os
import sys
import tomllib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
from torch.optim import lr_scheduler as lrs

from lrcourse import schedules
from lrcourse.arguments import refuse
from lrcourse.schedules import Cosine, FloatArray, Plateau, Warmup, recorded, values

__all__ = ["DIFFERENCES", "PHRASES", "WARMUP_THEN_COSINE", "Disagreement", "Habits"]
__all__ += ["from_keras", "from_nanogpt", "from_torch", "from_transformers", "habits"]

_TOLD = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


# ------------------------------------------------------------- the rates that each library gives


def from_torch(steps: int, name: str, *args: Any, lr: float = 1.0, **settings: Any) -> FloatArray:
    """The rates of `steps` updates under a class of `torch.optim.lr_scheduler`.

    Args:
        steps: how many updates.
        name: the class, such as "StepLR".
        *args: what follows its first argument, the optimizer.
        lr: the optimizer's rate.
        **settings: its settings.

    >>> from_torch(4, "StepLR", 2, gamma=0.5)
    array([1. , 1. , 0.5, 0.5])
    """
    return recorded(lambda o: getattr(lrs, name)(o, *args, **settings), steps, lr)


def from_transformers(
    steps: int,
    name: str,
    warmup: int | None = None,
    total: int | None = None,
    lr: float = 1.0,
    **settings: Any,
) -> FloatArray:
    """The rates of `steps` updates under `transformers.get_scheduler(name, …)`.

    Args:
        steps: how many updates.
        name: a SchedulerType's value, such as "cosine".
        warmup: its num_warmup_steps.
        total: its num_training_steps.
        lr: the optimizer's rate.
        **settings: its scheduler_specific_kwargs.

    >>> from_transformers(5, "linear", warmup=2, total=4)
    array([0. , 0.5, 1. , 0.5, 0. ])
    """
    from transformers import get_scheduler

    return recorded(lambda o: get_scheduler(name, o, warmup, total, settings or None), steps, lr)


def from_keras(steps: int, name: str, *args: Any, **settings: Any) -> FloatArray:
    """The rates of `steps` updates under a class of `keras.optimizers.schedules`.

    Keras computes in 32 bits; here it is told to use 64, so that only what it means can differ.

    Args:
        steps: how many updates.
        name: the class, such as "CosineDecay".
        *args: its arguments, the first of them in most cases a rate.
        **settings: more of them, by name.

    >>> from_keras(4, "ExponentialDecay", 1.0, decay_steps=1, decay_rate=0.5)
    array([1.   , 0.5  , 0.25 , 0.125])
    """
    keras = _keras()
    bits = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        schedule = getattr(keras.optimizers.schedules, name)(*args, **settings)
        return np.array([float(schedule(t)) for t in range(steps)])
    finally:
        keras.config.set_floatx(bits)


def _keras() -> Any:
    """Keras, on the torch backend, without leaving a folder .keras in the reader's home."""
    if "keras" not in sys.modules:
        with TemporaryDirectory() as home:
            told = {"KERAS_BACKEND": "torch", "KERAS_HOME": home}
            with mock.patch.dict(os.environ, told):
                import keras
    import keras

    return keras


def from_nanogpt(steps: int, warmup: int, length: int, end: float = 0.0) -> FloatArray:
    """Warmup and cosine in the style of nanoGPT's training script, written anew.

    Update t of the warmup runs at (t + 1)/(warmup + 1) of the peak. The cosine reaches `end` (a
    factor) at update `length`, which counts the warmup, and `end` is held from there on.

    >>> from_nanogpt(7, warmup=3, length=5)
    array([0.25, 0.5 , 0.75, 1.  , 0.5 , 0.  , 0.  ])
    """
    if not 0 <= warmup < length:
        refuse("length", length, f"more than the warmup of {warmup!r}")
    t = np.arange(steps)
    along = np.clip((t - warmup) / (length - warmup), 0, 1)
    cosine = end + (1 - end) * (1 + np.cos(np.pi * along)) / 2
    return np.where(t < warmup, (t + 1) / (warmup + 1), cosine)


# ----------------------------------------------------- one request, as each library understands it


def _torch_way(warmup: int, length: int, steps: int) -> FloatArray:
    def make(o: Any) -> Any:
        parts = [lrs.LinearLR(o, total_iters=warmup), lrs.CosineAnnealingLR(o, length)]
        return lrs.SequentialLR(o, parts, [warmup])

    return recorded(make, steps, 1.0)


WARMUP_THEN_COSINE: Mapping[str, Callable[[int, int, int], FloatArray]] = {
    "torch": _torch_way,
    "transformers": lambda warmup, length, n: from_transformers(n, "cosine", warmup, length),
    "keras": lambda warmup, length, n: from_keras(
        n, "CosineDecay", 0.0, length, warmup_target=1.0, warmup_steps=warmup
    ),
    "nanoGPT style": lambda warmup, length, n: from_nanogpt(n, warmup, length),
    "this course": lambda warmup, length, n: values(Warmup(warmup) >> Cosine(length), n),
}
"""Library → the factors of `steps` updates for "warm up for `warmup`, then a cosine over `length`".

Each is told the two numbers under the names that the library has for them, and else left at its
defaults: torch joins LinearLR and CosineAnnealingLR in a SequentialLR. Keras has no default for the
rate that its warmup starts from, and is told 0.
"""


@dataclass(frozen=True)
class Habits:
    """What a library makes of "warm up for `warmup`, then a cosine over `length`".

    Attributes:
        first: the factor of the first update.
        full: the first update at the peak.
        lowest: the first update at the floor.
        held: whether the rate stays there.
        counts_warmup: whether `length` includes the warmup.
    """

    first: float
    full: int
    lowest: int
    held: bool
    counts_warmup: bool


def habits(library: str, warmup: int = 4, length: int = 20) -> Habits:
    """Read the habits of a library off the rates that it gives.

    Args:
        library: a name in `WARMUP_THEN_COSINE`.
        warmup: updates, at least 1.
        length: updates, more than `warmup`.

    >>> habits("nanoGPT style")
    Habits(first=0.2, full=4, lowest=20, held=True, counts_warmup=True)
    """
    factors = WARMUP_THEN_COSINE[library](warmup, length, 3 * length)
    full = int(np.isclose(factors, 1).argmax())
    low = np.isclose(factors[full:], factors[full:].min(), atol=1e-9)
    lowest = full + int(low.argmax())
    held = bool(low[lowest - full :].all())
    return Habits(float(factors[0]), full, lowest, held, counts_warmup=lowest == length)


# --------------------------------------------------------------------- how to say theirs with ours

PHRASES: Mapping[str, Mapping[str, str]] = _TOLD["phrases"]
"""Library → its schedule → the same with ours, up to the end of the run and for common settings.

W is the warmup and N the length, as the library counts them; the other letters are settings of it.
Two settings of transformers have no phrase: a timescale of inverse_sqrt that is not its warmup, and
a num_cycles of cosine that is no multiple of a half. Two schedules of it follow a metric, and have
none either: reduce_lr_on_plateau, which is torch's, and greedy, which raises the rate too. (The
classes of torch have their counterparts in `lrcourse.schedules`, which names them.)
"""

# ------------------------------------------------------------------------- where theirs differ


@dataclass(frozen=True)
class Disagreement:
    """A case in which a library's schedule and the nearest of ours give different factors.

    Attributes:
        where: library and schedule.
        what: what theirs does, in a few words.
        at: the update that shows it.
        ours: gives our schedule; it is to be called for, since it may be an error.
        theirs: number of updates → their factors; it may be an error as well.
    """

    where: str
    what: str
    at: int
    ours: Callable[[], Callable[[int], float]]
    theirs: Callable[[int], FloatArray]

    def shown(self) -> tuple[float | str, float | str]:
        """Our factor and theirs at that update, or the name of the error that stands for one."""
        return (
            _or_error(lambda: values(self.ours(), self.at + 1)[-1]),
            _or_error(lambda: self.theirs(self.at + 1)[-1]),
        )

    def holds(self) -> bool:
        """Whether the two still differ, by more than rounding."""
        ours, theirs = self.shown()
        if isinstance(ours, str) or isinstance(theirs, str):
            return ours != theirs
        return abs(ours - theirs) > 1e-6


def _or_error(look: Callable[[], Any]) -> float | str:
    try:
        with warnings.catch_warnings():  # some of these cases make torch warn, of something else
            warnings.simplefilter("ignore")
            return float(look())
    except (ArithmeticError, NotImplementedError, ValueError) as error:
        return type(error).__name__


# What the table calls, beside the functions above.


def _after_warmup(n: int, build: Callable[[Any], Any]) -> FloatArray:
    """A SequentialLR that warms up from a tenth in 5 updates, and then is what `build` makes."""
    return recorded(
        lambda o: lrs.SequentialLR(o, [lrs.LinearLR(o, 0.1, 1.0, 5), build(o)], [5]), n, 1.0
    )


def _jump_to_a_restart(n: int) -> FloatArray:
    def make(o: Any) -> Any:
        scheduler = lrs.CosineAnnealingWarmRestarts(o, 1, 3)
        scheduler.step(n - 1)
        return scheduler

    return recorded(make, 1, 1.0)


# A metric that never gets better, as ours and torch's ReduceLROnPlateau hear it.


def _our_cuts() -> Callable[[int], float]:
    plateau = Plateau(patience=0)
    return [1.0, plateau.update(1.0), plateau.update(1.0)].__getitem__


def _cuts_of_a_tiny_rate(n: int) -> FloatArray:
    def make(o: Any) -> Any:
        scheduler = lrs.ReduceLROnPlateau(o, patience=0)
        return SimpleNamespace(step=lambda: scheduler.step(1.0))

    return recorded(make, n, 1e-8) / 1e-8


def _nested(o: Any) -> Any:
    first = lrs.SequentialLR(o, [lrs.LinearLR(o, 0.1, 1.0, 5), lrs.ConstantLR(o, 1.0, 0)], [5])
    return lrs.SequentialLR(o, [first, lrs.ExponentialLR(o, 0.9)], [10])


def _case(where: str, what: str, at: int, ours: str, theirs: str) -> Disagreement:
    names = vars(schedules) | globals()
    return Disagreement(
        where, what, at, eval(f"lambda: {ours}", names), eval(f"lambda n: {theirs}", names)
    )


DIFFERENCES = [_case(**told) for told in _TOLD["differences"]]
"""Every difference that we know of, with the case that shows it: ours and theirs, the same request.

Lengths and warmups are given as the library counts them.
"""
