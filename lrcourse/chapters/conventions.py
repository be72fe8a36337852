"""Where `lrcourse.schedules` and the libraries mean the same, and where they do not.

"Warm up for W updates, then a cosine over N" is one sentence and, in three libraries and a script,
four different lists of rates. This is the one place where that is written down, as things that run:

- `WARMUP_THEN_COSINE` holds that one request as each library takes it; `habits` reads it off;
- `PHRASES` says how to write a library's schedule with ours, and `NOT_WRITTEN` what has no
  counterpart, and why;
- `DIFFERENCES` lists the cases in which the nearest schedule of ours gives another number.

The tests run all of it against the installed versions: a phrase that stops being right, a
difference that disappears and a schedule that nobody has considered each make one fail.
torch, transformers and keras are imported where they are first needed, not before.
"""

import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from lrcourse.schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    InverseSqrt,
    Linear,
    MultiStep,
    OneCycle,
    Plateau,
    Polynomial,
    Warmup,
    recorded,
    values,
    wsd,
)

__all__ = [
    "DIFFERENCES",
    "NOT_WRITTEN",
    "PHRASES",
    "WARMUP_THEN_COSINE",
    "Difference",
    "Habits",
    "from_keras",
    "from_nanogpt",
    "from_torch",
    "from_transformers",
    "habits",
]

FloatArray = NDArray[np.float64]


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
    return recorded(lambda o: _torch(o, name, *args, **settings), steps, lr)


def _torch(optimizer: Any, name: str, *args: Any, **settings: Any) -> Any:
    from torch.optim import lr_scheduler

    return getattr(lr_scheduler, name)(optimizer, *args, **settings)


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
        raise ValueError(f"length is {length!r}, expected more than the warmup of {warmup!r}")
    t = np.arange(steps)
    along = np.clip((t - warmup) / (length - warmup), 0, 1)
    cosine = end + (1 - end) * (1 + np.cos(np.pi * along)) / 2
    return np.where(t < warmup, (t + 1) / (warmup + 1), cosine)


# A part of a chain or a sequence: the name of a torch class and its arguments after the optimizer,
# or a function from the optimizer to a scheduler.
Part = tuple[Any, ...] | Callable[[Any], Any]


def _built(optimizer: Any, part: Part) -> Any:
    return part(optimizer) if callable(part) else _torch(optimizer, *part)


def _sequence(milestones: Sequence[int], *parts: Part) -> Callable[[Any], Any]:
    def make(optimizer: Any) -> Any:
        made = [_built(optimizer, part) for part in parts]
        return _torch(optimizer, "SequentialLR", made, list(milestones))

    return make


def _chain(*parts: Part) -> Callable[[Any], Any]:
    def make(optimizer: Any) -> Any:
        from torch.optim.lr_scheduler import ChainedScheduler

        return ChainedScheduler([_built(optimizer, part) for part in parts])

    return make


# ----------------------------------------------------- one request, as each library understands it


def _torch_way(warmup: int, length: int, steps: int) -> FloatArray:
    def up(optimizer: Any) -> Any:
        return _torch(optimizer, "LinearLR", total_iters=warmup)

    return recorded(_sequence([warmup], up, ("CosineAnnealingLR", length)), steps, 1.0)


def _transformers_way(warmup: int, length: int, steps: int) -> FloatArray:
    return from_transformers(steps, "cosine", warmup, length)


def _keras_way(warmup: int, length: int, steps: int) -> FloatArray:
    return from_keras(steps, "CosineDecay", 0.0, length, warmup_target=1.0, warmup_steps=warmup)


def _nanogpt_way(warmup: int, length: int, steps: int) -> FloatArray:
    return from_nanogpt(steps, warmup, length)


def _our_way(warmup: int, length: int, steps: int) -> FloatArray:
    return values(Warmup(warmup) >> Cosine(length), steps)


WARMUP_THEN_COSINE: Mapping[str, Callable[[int, int, int], FloatArray]] = {
    "torch": _torch_way,
    "transformers": _transformers_way,
    "keras": _keras_way,
    "nanoGPT style": _nanogpt_way,
    "this course": _our_way,
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

PHRASES: Mapping[str, Mapping[str, str]] = {
    "transformers": {
        "constant": "Constant()",
        "constant_with_warmup": "Warmup(W) >> Constant()",
        "linear": "Warmup(W) >> Linear(1, 0, N - W)",
        "cosine": "Warmup(W) >> Cosine(N - W)",
        "cosine_with_min_lr": "Warmup(W) >> Cosine(N - W, end)",
        "cosine_warmup_with_min_lr": "Warmup(W - 1, 1 / W) >> Cosine(N - W, end)",
        "cosine_with_restarts": (
            "Warmup(W) >> CosineRestarts((N - W) // k).take(N - W) >> Constant(0)"
        ),
        "polynomial": "Warmup(W) >> Polynomial(1, end, N - W, power)",
        "inverse_sqrt": "InverseSqrt(W)",
        "warmup_stable_decay": "Warmup(W, end) >> Constant(1, N - W - D) >> Cosine(D, end)",
    },
    "keras": {
        "CosineDecay": "Warmup(W, start) >> Cosine(N, end)",
        "CosineDecayRestarts": "CosineRestarts(N, k, end)",
        "ExponentialDecay": "Exponential(r).stretch(N)",
        "InverseTimeDecay": "InverseTime(r).stretch(N)",
        "PiecewiseConstantDecay": "Constant(1, m + 1) >> Constant(r)",
        "PolynomialDecay": "Polynomial(1, end, N, power)",
    },
}
"""Library → its schedule → the same with ours, up to the end of the run and for common settings.

W is the warmup and N the length, as the library counts them; the other letters are settings of it.
Two settings of transformers have no phrase: a timescale of inverse_sqrt that is not its warmup, and
a num_cycles of cosine that is no multiple of a half. (The classes of torch have their counterparts
in `lrcourse.schedules`, which names them.)
"""

NOT_WRITTEN: Mapping[str, Mapping[str, str]] = {
    "transformers": {
        "reduce_lr_on_plateau": "torch's ReduceLROnPlateau: it follows a metric, as Plateau does",
        "greedy": "it follows a metric, and raises the rate too",
    },
    "keras": {},
}
"""Library → its schedule → why no schedule of ours stands for it."""


# ------------------------------------------------------------------------- where theirs differ


@dataclass(frozen=True)
class Difference:
    """A case in which a library's schedule and the nearest of ours give different factors.

    Attributes:
        where: library and schedule.
        what: what theirs does, in a few words.
        case: the parameters that show it.
        at: the update that shows it.
        ours: case → our schedule.
        theirs: number of updates, case → their factors.
    """

    where: str
    what: str
    case: Mapping[str, Any]
    at: int
    ours: Callable[..., Callable[[int], float]]
    theirs: Callable[..., FloatArray]

    def shown(self) -> tuple[float | str, float | str]:
        """Our factor and theirs at that update, or the name of the error that stands for one."""
        return (
            _or_error(lambda: values(self.ours(**self.case), self.at + 1)[self.at]),
            _or_error(lambda: self.theirs(self.at + 1, **self.case)[self.at]),
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


def _missed_restart(steps: int, T_0: int, T_mult: int) -> FloatArray:
    """The rate where CosineAnnealingWarmRestarts is told to go straight to each update."""

    def at(t: int) -> float:
        def jumped(optimizer: Any) -> Any:
            scheduler = _torch(optimizer, "CosineAnnealingWarmRestarts", T_0, T_mult)
            scheduler.step(t)
            return scheduler

        return recorded(jumped, 1, 1.0)[0]

    return np.array([at(t) for t in range(steps)])


def _plateau(steps: int, lr: float) -> FloatArray:
    """Factors under a ReduceLROnPlateau whose metric never gets better."""
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = _torch(optimizer, "ReduceLROnPlateau", patience=0)
    factors = []
    for _ in range(steps):
        factors.append(optimizer.param_groups[0]["lr"] / lr)
        scheduler.step(1.0)
    return np.array(factors)


def _our_plateau(lr: float) -> Callable[[int], float]:
    def factor(t: int) -> float:
        plateau = Plateau(patience=0)
        return [1.0, *(plateau.update(1.0) for _ in range(t))][-1]

    return factor


def _nested(steps: int, W: int, gamma: float) -> FloatArray:
    first = _sequence([W], ("LinearLR", 0.1, 1.0, W), ("ConstantLR", 1.0, 0))
    return recorded(_sequence([2 * W], first, ("ExponentialLR", gamma)), steps, 1.0)


def _after_warmup(steps: int, W: int, part: Part) -> FloatArray:
    return recorded(_sequence([W], ("LinearLR", 0.1, 1.0, W), part), steps, 1.0)


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "torch LinearLR",
        "no warmup from 0",
        {"W": 4},
        0,
        lambda W: Warmup(W),
        lambda n, W: from_torch(n, "LinearLR", 0.0, 1.0, W),
    ),
    Difference(
        "torch CosineAnnealingLR",
        "climbs again past T_max",
        {"T_max": 10},
        20,
        lambda T_max: Cosine(T_max),
        lambda n, T_max: from_torch(n, "CosineAnnealingLR", T_max),
    ),
    Difference(
        "torch CosineAnnealingLR",
        "T_max may not be 0",
        {"T_max": 0},
        1,
        lambda T_max: Cosine(T_max),
        lambda n, T_max: from_torch(n, "CosineAnnealingLR", T_max),
    ),
    Difference(
        "torch CosineAnnealingWarmRestarts",
        "step(t) can miss a restart by a hair",
        {"T_0": 1, "T_mult": 3},
        121,
        lambda T_0, T_mult: CosineRestarts(T_0, T_mult),
        _missed_restart,
    ),
    Difference(
        "torch OneCycleLR",
        "with a linear way down, goes below 0 past its end",
        {"total_steps": 10, "anneal_strategy": "linear"},
        10,
        lambda **case: OneCycle(**case),
        lambda n, **case: from_torch(n, "OneCycleLR", 1.0, **case),
    ),
    Difference(
        "torch OneCycleLR",
        "refuses a step after that",
        {"total_steps": 10},
        11,
        lambda **case: OneCycle(**case),
        lambda n, **case: from_torch(n, "OneCycleLR", 1.0, **case),
    ),
    Difference(
        "torch OneCycleLR",
        "the rise may not take one step",
        {"total_steps": 10, "pct_start": 0.1},
        0,
        lambda **case: OneCycle(**case),
        lambda n, **case: from_torch(n, "OneCycleLR", 1.0, **case),
    ),
    Difference(
        "torch ConstantLR",
        "cannot come back from factor 0",
        {"factor": 0.0, "N": 3},
        3,
        lambda factor, N: Constant(factor, N) >> Constant(),
        lambda n, factor, N: from_torch(n, "ConstantLR", factor, N),
    ),
    Difference(
        "torch MultiStepLR",
        "takes milestones in any order",
        {"milestones": [6, 3]},
        4,
        lambda milestones: MultiStep(milestones),
        lambda n, milestones: from_torch(n, "MultiStepLR", milestones),
    ),
    Difference(
        "torch ReduceLROnPlateau",
        "skips cuts of 1e-8 or less",
        {"lr": 1e-8},
        2,
        _our_plateau,
        _plateau,
    ),
    Difference(
        "torch ChainedScheduler",
        "a LambdaLR in it overwrites the others",
        {"gamma": 0.5, "W": 4},
        4,
        lambda gamma, W: Exponential(gamma) * Warmup(W),
        lambda n, gamma, W: recorded(
            _chain(("ExponentialLR", gamma), ("LambdaLR", Warmup(W))), n, 1.0
        ),
    ),
    Difference(
        "torch ChainedScheduler",
        "no product if a cosine has a floor",
        {"gamma": 0.9, "T_max": 10, "eta_min": 0.1},
        10,
        lambda gamma, T_max, eta_min: Exponential(gamma) * Cosine(T_max, eta_min),
        lambda n, gamma, T_max, eta_min: recorded(
            _chain(("ExponentialLR", gamma), ("CosineAnnealingLR", T_max, eta_min)), n, 1.0
        ),
    ),
    Difference(
        "torch SequentialLR",
        "one in another is a step early",
        {"W": 5, "gamma": 0.9},
        4,
        lambda W, gamma: Warmup(W, 0.1) >> Constant(1.0, W) >> Exponential(gamma),
        _nested,
    ),
    Difference(
        "torch SequentialLR",
        "building a OneCycleLR part lowers the others",
        {"W": 5, "N": 20},
        0,
        lambda W, N: Warmup(W, 0.1) >> OneCycle(N),
        lambda n, W, N: _after_warmup(n, W, lambda o: _torch(o, "OneCycleLR", 1.0, N)),
    ),
    Difference(
        "torch SequentialLR",
        "a MultiplicativeLR part goes on from the one before",
        {"W": 5, "gamma": 0.9},
        5,
        lambda W, gamma: Warmup(W, 0.1) >> Exponential(gamma),
        lambda n, W, gamma: _after_warmup(n, W, ("MultiplicativeLR", lambda t: gamma)),
    ),
    Difference(
        "transformers cosine",
        "climbs again past the end",
        {"W": 2, "N": 6},
        10,
        lambda W, N: Warmup(W) >> Cosine(N - W),
        lambda n, W, N: from_transformers(n, "cosine", W, N),
    ),
    Difference(
        "transformers cosine",
        "no step left after the warmup: jumps between 1 and 0",
        {"W": 5, "N": 5},
        6,
        lambda W, N: Warmup(W) >> Cosine(N - W),
        lambda n, W, N: from_transformers(n, "cosine", W, N),
    ),
    Difference(
        "transformers linear",
        "no step left after the warmup: falls to 0",
        {"W": 5, "N": 5},
        5,
        lambda W, N: Warmup(W) >> Linear(1, 0, N - W),
        lambda n, W, N: from_transformers(n, "linear", W, N),
    ),
    Difference(
        "transformers cosine_with_restarts",
        "can miss a restart by a hair",
        {"k": 22, "N": 44},
        30,
        lambda k, N: CosineRestarts(N // k),
        lambda n, k, N: from_transformers(n, "cosine_with_restarts", 0, N, num_cycles=k),
    ),
    Difference(
        "transformers cosine_warmup_with_min_lr",
        "warms up from 1/W, ends an update early",
        {"W": 4, "N": 10, "end": 0.1},
        0,
        lambda W, N, end: Warmup(W) >> Cosine(N - W, end),
        lambda n, W, N, end: from_transformers(
            n, "cosine_warmup_with_min_lr", W, N, min_lr_rate=end
        ),
    ),
    Difference(
        "transformers polynomial",
        "ends at a rate, 1e-7, and not at a factor",
        {"lr": 1e-6, "N": 10},
        10,
        lambda lr, N: Polynomial(1, 0, N),
        lambda n, lr, N: from_transformers(n, "polynomial", 0, N, lr=lr) / lr,
    ),
    Difference(
        "transformers polynomial",
        "no step left after the warmup: an error",
        {"W": 5, "N": 5},
        5,
        lambda W, N: Warmup(W) >> Polynomial(1, 0, N - W),
        lambda n, W, N: from_transformers(n, "polynomial", W, N),
    ),
    Difference(
        "transformers inverse_sqrt",
        "without warmup it takes 10 000 for it",
        {"W": 0},
        0,
        lambda W: InverseSqrt(W),
        lambda n, W: from_transformers(n, "inverse_sqrt", W),
    ),
    Difference(
        "transformers warmup_stable_decay",
        "warms up from the floor, not from 0",
        {"W": 4, "D": 4, "N": 12, "end": 0.1},
        0,
        lambda W, D, N, end: wsd(N, W, D, Cosine, end),
        lambda n, W, D, N, end: from_transformers(
            n, "warmup_stable_decay", W, N, num_decay_steps=D, min_lr_ratio=end
        ),
    ),
    Difference(
        "transformers warmup_stable_decay",
        "cools down along a cosine unless told otherwise",
        {"W": 4, "D": 4, "N": 12},
        9,
        lambda W, D, N: wsd(N, W, D),
        lambda n, W, D, N: from_transformers(n, "warmup_stable_decay", W, N, num_decay_steps=D),
    ),
    Difference(
        "keras CosineDecay",
        "warmup_steps without warmup_target: no warmup",
        {"W": 4, "N": 10},
        0,
        lambda W, N: Warmup(W) >> Cosine(N),
        lambda n, W, N: from_keras(n, "CosineDecay", 1.0, N, warmup_steps=W),
    ),
    Difference(
        "keras CosineDecayRestarts",
        "each cycle twice as long unless told otherwise",
        {"N": 4},
        8,
        lambda N: CosineRestarts(N),
        lambda n, N: from_keras(n, "CosineDecayRestarts", 1.0, N),
    ),
    Difference(
        "keras PiecewiseConstantDecay",
        "a boundary acts one update later",
        {"m": 3, "gamma": 0.1},
        3,
        lambda m, gamma: MultiStep([m], gamma),
        lambda n, m, gamma: from_keras(n, "PiecewiseConstantDecay", [m], [1.0, gamma]),
    ),
    Difference(
        "keras PolynomialDecay",
        "ends at a rate, 1e-4, and not at a factor",
        {"lr": 1e-3, "N": 10},
        10,
        lambda lr, N: Polynomial(1, 0, N),
        lambda n, lr, N: from_keras(n, "PolynomialDecay", lr, N) / lr,
    ),
    Difference(
        "keras PolynomialDecay",
        "cycle=True: a cycle's first update is at the floor",
        {"N": 4, "end": 0.1},
        4,
        lambda N, end: Polynomial(1, end, N).take(N) >> Polynomial((1 + end) / 2, end, N),
        lambda n, N, end: from_keras(n, "PolynomialDecay", 1.0, N, end, cycle=True),
    ),
    Difference(
        "nanoGPT style",
        "warms up from 1/(W + 1)",
        {"W": 4, "N": 10},
        0,
        lambda W, N: Warmup(W) >> Cosine(N - W),
        lambda n, W, N: from_nanogpt(n, W, N),
    ),
)
"""Every difference that we know of, with the case that shows it."""
