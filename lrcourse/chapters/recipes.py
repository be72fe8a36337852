"""The schedules that named language models were trained with: data/llm_schedules.csv, as schedules.

A row gives a schedule as its stages, each a curve and the part of it that was run:

    linear 0 1 2000; cosine 1 0.1 598000 @ 0:464323

is a warmup and a cosine that was planned for 598 000 steps and stopped at 464 323. A curve is
`linear start end length`, `cosine`, `sqrt` (1 − √) or `exponential` with the same numbers,
`constant factor length`, or `isqrt warmup`, a warmup and 1/√t after it. Lengths are in the unit of
the row. Where a source does not say enough for a curve, a row has no stages; what it does not give
is empty, and a `note` says what is doubtful.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import rshift

import pandas as pd

from lrcourse.arguments import Steps, refuse
from lrcourse.files import ROOT
from lrcourse.schedules import (
    Constant,
    Cosine,
    Exponential,
    FloatArray,
    InverseSqrt,
    Linear,
    OneMinusSqrt,
    Schedule,
)

__all__ = ["PATH", "Excerpt", "recipes", "schedule"]

_NUMBERS = ("peak", "warmup", "total", "end")
PATH = ROOT / "data" / "llm_schedules.csv"
"""The table, with a source for each row."""


@dataclass(frozen=True, slots=True)
class Excerpt(Schedule):
    """`whole` from its step `first` up to, not including, its step `last`.

    >>> [round(float(Excerpt(Linear(1, 0, 10), 4, 7)(t)), 1) for t in range(5)]
    [0.6, 0.5, 0.4, 0.3, 0.3]
    """

    whole: Schedule
    first: Steps
    last: Steps

    def __post_init__(self) -> None:
        Schedule.__post_init__(self)
        if self.last < self.first:
            refuse("last", self.last, f">= first = {self.first}")

    @property
    def length(self) -> int | None:  # type: ignore[override]
        """How many steps were run."""
        return self.last - self.first

    def formula(self, t: FloatArray) -> FloatArray:
        """Factor at the times `t`, counted from `first`."""
        return self.whole._held(t + self.first)


_CURVES: dict[str, Callable[..., Schedule]] = {
    "linear": lambda start, end, length: Linear(start, end, int(length)),
    "cosine": lambda start, end, length: Cosine(int(length), end=end, start=start),
    "sqrt": lambda start, end, length: OneMinusSqrt(int(length), end=end, start=start),
    "exponential": lambda start, end, length: Exponential(
        (end / start) ** (1 / length), int(length)
    ).scale(start),
    "constant": lambda factor, length: Constant(factor, int(length)),
    "isqrt": lambda warmup: InverseSqrt(int(warmup)),
}


def schedule(stages: str) -> Schedule:
    """The schedule that `stages` describes.

    Raises:
        ValueError: a stage is not a known curve with its numbers, or an endless one has no part.

    >>> schedule("linear 0 1 4; cosine 1 0.1 96 @ 0:48")
    Linear(start=0.0, end=1.0, length=4) >> Excerpt(whole=Cosine(length=96, end=0.1, start=1.0), \
first=0, last=48)
    """
    parts: list[Schedule] = []
    for stage in stages.split(";"):
        text, _, run = stage.partition("@")
        try:
            name, *numbers = text.split()
            part = _CURVES[name](*map(float, numbers))
            if run:
                first, last = map(int, run.split(":"))
                part = Excerpt(part, first, last)
        except (KeyError, TypeError, ValueError):
            refuse("stage", stage.strip(), f"one of {', '.join(_CURVES)} and its numbers")
        if part.length is None:
            refuse("stage", stage.strip(), "one that ends: add @ first:last")
        parts.append(part)
    return reduce(rshift, parts)


def recipes() -> pd.DataFrame:
    """The table, indexed by model; `schedule` is made of a row's stages, None where it has none."""
    frame = pd.read_csv(PATH, keep_default_na=False, na_values=dict.fromkeys(_NUMBERS, ""))
    plans = [schedule(stages) if stages else None for stages in frame["stages"]]
    return frame.assign(schedule=plans).set_index("model")
