"""Learning-rate schedules: the rate as a pure function of the step.

A schedule is a value. `schedule(t)` is the *factor*, without unit, by which the peak rate is
multiplied for the update made when `t` updates have been made: the first update has `t = 0`.
It depends on `t` and nothing else, so a schedule can be called in any order, for one step or for
a whole array of them, compared, hashed, pickled, printed, and composed:

>>> schedule = Warmup(100) >> Cosine(900)
>>> schedule(50), schedule(550)
(0.5, 0.5)
>>> schedule
Linear(start=0.0, end=1.0, length=100) >> Cosine(length=900, end=0.0, start=1.0)

PyTorch takes it as it is, `LambdaLR(optimizer, schedule)`, and a checkpoint needs only `t`.
A wrong argument raises a ValueError that names it. Four rules say how schedules compose:

1. **The clock stops at `length`.** From then on a schedule holds the value it has reached:
   `Linear(0, 1, 10)` is 0.9 at t = 9 and 1 at t = 10, 11, 12, ... A `length` of None is endless.
2. **`a >> b` is a for `a.length` steps, then b on its own clock**, b(0) at t = a.length; so a's
   end value is never used. Only the last part can be endless: `a.take(n)` makes a finite one.
3. **Zero length is the identity of `>>`**: no steps, no trace. Alone, such a schedule holds its
   end value from t = 0; where all parts have zero length, the last one is what is left.
4. **`a * b` is the product at every t**, of held values too. It lasts as long as its longest part.
"""

# ruff: noqa: D102  (what `formula` and `length` mean is said once, in Schedule)

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from itertools import accumulate, pairwise
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, get_type_hints, overload

import numpy as np
from numpy.typing import NDArray

from lrcourse.arguments import (
    Count,
    Factor,
    Flag,
    Milestones,
    Positive,
    Share,
    Steps,
    check_argument,
    whole_number,
)

if TYPE_CHECKING:
    from torch.optim import Optimizer

FloatArray = NDArray[np.float64]


# -------------------------------------------------------------------------------- the algebra


@cache
def _kinds(cls: type) -> dict[str, Any]:
    """The kind of each field, also where `from __future__ import annotations` left it a text.

    Raises:
        TypeError: a text names nothing that can be found, so that its rule would pass in silence.
    """
    names = globals() | vars(sys.modules[cls.__module__])  # its own names before ours
    try:
        found = get_type_hints(cls, localns=names, include_extras=True)
    except NameError as error:
        raise TypeError(f"a field of {cls.__name__} has a kind that is unknown: {error}") from None
    return {field.name: found[field.name] for field in fields(cls)}


class Schedule:
    """What all schedules share: being called, and `>>`, `*`, `scale`, `stretch`, `take`.

    Your own schedule is a small frozen dataclass with a `length` (None if endless) and a
    `formula`, which takes a float64 array of times, none negative or past the length, and gives
    an array of the same shape. (Times can be fractions: `stretch` slows the clock.)

    >>> @dataclass(frozen=True, slots=True)
    ... class Sawtooth(Schedule):
    ...     period: Count
    ...     length = None
    ...
    ...     def formula(self, t):
    ...         return 1 - (t % self.period) / self.period
    >>> Sawtooth(4)(np.arange(6))
    array([1.  , 0.75, 0.5 , 0.25, 1.  , 0.75])
    >>> (Sawtooth(4).take(2) >> Constant(0.1))(np.arange(4))
    array([1.  , 0.75, 0.1 , 0.1 ])
    >>> Sawtooth(0)
    Traceback (most recent call last):
    ValueError: period is 0, expected a whole number >= 1
    """

    __slots__ = ()

    length: int | None

    def __post_init__(self) -> None:
        kinds = _kinds(type(self))  # type: ignore[arg-type]
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            check_argument(field.name, value, kinds[field.name])
            if isinstance(value, np.generic):  # keep a plain number: its repr is readable
                object.__setattr__(self, field.name, value.item())

    def formula(self, t: FloatArray) -> FloatArray:
        """Factor at the times `t`, which lie between 0 and `length`."""
        raise NotImplementedError(f"{type(self).__name__} has no formula(t)")

    @overload
    def __call__(self, t: int) -> float: ...
    @overload
    def __call__(self, t: NDArray[np.integer]) -> FloatArray: ...
    def __call__(self, t: int | NDArray[np.integer]) -> float | FloatArray:
        """Factor of the peak rate after `t` updates: a float, or float64 in the shape of `t`.

        TypeError if `t` is not an integer or an array of them, ValueError if one is negative.
        """
        steps = np.asarray(t)
        if steps.dtype.kind not in "iu":
            raise TypeError(
                f"t is {t!r}, expected an integer or an array of integers (for a clock in epochs, "
                "as torch's step(epoch + i / n), write it in epochs and .stretch(n) it)"
            )
        if steps.size and steps.min() < 0:
            raise ValueError(f"t is {t!r}, expected no step before 0")
        # One path for both, so that a single call and a whole array agree to the last bit; in
        # blocks that stay in the processor's cache, which is faster.
        flat, factors = steps.ravel(), np.empty(steps.size)
        for i in range(0, steps.size, 8192):
            factors[i : i + 8192] = self._held(flat[i : i + 8192].astype(np.float64))
        return float(factors[0]) if steps.ndim == 0 else factors.reshape(steps.shape)

    def _held(self, t: FloatArray) -> FloatArray:
        """The first rule: the clock stops at `length`."""
        return self.formula(t if self.length is None else np.minimum(t, self.length))

    def __rshift__(self, other: "Schedule") -> "Schedule":
        if not isinstance(other, Schedule):
            return NotImplemented
        parts = [
            part
            for side in (self, other)
            for part in (side.parts if isinstance(side, Sequential) else (side,))
            if part.length != 0
        ]
        return Sequential(tuple(parts)) if len(parts) > 1 else (parts or [other])[0]

    def __mul__(self, other: Any) -> "Schedule":
        if isinstance(other, Real):
            return self.scale(float(other))
        if not isinstance(other, Schedule):
            return NotImplemented
        sides = (side.parts if isinstance(side, Product) else (side,) for side in (self, other))
        return Product(tuple(part for side in sides for part in side))

    __rmul__ = __mul__

    def scale(self, factor: float) -> "Schedule":
        """`factor` (>= 0) times this schedule, of the same length; `0.5 * schedule` is the same.

        >>> Warmup(4).scale(0.5)(np.arange(6))
        array([0.   , 0.125, 0.25 , 0.375, 0.5  , 0.5  ])
        """
        return self * Constant(factor, length=0)  # which adds no length of its own

    def stretch(self, r: float) -> "Schedule":
        """This schedule on a clock `r` (> 0) times slower: the factor at t / r.

        Write it in epochs, then stretch it by the number of updates in an epoch.
        It lasts as many steps as have t / r < length, that is r * length rounded up.

        >>> Step(30).stretch(100)(np.array([2999, 3000]))
        array([1. , 0.1])
        >>> Linear(1, 0, 3).stretch(1.5).length
        5
        """
        return Stretched(self, r)

    def take(self, n: int) -> "Schedule":
        """The first `n` steps of this schedule, so that an endless one can stand before `>>`.

        Its clock stops at n, whether that is before or after the schedule's own length.

        >>> (InverseSqrt(100).take(400) >> Linear(0.5, 0, 100))(np.array([100, 400, 450]))
        array([1.  , 0.5 , 0.25])
        """
        return Taken(self, n)

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        # LambdaLR copies the __dict__ of its function into a checkpoint, and on loading writes it
        # back over the function. A schedule is a value, not state: with slots it has no
        # __dict__, and this empty one says so to LambdaLR. So a checkpoint holds only t, any
        # torch.load reads it, and the schedule that resumes is the one in your code.
        return {}


@dataclass(frozen=True, slots=True)
class Sequential(Schedule):
    """One schedule after another: what `a >> b` makes. `parts` are its pieces, in order.

    >>> steps = Constant(1.0, 2) >> Constant(0.1, 3) >> Constant(0.01)
    >>> steps(np.arange(7))
    array([1.  , 1.  , 0.1 , 0.1 , 0.1 , 0.01, 0.01])
    >>> Step(30) >> Cosine(10)
    Traceback (most recent call last):
    ValueError: Step(step_size=30, gamma=0.1) never ends, so nothing can follow it: use .take(n)
    """

    parts: tuple[Schedule, ...]

    def __post_init__(self) -> None:
        for part in self.parts[:-1]:
            if part.length is None:
                raise ValueError(f"{part} never ends, so nothing can follow it: use .take(n)")

    def __repr__(self) -> str:
        return " >> ".join(map(repr, self.parts))

    @property
    def length(self) -> int | None:  # type: ignore[override]
        last = self.parts[-1].length
        return None if last is None else sum(part.length or 0 for part in self.parts)

    def formula(self, t: FloatArray) -> FloatArray:
        seams = [0, *accumulate(part.length or 0 for part in self.parts[:-1]), math.inf]
        factors = np.empty_like(t)
        for part, (start, end) in zip(self.parts, pairwise(seams), strict=True):
            mine = (start <= t) & (t < end)
            if mine.any():
                factors[mine] = part._held(t[mine] - start)
        return factors


@dataclass(frozen=True, slots=True)
class Product(Schedule):
    """Several schedules at once: what `a * b` makes.

    >>> (Warmup(4) * Exponential(0.5))(np.arange(6))
    array([0.     , 0.125  , 0.125  , 0.09375, 0.0625 , 0.03125])
    """

    parts: tuple[Schedule, ...]

    def __repr__(self) -> str:
        return " * ".join(_grouped(part) for part in self.parts)

    @property
    def length(self) -> int | None:  # type: ignore[override]
        lengths = [part.length for part in self.parts]
        return None if None in lengths else max(n or 0 for n in lengths)

    def formula(self, t: FloatArray) -> FloatArray:
        return math.prod((part._held(t) for part in self.parts), start=np.ones_like(t))


@dataclass(frozen=True, slots=True)
class Stretched(Schedule):
    """A slower (or faster) clock: what `schedule.stretch(r)` makes."""

    schedule: Schedule
    r: Positive

    def __repr__(self) -> str:
        return f"{_grouped(self.schedule)}.stretch({self.r})"

    @property
    def length(self) -> int | None:  # type: ignore[override]
        inner = self.schedule.length
        # 1.1 * 50 is 55.00000000000001: round off the noise before rounding up.
        return None if inner is None else math.ceil(round(self.r * inner, 6))

    def formula(self, t: FloatArray) -> FloatArray:
        clock = t / self.r
        if self.length is not None:
            clock[t >= self.length] = self.schedule.length  # where 33 / 1.1 is just under 30
        return self.schedule._held(clock)


@dataclass(frozen=True, slots=True)
class Taken(Schedule):
    """The beginning of a schedule: what `schedule.take(n)` makes."""

    schedule: Schedule
    n: Steps

    def __repr__(self) -> str:
        return f"{_grouped(self.schedule)}.take({self.n})"

    @property
    def length(self) -> int | None:  # type: ignore[override]
        return self.n

    def formula(self, t: FloatArray) -> FloatArray:
        return self.schedule._held(t)


def _grouped(part: Schedule) -> str:
    return f"({part})" if isinstance(part, Sequential | Product) else f"{part}"


# ------------------------------------------------- from one value to another, in `length` steps


def _progress(t: FloatArray, length: int) -> FloatArray:
    """How much of the way is done: 0 at the start, 1 at the end, and at once if there is none."""
    return t / length if length else np.ones_like(t)


def _mix(start: float | FloatArray, end: float | FloatArray, weight: FloatArray) -> FloatArray:
    """A path from `start` to `end` as `weight` goes from 1 to 0, exact at both."""
    return start * weight + end * (1 - weight)


def _cosine(x: FloatArray) -> FloatArray:
    """Half a cosine, from 1 at x = 0 to 0 at x = 1."""
    return (1 + np.cos(np.pi * x)) / 2


@dataclass(frozen=True, slots=True)
class Constant(Schedule):
    """Always `factor`. It needs a `length` only to stand before `>>`.

    >>> (Constant(0.1, length=3) >> Constant())(np.arange(5))
    array([0.1, 0.1, 0.1, 1. , 1. ])
    """

    factor: Factor = 1.0
    length: Steps | None = None

    def formula(self, t: FloatArray) -> FloatArray:
        return np.full_like(t, self.factor)


@dataclass(frozen=True, slots=True)
class Linear(Schedule):
    """A straight line: start + (end - start) * t / length, then `end`. As LinearLR, or up from 0.

    >>> Linear(1, 0, 4)(np.arange(6))
    array([1.  , 0.75, 0.5 , 0.25, 0.  , 0.  ])
    """

    start: Factor
    end: Factor
    length: Steps

    def formula(self, t: FloatArray) -> FloatArray:
        return _mix(self.start, self.end, 1 - _progress(t, self.length))


@dataclass(frozen=True, slots=True)
class Polynomial(Schedule):
    """end + (start - end) * (1 - t / length) ** power, then `end`. As PolynomialLR for end = 0.

    >>> Polynomial(1, 0, 4, power=2)(np.arange(6))
    array([1.    , 0.5625, 0.25  , 0.0625, 0.    , 0.    ])
    """

    start: Factor
    end: Factor
    length: Steps
    power: Positive = 1.0

    def formula(self, t: FloatArray) -> FloatArray:
        return _mix(self.start, self.end, (1 - _progress(t, self.length)) ** self.power)


@dataclass(frozen=True, slots=True)
class Cosine(Schedule):
    """Half a cosine: end + (start - end) * (1 + cos(pi * t / length)) / 2, then `end`.

    The shape of SGDR without its restarts (Loshchilov & Hutter, 2017, arXiv 1608.03983).
    CosineAnnealingLR is the same up to T_max = length, and then rises again.

    >>> Cosine(4, end=0.1)(np.array([0, 2, 4, 6]))
    array([1.  , 0.55, 0.1 , 0.1 ])
    """

    length: Steps
    end: Factor = 0.0
    start: Factor = 1.0

    def formula(self, t: FloatArray) -> FloatArray:
        return _mix(self.start, self.end, _cosine(_progress(t, self.length)))


@dataclass(frozen=True, slots=True)
class OneMinusSqrt(Schedule):
    """end + (start - end) * (1 - sqrt(t / length)), then `end`: fast first, then slow.

    The cooldown after a constant rate of Hägele et al. (2024, arXiv 2405.18392).

    >>> OneMinusSqrt(100)(np.array([0, 1, 25, 100]))
    array([1. , 0.9, 0.5, 0. ])
    """

    length: Steps
    end: Factor = 0.0
    start: Factor = 1.0

    def formula(self, t: FloatArray) -> FloatArray:
        return _mix(self.start, self.end, 1 - np.sqrt(_progress(t, self.length)))


# ------------------------------------------------------------------------- decays without an end


@dataclass(frozen=True, slots=True)
class Exponential(Schedule):
    """gamma ** t; with gamma > 1 it grows, as in a range test. As ExponentialLR.

    >>> Exponential(0.5)(np.arange(4))
    array([1.   , 0.5  , 0.25 , 0.125])
    """

    gamma: Positive
    length: Steps | None = None

    def formula(self, t: FloatArray) -> FloatArray:
        return self.gamma**t


@dataclass(frozen=True, slots=True)
class InverseTime(Schedule):
    """1 / (1 + rate * t), with `rate` per step: 1/t in the long run (Robbins & Monro, 1951).

    >>> InverseTime(0.25)(np.array([0, 4, 12]))
    array([1.  , 0.5 , 0.25])
    """

    rate: Factor
    length: Steps | None = None

    def formula(self, t: FloatArray) -> FloatArray:
        return 1 / (1 + self.rate * t)


@dataclass(frozen=True, slots=True)
class Step(Schedule):
    """gamma ** floor(t / step_size): a cut every `step_size` steps. Endless. As StepLR.

    >>> Step(2, gamma=0.5)(np.arange(6))
    array([1.  , 1.  , 0.5 , 0.5 , 0.25, 0.25])
    """

    step_size: Count
    gamma: Positive = 0.1
    length = None

    def formula(self, t: FloatArray) -> FloatArray:
        return self.gamma ** np.floor(t / self.step_size)


@dataclass(frozen=True, slots=True)
class MultiStep(Schedule):
    """gamma ** (number of milestones m <= t): a cut at each milestone. Endless. As MultiStepLR.

    `milestones` are steps in ascending order; one that is given twice cuts twice.

    >>> MultiStep([2, 3], gamma=0.5)(np.arange(5))
    array([1.  , 1.  , 0.5 , 0.25, 0.25])
    """

    milestones: Milestones
    gamma: Positive = 0.1
    length = None

    def __post_init__(self) -> None:
        Schedule.__post_init__(self)
        object.__setattr__(self, "milestones", tuple(self.milestones))  # a list has no hash

    def formula(self, t: FloatArray) -> FloatArray:
        passed = np.searchsorted(self.milestones, t, side="right")
        return np.power(self.gamma, passed)


@dataclass(frozen=True, slots=True)
class InverseSqrt(Schedule):
    """t / warmup up to `warmup` steps, then sqrt(warmup / t). Endless; 1 at its peak.

    >>> InverseSqrt(4)(np.array([0, 2, 4, 16, 64]))
    array([0.  , 0.5 , 1.  , 0.5 , 0.25])
    """

    warmup: Count
    length = None

    def formula(self, t: FloatArray) -> FloatArray:
        return np.minimum(t / self.warmup, 1) * np.sqrt(self.warmup / np.maximum(t, self.warmup))


@dataclass(frozen=True, slots=True)
class Noam(Schedule):
    """d_model ** -0.5 * min(s ** -0.5, s * warmup ** -1.5) with s = t + 1. Endless.

    The schedule of "Attention Is All You Need" (Vaswani et al., 2017, arXiv 1706.03762). It is a
    rate rather than a factor, for a peak rate of 1: its own peak is 1 / sqrt(d_model * warmup).

    >>> Noam(d_model=4, warmup=25)(np.array([0, 24, 99]))
    array([0.004, 0.1  , 0.05 ])
    """

    d_model: Count
    warmup: Count
    length = None

    def formula(self, t: FloatArray) -> FloatArray:
        s = t + 1
        return self.d_model**-0.5 * np.minimum(s**-0.5, s * self.warmup**-1.5)


# ----------------------------------------------------------------------------- there and back


@dataclass(frozen=True, slots=True)
class CosineRestarts(Schedule):
    """Cosines from 1 towards `end`, of T_0, T_0 * T_mult, T_0 * T_mult ** 2, ... steps. Endless.

    SGDR (Loshchilov & Hutter, 2017, arXiv 1608.03983), as CosineAnnealingWarmRestarts.
    Each restart comes where the cosine would have reached `end`, which is therefore never used.

    >>> CosineRestarts(2, T_mult=2)(np.arange(7)).round(3)
    array([1.   , 0.5  , 1.   , 0.854, 0.5  , 0.146, 1.   ])
    """

    T_0: Count
    T_mult: Count = 1
    end: Factor = 0.0
    length = None

    def formula(self, t: FloatArray) -> FloatArray:
        if self.T_mult == 1:
            return _mix(1.0, self.end, _cosine(t % self.T_0 / self.T_0))
        # A loop over whole numbers: the closed form, by a logarithm, can miss a restart by a hair.
        starts, period = [0], self.T_0
        while starts[-1] + period <= t.max(initial=0):
            starts.append(starts[-1] + period)
            period *= self.T_mult
        cycle = np.searchsorted(starts, t, side="right") - 1
        now, length = t - np.array(starts)[cycle], self.T_0 * self.T_mult**cycle
        return _mix(1.0, self.end, _cosine(now / length))


@dataclass(frozen=True, slots=True)
class Cyclic(Schedule):
    """From `base` up to `peak` and back, again and again. Endless. As CyclicLR for the rate.

    Up in `step_size_up` steps, down in `step_size_down` (by default as many). The height of a
    cycle stays (mode "triangular"), halves with each ("triangular2"), or decays as gamma ** t
    ("exp_range", the only mode that reads `gamma`). CLR (Smith, 2017, arXiv 1506.01186).

    >>> Cyclic(0.0, 1.0, 2, mode="triangular2")(np.arange(8))
    array([0.  , 0.5 , 1.  , 0.5 , 0.  , 0.25, 0.5 , 0.25])
    """

    base: Factor
    peak: Factor
    step_size_up: Count
    step_size_down: Count | None = None
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    gamma: Positive = 1.0
    length = None

    def formula(self, t: FloatArray) -> FloatArray:
        up, down = self.step_size_up, self.step_size_down or self.step_size_up
        cycle, now = np.divmod(t, up + down)
        height = np.minimum(now / up, (up + down - now) / down)
        if self.mode == "triangular2":
            height *= 0.5**cycle
        elif self.mode == "exp_range":
            height *= self.gamma**t
        return _mix(self.peak, self.base, height)


@dataclass(frozen=True, slots=True)
class OneCycle(Schedule):
    """Up from 1 / div_factor to 1, then down to 1 / (div_factor * final_div_factor).

    1cycle (Smith & Topin, 2017, arXiv 1708.07120), as OneCycleLR for the rate (that one moves
    momentum too). The peak is at step pct_start * total_steps - 1; with `three_phase` the way
    down passes 1 / div_factor at 2 * pct_start * total_steps - 2. The end is reached *in* the
    run, at total_steps - 1, and held, where OneCycleLR goes on past it for a step and then raises.

    >>> OneCycle(5, 0.4, div_factor=4, final_div_factor=1, anneal_strategy="linear")(np.arange(6))
    array([0.25, 1.  , 0.75, 0.5 , 0.25, 0.25])
    """

    total_steps: Count
    pct_start: Share = 0.3
    div_factor: Positive = 25.0
    final_div_factor: Positive = 1e4
    anneal_strategy: Literal["cos", "linear"] = "cos"
    three_phase: Flag = False

    def __post_init__(self) -> None:
        Schedule.__post_init__(self)
        if self.three_phase and self.pct_start > 0.5:
            raise ValueError(f"pct_start is {self.pct_start}, expected <= 0.5 with three_phase")

    @property
    def length(self) -> int | None:  # type: ignore[override]
        return self.total_steps

    def formula(self, t: FloatArray) -> FloatArray:
        low = 1 / self.div_factor
        top, last = self.pct_start * self.total_steps - 1, self.total_steps - 1
        knots = [(0, low), (top, 1), (2 * top, low), (last, low / self.final_div_factor)]
        at, height = np.array(knots if self.three_phase else knots[:2] + knots[3:]).T
        t = np.minimum(t, last)
        phase = np.searchsorted(at[1:-1], t, side="right")  # how many are over
        span = np.diff(at)
        span[span == 0] = 1  # a phase that takes no time is over before it is asked
        x = (t - at[phase]) / span[phase]
        weight = _cosine(x) if self.anneal_strategy == "cos" else 1 - x
        return _mix(height[phase], height[phase + 1], weight)


# ------------------------------------------------------------------------------ common recipes


def Warmup(length: int, start: float = 0.0) -> Linear:
    """A straight line from `start` to 1 in `length` steps: `Linear(start, 1, length)`.

    The first update is made at `start`, and the first at 1 is the one with t = length.

    >>> Warmup(4)(np.arange(6))
    array([0.  , 0.25, 0.5 , 0.75, 1.  , 1.  ])
    """
    return Linear(start, 1.0, length)


def wsd(
    total: int,
    warmup: int,
    cooldown: int,
    shape: Callable[..., Schedule] = Linear,
    end: float = 0.0,
) -> Schedule:
    """Warmup, stable, decay: up in `warmup` steps, 1, down to `end` in the last `cooldown` steps.

    `total` counts all steps. `shape` is called as shape(start=1, end=end, length=cooldown):
    Linear, Polynomial, Cosine or OneMinusSqrt. MiniCPM (Hu et al., 2024, arXiv 2404.06395).

    >>> wsd(8, warmup=2, cooldown=4)(np.arange(10))
    array([0.  , 0.5 , 1.  , 1.  , 1.  , 0.75, 0.5 , 0.25, 0.  , 0.  ])
    """
    for name, value in {"total": total, "warmup": warmup, "cooldown": cooldown}.items():
        check_argument(name, value, Steps)
    if warmup + cooldown > total:
        raise ValueError(f"total is {total}, expected >= warmup + cooldown = {warmup + cooldown}")
    stable = Constant(1.0, total - warmup - cooldown)
    return Warmup(warmup) >> stable >> shape(start=1.0, end=end, length=cooldown)


PLANS = ("constant", "step", "inverse-sqrt", "linear", "cosine-10%", "cosine", "wsd")
"""What `plan` knows, from the one that decays least to those that go to zero."""


def plan(name: str, steps: int, *, warmup: int = 0, cooldown: int = 0) -> Schedule:
    """The schedule of a run of `steps` updates: up in a straight line, then as its name says::

        constant      stays at the peak
        step          × √0.1 at 80 % and again at 90 % of the steps (DeepSeek LLM, Bi et al., 2024,
                      arXiv 2401.02954, who name the levels 31.6 % and 10 %)
        inverse-sqrt  √(warmup / t) after the warmup (Vaswani et al., 2017, arXiv 1706.03762)
        linear        a straight line to 0 at the last step
        cosine-10%    half a cosine to a tenth (Hoffmann et al., 2022, arXiv 2203.15556)
        cosine        half a cosine to 0
        wsd           stays at the peak, then a straight line to 0 in the last `cooldown` updates
                      (Hu et al., 2024, arXiv 2404.06395)

    Args:
        name: one of `PLANS`.
        steps: updates in the run, ≥ 1.
        warmup: updates of the way up, from 0; 0 … steps, and at least 1 for inverse-sqrt.
        cooldown: updates of the way down of wsd, 0 … steps − warmup; the others have none.

    Raises:
        ValueError: an unknown name, or a length that is out of range.

    >>> plan("wsd", 8, warmup=2, cooldown=4)(np.arange(8))
    array([0.  , 0.5 , 1.  , 1.  , 1.  , 0.75, 0.5 , 0.25])
    >>> plan("step", 10, warmup=2)(np.arange(10)).round(3)
    array([0.   , 0.5  , 1.   , 1.   , 1.   , 1.   , 1.   , 1.   , 0.316, 0.1  ])
    """
    check_argument("name", name, Literal[PLANS])
    check_argument("steps", steps, Count)
    check_argument("warmup", warmup, whole_number(1 if name == "inverse-sqrt" else 0, steps))
    left = steps - warmup
    check_argument("cooldown", cooldown, whole_number(0, left))
    if name == "inverse-sqrt":
        return InverseSqrt(warmup)
    if name == "step":
        return Warmup(warmup) * MultiStep([round(0.8 * steps), round(0.9 * steps)], math.sqrt(0.1))
    if name == "wsd":
        return wsd(steps, warmup, cooldown)
    down: dict[str, Schedule] = {
        "constant": Constant(),
        "linear": Linear(1.0, 0.0, left),
        "cosine-10%": Cosine(left, end=0.1),
        "cosine": Cosine(left),
    }
    return Warmup(warmup) >> down[name]


# -------------------------------------------------------------------------- listening to a metric


@dataclass
class Plateau:
    """Cuts a factor when a metric has stopped getting better. As ReduceLROnPlateau.

    Not a schedule: what it does depends on what it has heard. `update(metric)` hears one value
    and gives the factor (without unit) to use next. A value is better than the best so far if,
    in `mode` "min", it is under best * (1 - threshold) ("rel") or best - threshold ("abs"), and
    likewise above in "max"; NaN is never better. More than `patience` values in a row that are
    not better multiply the factor by `factor`, though never to under `min_factor`; then
    `cooldown` values do not count as bad.

    `vars(plateau)` is a checkpoint, and `Plateau(**vars(plateau))` goes on from there.
    (ReduceLROnPlateau also skips cuts of the rate by at most `eps` = 1e-8; here every cut counts.)

    >>> plateau = Plateau(factor=0.5, patience=1)
    >>> [plateau.update(loss) for loss in (3.0, 2.0, 2.0, 2.0, 1.0)]
    [1.0, 1.0, 1.0, 0.5, 0.5]
    """

    mode: Literal["min", "max"] = "min"
    factor: Positive = 0.1
    patience: Steps = 10
    threshold: Factor = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: Steps = 0
    min_factor: Share = 0.0
    # What it remembers: the factor now, the best value, how many were bad, how many not to count.
    now: Share = 1.0
    best: float | None = None
    bad: Steps = 0
    resting: Steps = 0

    def __post_init__(self) -> None:
        for name, kind in _kinds(type(self)).items():  # type: ignore[arg-type]
            check_argument(name, getattr(self, name), kind)
        if self.factor >= 1:
            raise ValueError(f"factor is {self.factor}, expected < 1")

    def update(self, metric: float) -> float:
        """Hear one value of the metric (a number, or a tensor of one) and give the factor."""
        value = float(metric)
        if self._is_better(value):
            self.best, self.bad = value, 0
        else:
            self.bad += 1
        if self.resting:
            self.resting, self.bad = self.resting - 1, 0
        if self.bad > self.patience:
            self.now = max(self.now * self.factor, self.min_factor)
            self.resting, self.bad = self.cooldown, 0
        return self.now

    def _is_better(self, value: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        best = -sign * math.inf if self.best is None else self.best
        if self.threshold_mode == "rel":
            return sign * value > sign * best * (1 + sign * self.threshold)
        return sign * value > sign * best + self.threshold


# -------------------------------------------------------------------------- looking at schedules


def values(schedule: Callable[[int], float], steps: int, peak: float = 1.0) -> FloatArray:
    """The rates of the first `steps` updates: peak * schedule(t) for t = 0 ... steps - 1.

    `schedule` is a `Schedule` (computed at once) or any function of `t` (called for each).
    `peak` has the unit of the rate. The result is float64, of shape (steps,).

    >>> values(Linear(1, 0, 4), 3, peak=0.2)
    array([0.2 , 0.15, 0.1 ])
    >>> values(lambda t: 2.0**-t, 4)
    array([1.   , 0.5  , 0.25 , 0.125])
    """
    check_argument("steps", steps, Steps)
    check_argument("peak", peak, Factor)
    if isinstance(schedule, Schedule):
        return peak * schedule(np.arange(steps))
    return peak * np.array([schedule(t) for t in range(steps)], dtype=np.float64)


def recorded(
    make_scheduler: Callable[["Optimizer"], Any],
    steps: int,
    lr: float,
    optimizer: Callable[..., "Optimizer"] | None = None,
) -> FloatArray:
    """The rates that a *real* PyTorch scheduler gives the first `steps` updates.

    `make_scheduler` builds it on an optimizer of its own: `optimizer([parameter], lr=lr)`, by
    default SGD. The result is float64, of shape (steps,).

    >>> from torch.optim.lr_scheduler import StepLR
    >>> recorded(lambda optimizer: StepLR(optimizer, step_size=2), steps=5, lr=1.0)
    array([1.  , 1.  , 0.1 , 0.1 , 0.01])
    """
    import torch  # here, so that schedules need no more than NumPy

    check_argument("steps", steps, Steps)
    trainer = (optimizer or torch.optim.SGD)([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = make_scheduler(trainer)
    rates = np.empty(steps)
    for t in range(steps):
        if t > 0:
            trainer.step()
            scheduler.step()
        rates[t] = trainer.param_groups[0]["lr"]
    return rates
