"""Where `lrcourse.schedules` and the libraries mean the same, and where they do not.

"Warm up for W updates, then a cosine over N" is one sentence and, in three libraries and a script,
four different lists of rates. This is the one place where that is written down, as things that run:

- `WARMUP_THEN_COSINE` holds that one request as each library takes it; `habits` reads it off;
- `PHRASES` says how to write a library's schedule with ours;
- `DIFFERENCES` lists the cases in which the nearest schedule of ours gives another number, each of
  them a function with its facts above it.

The tests run all of it against the installed versions: a phrase that stops being right, a
difference that disappears and a schedule that nobody has considered each make one fail.
transformers and keras are imported where they are first needed, not before.
"""

import os
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
from torch.optim import lr_scheduler as lrs

from lrcourse.arguments import refuse
from lrcourse.schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    FloatArray,
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

__all__ = ["DIFFERENCES", "PHRASES", "WARMUP_THEN_COSINE", "Disagreement", "Habits"]
__all__ += ["from_keras", "from_nanogpt", "from_torch", "from_transformers", "habits"]


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
a num_cycles of cosine that is no multiple of a half. Two schedules of it follow a metric, and have
none either: reduce_lr_on_plateau, which is torch's, and greedy, which raises the rate too. (The
classes of torch have their counterparts in `lrcourse.schedules`, which names them.)
"""

# ------------------------------------------------------------------------- where theirs differ


Sides = tuple[Callable[[], Callable[[int], float]], Callable[[int], FloatArray]]
"""Our schedule, and theirs as a function: number of updates → their factors.

Both are to be called for, since either may be an error.
"""


@dataclass(frozen=True)
class Disagreement:
    """A case in which a library's schedule and the nearest of ours give different factors.

    Attributes:
        where: library and schedule.
        what: what theirs does, in a few words.
        at: the update that shows it.
        sides: gives ours and theirs.
    """

    where: str
    what: str
    at: int
    sides: Callable[[], Sides]

    def shown(self) -> tuple[float | str, float | str]:
        """Our factor and theirs at that update, or the name of the error that stands for one."""
        ours, theirs = self.sides()
        return (
            _or_error(lambda: values(ours(), self.at + 1)[-1]),
            _or_error(lambda: theirs(self.at + 1)[-1]),
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


DIFFERENCES: list[Disagreement] = []
"""Every difference that we know of, with the case that shows it."""


def _differs(
    where: str, what: str, *, at: int
) -> Callable[[Callable[[], Sides]], Callable[[], Sides]]:
    """Put the function below on the list: what it gives differs at update `at`."""

    def listed(sides: Callable[[], Sides]) -> Callable[[], Sides]:
        DIFFERENCES.append(Disagreement(where, what, at, sides))
        return sides

    return listed


def _under(rates: Callable[..., FloatArray], *args: Any, **settings: Any) -> Any:
    """Theirs, as a case gives it: what one of the functions above says of a number of updates."""
    return lambda n: rates(n, *args, **settings)


# The case is in the parameters' defaults: W is a warmup, N a length, D a cooldown, as the library
# counts them.


@_differs("torch LinearLR", "no warmup from 0", at=0)
def _linear_from_zero(W: int = 4) -> Sides:
    return lambda: Warmup(W), lambda n: from_torch(n, "LinearLR", 0.0, 1.0, W)


@_differs("torch CosineAnnealingLR", "climbs again past T_max", at=20)
def _cosine_past_its_end(N: int = 10) -> Sides:
    return lambda: Cosine(N), lambda n: from_torch(n, "CosineAnnealingLR", N)


@_differs("torch CosineAnnealingLR", "T_max may not be 0", at=1)
def _cosine_without_length() -> Sides:
    return lambda: Cosine(0), lambda n: from_torch(n, "CosineAnnealingLR", 0)


@_differs("torch CosineAnnealingWarmRestarts", "step(t) can miss a restart by a hair", at=121)
def _restart_by_jump() -> Sides:
    def theirs(n: int) -> FloatArray:
        def jumped(o: Any) -> Any:
            scheduler = lrs.CosineAnnealingWarmRestarts(o, 1, 3)
            scheduler.step(n - 1)
            return scheduler

        return recorded(jumped, 1, 1.0)

    return lambda: CosineRestarts(1, 3), theirs


def _one_cycle(**settings: Any) -> Sides:
    return (
        lambda: OneCycle(10, **settings),
        lambda n: from_torch(n, "OneCycleLR", 1.0, 10, **settings),
    )


@_differs("torch OneCycleLR", "with a linear way down, goes below 0 past its end", at=10)
def _one_cycle_below_zero() -> Sides:
    return _one_cycle(anneal_strategy="linear")


@_differs("torch OneCycleLR", "refuses a step after that", at=11)
def _one_cycle_past_its_end() -> Sides:
    return _one_cycle()


@_differs("torch OneCycleLR", "the rise may not take one step", at=0)
def _one_cycle_with_short_rise() -> Sides:
    return _one_cycle(pct_start=0.1)


@_differs("torch ConstantLR", "cannot come back from factor 0", at=3)
def _constant_zero(N: int = 3) -> Sides:
    return lambda: Constant(0.0, N) >> Constant(), lambda n: from_torch(n, "ConstantLR", 0.0, N)


@_differs("torch MultiStepLR", "takes milestones in any order", at=4)
def _milestones_in_disorder() -> Sides:
    return lambda: MultiStep([6, 3]), lambda n: from_torch(n, "MultiStepLR", [6, 3])


@_differs("torch ReduceLROnPlateau", "skips cuts of 1e-8 or less", at=2)
def _tiny_cuts(lr: float = 1e-8) -> Sides:
    """Both hear a metric that never gets better."""

    def ours() -> Callable[[int], float]:
        plateau = Plateau(patience=0)
        return [1.0, plateau.update(1.0), plateau.update(1.0)].__getitem__

    def theirs(n: int) -> FloatArray:
        def make(o: Any) -> Any:
            scheduler = lrs.ReduceLROnPlateau(o, patience=0)
            return SimpleNamespace(step=lambda: scheduler.step(1.0))

        return recorded(make, n, lr) / lr

    return ours, theirs


@_differs("torch ChainedScheduler", "a LambdaLR in it overwrites the others", at=4)
def _chained_lambda(gamma: float = 0.5, W: int = 4) -> Sides:
    def make(o: Any) -> Any:
        return lrs.ChainedScheduler([lrs.ExponentialLR(o, gamma), lrs.LambdaLR(o, Warmup(W))])

    return lambda: Exponential(gamma) * Warmup(W), lambda n: recorded(make, n, 1.0)


@_differs("torch ChainedScheduler", "no product if a cosine has a floor", at=10)
def _chained_cosine(gamma: float = 0.9, N: int = 10, end: float = 0.1) -> Sides:
    def make(o: Any) -> Any:
        parts = [lrs.ExponentialLR(o, gamma), lrs.CosineAnnealingLR(o, N, end)]
        return lrs.ChainedScheduler(parts)

    return lambda: Exponential(gamma) * Cosine(N, end), lambda n: recorded(make, n, 1.0)


def _after_warmup(W: int, build: Callable[[Any], Any]) -> Callable[[int], FloatArray]:
    """The factors of a SequentialLR that warms up from a tenth, and then is what `build` makes."""

    def make(o: Any) -> Any:
        return lrs.SequentialLR(o, [lrs.LinearLR(o, 0.1, 1.0, W), build(o)], [W])

    return lambda n: recorded(make, n, 1.0)


@_differs("torch SequentialLR", "one in another is a step early", at=4)
def _nested_sequence(W: int = 5, gamma: float = 0.9) -> Sides:
    def make(o: Any) -> Any:
        first = lrs.SequentialLR(o, [lrs.LinearLR(o, 0.1, 1.0, W), lrs.ConstantLR(o, 1.0, 0)], [W])
        return lrs.SequentialLR(o, [first, lrs.ExponentialLR(o, gamma)], [2 * W])

    ours = Warmup(W, 0.1) >> Constant(1.0, W) >> Exponential(gamma)
    return lambda: ours, lambda n: recorded(make, n, 1.0)


@_differs("torch SequentialLR", "building a OneCycleLR part lowers the others", at=0)
def _one_cycle_as_part(W: int = 5, N: int = 20) -> Sides:
    theirs = _after_warmup(W, lambda o: lrs.OneCycleLR(o, 1.0, N))
    return lambda: Warmup(W, 0.1) >> OneCycle(N), theirs


@_differs("torch SequentialLR", "a MultiplicativeLR part goes on from the one before", at=5)
def _multiplicative_as_part(W: int = 5, gamma: float = 0.9) -> Sides:
    theirs = _after_warmup(W, lambda o: lrs.MultiplicativeLR(o, lambda t: gamma))
    return lambda: Warmup(W, 0.1) >> Exponential(gamma), theirs


@_differs("transformers cosine", "climbs again past the end", at=10)
def _their_cosine_past_its_end(W: int = 2, N: int = 6) -> Sides:
    return lambda: Warmup(W) >> Cosine(N - W), lambda n: from_transformers(n, "cosine", W, N)


@_differs("transformers cosine", "no step left after the warmup: jumps between 1 and 0", at=6)
def _cosine_after_warmup_alone(N: int = 5) -> Sides:
    return lambda: Warmup(N) >> Cosine(0), lambda n: from_transformers(n, "cosine", N, N)


@_differs("transformers linear", "no step left after the warmup: falls to 0", at=5)
def _line_after_warmup_alone(N: int = 5) -> Sides:
    return lambda: Warmup(N) >> Linear(1, 0, 0), lambda n: from_transformers(n, "linear", N, N)


@_differs("transformers cosine_with_restarts", "can miss a restart by a hair", at=30)
def _missed_restart(N: int = 44, k: int = 22) -> Sides:
    theirs = _under(from_transformers, "cosine_with_restarts", 0, N, num_cycles=k)
    return lambda: CosineRestarts(N // k), theirs


@_differs("transformers cosine_warmup_with_min_lr", "warms up from 1/W, ends an update early", at=0)
def _warmup_from_a_share(W: int = 4, N: int = 10, end: float = 0.1) -> Sides:
    theirs = _under(from_transformers, "cosine_warmup_with_min_lr", W, N, min_lr_rate=end)
    return lambda: Warmup(W) >> Cosine(N - W, end), theirs


@_differs("transformers polynomial", "ends at a rate, 1e-7, and not at a factor", at=10)
def _polynomial_to_a_rate(lr: float = 1e-6, N: int = 10) -> Sides:
    def theirs(n: int) -> FloatArray:
        return from_transformers(n, "polynomial", 0, N, lr=lr) / lr

    return lambda: Polynomial(1, 0, N), theirs


@_differs("transformers polynomial", "no step left after the warmup: an error", at=5)
def _polynomial_after_warmup_alone(N: int = 5) -> Sides:
    theirs = _under(from_transformers, "polynomial", N, N)
    return lambda: Warmup(N) >> Polynomial(1, 0, 0), theirs


@_differs("transformers inverse_sqrt", "without warmup it takes 10 000 for it", at=0)
def _inverse_sqrt_without_warmup() -> Sides:
    return lambda: InverseSqrt(0), lambda n: from_transformers(n, "inverse_sqrt", 0)


@_differs("transformers warmup_stable_decay", "warms up from the floor, not from 0", at=0)
def _wsd_from_its_floor(W: int = 4, D: int = 4, N: int = 12, end: float = 0.1) -> Sides:
    rest = {"num_decay_steps": D, "min_lr_ratio": end}
    theirs = _under(from_transformers, "warmup_stable_decay", W, N, **rest)
    return lambda: wsd(N, W, D, Cosine, end), theirs


@_differs(
    "transformers warmup_stable_decay", "cools down along a cosine unless told otherwise", at=9
)
def _wsd_by_cosine(W: int = 4, D: int = 4, N: int = 12) -> Sides:
    theirs = _under(from_transformers, "warmup_stable_decay", W, N, num_decay_steps=D)
    return lambda: wsd(N, W, D), theirs


@_differs("keras CosineDecay", "warmup_steps without warmup_target: no warmup", at=0)
def _warmup_without_target(W: int = 4, N: int = 10) -> Sides:
    theirs = _under(from_keras, "CosineDecay", 1.0, N, warmup_steps=W)
    return lambda: Warmup(W) >> Cosine(N), theirs


@_differs("keras CosineDecayRestarts", "each cycle twice as long unless told otherwise", at=8)
def _longer_cycles(N: int = 4) -> Sides:
    return lambda: CosineRestarts(N), lambda n: from_keras(n, "CosineDecayRestarts", 1.0, N)


@_differs("keras PiecewiseConstantDecay", "a boundary acts one update later", at=3)
def _late_boundary(m: int = 3, gamma: float = 0.1) -> Sides:
    theirs = _under(from_keras, "PiecewiseConstantDecay", [m], [1.0, gamma])
    return lambda: MultiStep([m], gamma), theirs


@_differs("keras PolynomialDecay", "ends at a rate, 1e-4, and not at a factor", at=10)
def _decay_to_a_rate(lr: float = 1e-3, N: int = 10) -> Sides:
    return lambda: Polynomial(1, 0, N), lambda n: from_keras(n, "PolynomialDecay", lr, N) / lr


@_differs("keras PolynomialDecay", "cycle=True: a cycle's first update is at the floor", at=4)
def _cycle_from_the_floor(N: int = 4, end: float = 0.1) -> Sides:
    ours = Polynomial(1, end, N).take(N) >> Polynomial((1 + end) / 2, end, N)
    return lambda: ours, lambda n: from_keras(n, "PolynomialDecay", 1.0, N, end, cycle=True)


@_differs("nanoGPT style", "warms up from 1/(W + 1)", at=0)
def _nanogpt_warmup(W: int = 4, N: int = 10) -> Sides:
    return lambda: Warmup(W) >> Cosine(N - W), lambda n: from_nanogpt(n, W, N)
