"""Loss surfaces small enough to see, and gradient descents on them.

A surface is a value: call it on points of shape (…, d) for losses of shape (…); it also knows its
gradient and its minimum. `descend` runs one descent or thousands at once. NumPy only, in float64.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrcourse.arguments import Steps, check_argument, check_array, refuse

__all__ = ["BOUND", "Descent", "DoubleWell", "Quadratic", "Surface", "descend"]

Array = NDArray[np.float64]
Rate = ArrayLike | Callable[[int], ArrayLike]

BOUND = 1e30  # a descent whose loss is above this, or not finite, counts as diverged


def _points(points: ArrayLike, d: int) -> Array:
    array = np.asarray(points, dtype=float)
    if array.shape[-1:] != (d,):
        refuse("points.shape", array.shape, f"(…, {d}): one number a parameter")
    return array


@dataclass(frozen=True)
class Quadratic:
    """A bowl: ½ Σ cᵢ uᵢ², with its minimum at the origin.

    Args:
        curvatures: one positive second derivative for each direction; their number is d.
        angle: in two dimensions, how far the bowl's axes are turned, in radians.

    >>> bowl = Quadratic([1, 10])
    >>> bowl([2.0, 1.0]).item(), bowl.gradient([2.0, 1.0])
    (7.0, array([ 2., 10.]))
    """

    curvatures: Sequence[float]
    angle: float = 0.0

    def __post_init__(self) -> None:
        values = check_array("curvatures", self.curvatures, 0, strict=True)
        if values.ndim != 1 or not values.size:
            refuse("curvatures", self.curvatures, "a list of at least one number")
        if check_array("angle", self.angle) and values.size != 2:
            refuse("angle", self.angle, "0, or two curvatures")
        object.__setattr__(self, "curvatures", tuple(values.tolist()))

    @cached_property
    def hessian(self) -> Array:
        """All second derivatives, shape (d, d); a quadratic has the same everywhere."""
        if self.angle == 0:
            return np.diag(self.curvatures)
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        axes = np.array([[cos, -sin], [sin, cos]])
        return axes @ np.diag(self.curvatures) @ axes.T

    @property
    def minimum(self) -> Array:
        """The lowest place, shape (d,)."""
        return np.zeros(len(self.curvatures))

    def __call__(self, points: ArrayLike) -> Array:
        """Losses of shape (…) at points of shape (…, d)."""
        x = _points(points, len(self.curvatures))
        return np.asarray(0.5 * np.sum(x * self.gradient(x), axis=-1))

    def gradient(self, points: ArrayLike) -> Array:
        """Gradients of shape (…, d) at points of shape (…, d)."""
        return _points(points, len(self.curvatures)) @ self.hessian


@dataclass(frozen=True)
class DoubleWell:
    """Two parabolas in one dimension, of which the lower counts: a global and a local minimum.

    The corners where they meet are rounded (a soft minimum), so the gradient is smooth, and no
    place is more sharply curved than the sharper well. As it stands: a wide bowl at −1, the lowest
    place, and at 1 a narrow pit, 25 times as curved, whose bottom is 0.5 higher.

    Args:
        heights: the losses at the bottoms of the bowl and the pit.

    >>> DoubleWell().minimum, DoubleWell()([1.0]).item()
    (array([-1.]), 0.5)
    """

    heights: tuple[float, float] = (0.0, 0.5)
    curvatures: ClassVar[tuple[float, float]] = (1.0, 25.0)
    centres: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    # Of the corners; so small against the depths that centres and minima are one.
    softness: ClassVar[float] = 0.03

    def __post_init__(self) -> None:
        if check_array("heights", self.heights).shape != (2,):
            refuse("heights", self.heights, "two numbers")
        (a, b), gap = self.heights, 0.5 * (self.centres[1] - self.centres[0]) ** 2
        depths = a + self.curvatures[0] * gap - b, b + self.curvatures[1] * gap - a
        if min(depths) <= 36 * self.softness:
            refuse(
                "heights",
                self.heights,
                f"wells deeper than {36 * self.softness:g}, and not {depths}",
            )

    def _parts(self, x: Array) -> tuple[tuple[Array, Array], tuple[Array, Array], Array]:
        """Both parabolas, both slopes, and the weight of the second, each of the shape of x."""
        (c, k), (m, n), (a, b) = self.curvatures, self.centres, self.heights
        first, second = 0.5 * c * (x - m) ** 2 + a, 0.5 * k * (x - n) ** 2 + b
        weight = 0.5 * (1 + np.tanh((first - second) / (2 * self.softness)))
        return (first, second), (c * (x - m), k * (x - n)), weight

    @property
    def minimum(self) -> Array:
        """The lowest place, shape (d,)."""
        return np.array([self.centres[int(np.argmin(self.heights))]])

    def __call__(self, points: ArrayLike) -> Array:
        """Losses of shape (…) at points of shape (…, d)."""
        (first, second), _, _ = self._parts(_points(points, 1)[..., 0])
        s = self.softness
        return np.asarray(-s * np.logaddexp(-first / s, -second / s))

    def gradient(self, points: ArrayLike) -> Array:
        """Gradients of shape (…, d) at points of shape (…, d)."""
        _, (first, second), weight = self._parts(_points(points, 1))
        return first + weight * (second - first)


Surface = Quadratic | DoubleWell
"""A loss over d parameters, lowest at `minimum`; one of your own needs the same three methods."""


@dataclass(frozen=True, eq=False)
class Descent:
    """What a descent did; `…` are the descents that ran side by side.

    Attributes:
        path: the points, shape (steps + 1, …, d); `path[0]` is the start.
        losses: the loss at each of them, shape (steps + 1, …).
        diverged_at: the update after which the loss was above `BOUND` or not finite, −1 for none,
            shape (…). From there on path and losses stand still at the last point before it.
    """

    path: Array
    losses: Array
    diverged_at: NDArray[np.int64]


def descend(
    surface: Surface,
    start: ArrayLike,
    rate: Rate,
    steps: int,
    *,
    momentum: ArrayLike = 0.0,
    noise: ArrayLike = 0.0,
    seed: int = 0,
) -> Descent:
    """Gradient descent with momentum (Polyak's heavy ball), as torch.optim.SGD does it.

    Each update is `velocity = momentum * velocity + gradient; x = x - rate * velocity`.

    Args:
        surface: the loss to go down.
        start: shape (…, d).
        rate: the learning rate: a number, an array that broadcasts against the `…` of `start`, or a
            schedule: a function of the number of updates made so far that gives either.
        steps: how many updates to make.
        momentum: a number or such an array.
        noise: standard deviation of the Gaussian noise on each coordinate of each gradient, drawn
            anew for each update and each descent; a number or such an array.
        seed: of the noise.

    >>> descend(Quadratic([2.0]), [1.0], rate=0.25, steps=3).path.ravel()
    array([1.   , 0.5  , 0.25 , 0.125])
    >>> descend(Quadratic([2.0]), [1.0], rate=[0.1, 1.1, 99.0], steps=50).diverged_at
    array([-1, -1,  7])
    """
    check_argument("steps", steps, Steps)
    x = _points(check_array("start", start), len(surface.minimum))
    beta, sigma = check_array("momentum", momentum, 0), check_array("noise", noise, 0)
    eta = first = check_array("rate", rate(0) if callable(rate) else rate, 0)
    try:
        shape = np.broadcast_shapes(x.shape[:-1], first.shape, beta.shape, sigma.shape)
    except ValueError:
        others = f"momentum {beta.shape}, noise {sigma.shape} and the … {x.shape[:-1]} of start"
        refuse("rate.shape", first.shape, f"to broadcast against {others}")
    x = np.broadcast_to(x, (*shape, x.shape[-1]))
    path, losses = np.empty((steps + 1, *x.shape)), np.empty((steps + 1, *shape))
    diverged_at = np.full(shape, -1)
    velocity, rng = np.zeros(x.shape), np.random.default_rng(seed)
    path[0], losses[0] = x, surface(x)
    with np.errstate(over="ignore", invalid="ignore"):  # a diverging descent is no surprise here
        for t in range(steps):
            gradient = surface.gradient(path[t])
            if sigma.any():
                gradient = gradient + sigma[..., None] * rng.standard_normal(x.shape)
            velocity = beta[..., None] * velocity + gradient
            if callable(rate):
                eta = check_array("rate", rate(t), 0)
            point = path[t] - eta[..., None] * velocity
            loss = surface(point)
            diverged_at[(diverged_at < 0) & ~(np.abs(loss) <= BOUND)] = t + 1
            alive = diverged_at < 0
            path[t + 1] = np.where(alive[..., None], point, path[t])
            losses[t + 1] = np.where(alive, loss, losses[t])
    return Descent(path, losses, diverged_at)
