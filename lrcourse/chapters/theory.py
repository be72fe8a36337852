"""What the schedule alone predicts: a convex bound, and a law of the loss curve.

`bound` needs no data at all. It promises, for the worst convex problem, how good the last point of
a run can be. `fit_law` learns five numbers from loss curves, and then gives the curve of any other
schedule of the same model on the same data.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize, nnls
from scipy.signal import lfilter

from lrcourse.arguments import Share, check_argument, check_array, refuse
from lrcourse.schedules import FloatArray, values

__all__ = ["Bound", "LossLaw", "areas", "bound", "fit_law"]


# -------------------------------------------------------------------------------------- the bound


@dataclass(frozen=True)
class Bound:
    """distance / peak + noise · peak: at most so far above the minimum is the last loss.

    In units in which the start is at a distance of 1 from the minimum and no gradient is longer
    than 1. With distance D and gradients of at most G, losses are D·G times and peaks D/G times
    what stands here.

    Attributes:
        distance: what is left of the way to the minimum; small steps leave much of it.
        noise: what the steps themselves add; large ones add much.
    """

    distance: float
    noise: float

    @property
    def best_peak(self) -> float:
        """The peak rate at which the bound is lowest: both parts are equal there."""
        return float(np.sqrt(self.distance / self.noise))

    @property
    def lowest(self) -> float:
        """The bound at the best peak."""
        return float(2 * np.sqrt(self.distance * self.noise))


def bound(schedule: Callable[[int], float], steps: int) -> Bound:
    """The bound on the last point at which a run of subgradient descent takes a gradient.

    It holds for every convex function, smooth or not, and for gradients with noise, as long as
    their mean is right (Defazio et al., 2023, arXiv 2310.07831, Theorem 10; Schaipp et al., 2025,
    arXiv 2501.18965, Theorem 1). With factors a₁ … a_T, Aₖ = aₖ + … + a_T and Bₖ = aₖ² + … + a_T²:

        distance = 1 / (2 A₁)
        noise    = ½ (B₁ / A₁ + Σₖ₌₁…T₋₁ aₖ / Aₖ₊₁ · Bₖ / Aₖ)

    Args:
        schedule: factor of the peak rate at t.
        steps: updates in the run. Updates at the end whose factor is 0 change nothing and are left
            out.

    Raises:
        ValueError: a factor is below 0 or not finite, or all are 0.

    >>> constant = bound(lambda t: 1.0, 4)  # ½ (1 + 1 + 1/2 + 1/3)
    >>> constant.distance, round(constant.noise, 4)
    (0.125, 1.4167)
    """
    a = np.trim_zeros(check_array("factors of schedule", values(schedule, steps), 0), "b")
    if not len(a):
        refuse("schedule", schedule, "a factor > 0 at some update")
    rest = np.cumsum(a[::-1])[::-1]  # A
    squares = np.cumsum(a[::-1] ** 2)[::-1]  # B
    last = np.sum(a[:-1] / rest[1:] * squares[:-1] / rest[:-1])
    return Bound(float(0.5 / rest[0]), float(0.5 * (squares[0] / rest[0] + last)))


# ---------------------------------------------------------------------------------------- the law


@dataclass(frozen=True)
class LossLaw:
    """loss(n) = floor + scale · S₁(n)^−power − gain · S₂(n) after n updates.

    S₁, the way gone, is the sum of the rates so far. S₂ counts what annealing brings: each update
    at which the rate falls gives a push as large as the fall, which fades by `memory` at every
    update after it; S₂ is the sum of all pushes so far (Tissue et al., 2024, arXiv 2408.11029).
    The first rise, a warmup, is counted in S₁ alone: it is no annealing. A later rise counts
    against it, up to a higher peak, too.

    Attributes:
        floor: the loss of an endless run, in the unit of the loss.
        scale: in front of the falling power.
        power: how fast the loss falls with the way gone.
        gain: what annealing brings; 0 in a law without it.
        memory: the share of a push that is left after one update, 0 … 1.
    """

    floor: float
    scale: float
    power: float
    gain: float
    memory: float

    def __call__(self, rates: ArrayLike) -> FloatArray:
        """The loss after each update of a run with these rates, shape (updates,)."""
        way, annealed = areas(rates, self.memory)
        return self.floor + self.scale * way**-self.power - self.gain * annealed


def areas(rates: ArrayLike, memory: float) -> tuple[FloatArray, FloatArray]:
    """S₁ and S₂ after each update: see `LossLaw`.

    Args:
        rates: of the updates, shape (updates,); none below 0, the first above it.
        memory: 0 … 1.

    Raises:
        ValueError: an argument is out of range.

    >>> way, annealed = areas([1.0, 1.0, 0.5, 0.5], memory=0.5)
    >>> way, annealed
    (array([1. , 2. , 2.5, 3. ]), array([0.  , 0.  , 0.5 , 0.75]))
    >>> areas([0.5, 1.0, 0.5, 2.0], memory=0.0)[1]  # a fall of ½, and then a rise of 1½
    array([ 0. ,  0. ,  0.5, -1. ])
    """
    used = np.asarray(rates, dtype=float)
    if used.ndim != 1 or not np.isfinite(used).all() or (used < 0).any() or not used[:1].any():
        refuse("rates", rates, "a row of finite numbers >= 0, the first of them > 0")
    check_argument("memory", memory, Share)
    falls = -np.diff(used, prepend=used[0])
    falls[: np.argmax(falls > 0) if (falls > 0).any() else None] = 0  # the first rise
    pushes = lfilter([1.0], [1.0, -memory], falls)
    return np.cumsum(used), np.cumsum(pushes)


def fit_law(
    curves: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike]], annealing: bool = True
) -> LossLaw:
    """The law that is closest to measured loss curves, by the mean squared relative error.

    For a given power and memory the other three numbers follow from least squares with none of
    them below 0; the two are searched from several starts.

    Args:
        curves: of each run the rates of all its updates, the numbers of updates after which its
            loss was measured, and those losses.
        annealing: False fits floor and power of the way gone alone: a law that knows the sum of
            the rates and nothing else.

    Raises:
        ValueError: no curve, fewer than five points in all, a point outside its run, or a loss
            that is not finite and above 0.
    """
    runs = []
    for rates, at, losses in curves:
        used, when = np.asarray(rates, dtype=float), np.asarray(at)
        if when.dtype.kind not in "iu" or ((when < 1) | (when > len(used))).any():
            refuse("updates of a curve", at, f"whole numbers from 1 to {len(used)}")
        seen = check_array("losses of a curve", losses, 0, strict=True)
        if when.ndim != 1 or seen.shape != when.shape:
            refuse("losses of a curve", losses, f"one for each of {when.size} updates")
        runs.append((used, when - 1, seen))
    target = np.concatenate([[], *(seen for *_, seen in runs)])
    if len(target) < 5:
        refuse("points in curves", len(target), "at least 5")

    def inner(power: float, memory: float) -> tuple[float, FloatArray]:
        parts = [(areas(used, memory), when) for used, when, _ in runs]
        way = np.concatenate([s1[when] for (s1, _), when in parts])
        annealed = np.concatenate([s2[when] for (_, s2), when in parts])
        columns = np.stack([np.ones_like(way), way**-power, -annealed * annealing], axis=1)
        size = np.abs(columns).max(axis=0)
        size[size == 0] = 1
        found, rest = nnls(columns / size / target[:, None], np.ones(len(target)))
        return rest, found / size

    def both(x: FloatArray) -> tuple[float, float]:  # power above 0, memory in 0 … 1
        return float(np.exp(np.clip(x[0], -5, 2))), float(1 - np.exp(-np.clip(x[1], 0.05, 12)))

    starts = [
        (np.log(p), m) for p in (0.2, 0.6, 1.2) for m in ((2.0, 4.0, 6.0) if annealing else (4.0,))
    ]
    how: dict[str, Any] = {"xatol": 1e-4, "fatol": 1e-9, "maxiter": 400}
    search = partial(minimize, lambda x: inner(*both(x))[0], method="Nelder-Mead", options=how)
    power, memory = both(min(map(search, starts), key=lambda fit: fit.fun).x)
    floor, scale, gain = inner(power, memory)[1]
    return LossLaw(float(floor), float(scale), power, float(gain), memory)
