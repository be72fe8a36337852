"""The schedules that named language models were trained with: data/llm_schedules.csv, as schedules.

A row gives a schedule as its stages, each a curve and the part of it that was run:

    linear 0 1 2000; cosine 1 0.1 598000 @ 0:464323

is a warmup and a cosine that was planned for 598 000 steps and stopped at 464 323. A curve is
`linear start end length`, `cosine start end length`, `constant factor length`, or
`isqrt warmup`, a warmup and 1/√t after it. Lengths are in the unit of the row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import rshift

import numpy as np
import pandas as pd

from lrcourse.arguments import Steps, refuse
from lrcourse.files import ROOT
from lrcourse.schedules import Constant, Cosine, FloatArray, InverseSqrt, Linear, Schedule

__all__ = ["PATH", "Excerpt", "curve", "recipes", "schedule"]

PATH = ROOT / "data" / "llm_schedules.csv"
"""The table, with a source for each row."""


@dataclass(frozen=True, slots=True)
class Excerpt(Schedule):
    """`whole` from its step `first` up to, not including, its step `last`.

    >>> Excerpt(Linear(1, 0, 10), 4, 7)(np.arange(5))
    array([0.6, 0.5, 0.4, 0.3, 0.3])
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
    """The table, indexed by model, with a `schedule` made of each row's stages."""
    frame = pd.read_csv(PATH).set_index("model")
    return frame.assign(schedule=[schedule(stages) for stages in frame["stages"]])


def curve(plan: Schedule, points: int = 401) -> tuple[FloatArray, FloatArray]:
    """Progress from 0 to 1, and the factor there: what one draws of a run of any length.

    The last point is the run's last step, so that a floor which is only held after the end does
    not show. Seams get points of their own.

    >>> progress, factor = curve(Linear(1, 0, 1000), points=3)
    >>> progress, factor.round(3)
    (array([0.   , 0.499, 0.999]), array([1.   , 0.501, 0.001]))
    """
    total = plan.length
    if not total:
        refuse("plan", plan, "a schedule with a length to be drawn over")
    steps = np.linspace(0, total - 1, points).astype(np.int64)
    seams = np.cumsum([part.length or 0 for part in getattr(plan, "parts", ())], dtype=np.int64)
    near = [seam + side for seam in seams[:-1] for side in (-1, 0)]
    steps = np.unique(np.append(steps, near).astype(np.int64))
    return steps / total, plan(steps)
