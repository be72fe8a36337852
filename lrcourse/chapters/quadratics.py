"""How fast gradient descent on a quadratic can be, and how fast a descent was: chapter 01."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrcourse.arguments import check_array, refuse

__all__ = ["best_momentum", "best_rate", "contraction"]


def contraction(distances: ArrayLike) -> NDArray[np.float64]:
    """By what factor a distance shrinks per step: the geometric mean over the later half.

    The first half of the steps is left out: what dies out soon is not the speed. Given losses
    instead of distances on a parabola, the result is the square.

    Args:
        distances: shape (steps + 1, …), positive; the result has shape (…).

    >>> contraction([8.0, 4.0, 2.0, 1.0]).item()
    0.5
    """
    values = check_array("distances", distances, 0, strict=True)
    if not values.ndim or len(values) < 2:
        refuse("distances", distances, "at least two steps")
    last = len(values) - 1
    half = last // 2
    return np.asarray((values[-1] / values[half]) ** (1 / (last - half)))


def best_rate(curvatures: ArrayLike) -> float:
    """The constant rate at which plain gradient descent on a quadratic is fastest: 2/(L + μ).

    L and μ are the largest and smallest curvature. Each step then shrinks the distance by
    (κ − 1)/(κ + 1), with κ = L/μ (Goh, Why momentum really works, Distill 2017).

    >>> best_rate([1.0, 3.0])
    0.5
    """
    values = check_array("curvatures", curvatures, 0, strict=True)
    return float(2 / (values.max() + values.min()))


def best_momentum(curvatures: ArrayLike) -> tuple[float, float]:
    """Polyak's rate and momentum for a quadratic: (2/(√L + √μ))² and ((√κ − 1)/(√κ + 1))².

    In the long run each step then shrinks the distance by the root of that momentum,
    (√κ − 1)/(√κ + 1) (Polyak 1964; Goh, Why momentum really works, Distill 2017).

    >>> best_momentum([1.0, 9.0])
    (0.25, 0.25)
    """
    values = np.sqrt(check_array("curvatures", curvatures, 0, strict=True))
    high, low = values.max(), values.min()
    return float(4 / (high + low) ** 2), float(((high - low) / (high + low)) ** 2)
