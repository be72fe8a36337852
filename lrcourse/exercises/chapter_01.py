"""Checks of chapter 01, Gradient descent."""

from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from lrcourse.exercises.engine import Hints, number
from lrcourse.landscapes import Quadratic, descend

_BOWL, _START = Quadratic([1.0, 7.0], angle=0.4), np.array([2.0, -1.0])


def check_01_update(answer: Any) -> Hints:
    """Where one step on 3x² + y² leads."""
    start, gradient = np.array([1.0, -2.0]), np.array([6.0, -4.0])
    if np.shape(answer) != (2,):
        yield "Two numbers are asked for, as in (0.5, 0.5)."
    if np.allclose(answer, start + 0.1 * gradient):
        yield "That goes uphill: the rate times the gradient is taken away."
    if np.allclose(answer, start - 0.1 * start):
        yield "Take the gradient (6x, 2y), not the point itself."
    yield None if np.allclose(answer, start - 0.1 * gradient) else "The gradient is (6x, 2y)."


def check_01_cliff(answer: Any) -> Hints:
    """The rate at which descent on 5θ² begins to diverge."""
    slips = {
        2 / 5: "L is the second derivative of 5θ², which is not 5.",
        1 / 10: "That is 1/L, where one step is enough. The cliff stands further out.",
    }
    yield number(answer, 2 / 10, rel=1e-6, hint="The cliff stands at 2/L.", slips=slips)


def check_01_descent(answer: Any) -> Hints:
    """Gradient descent as a function: gradient, start, rate, steps → the last point."""
    for rate, steps in ((0.1, 0), (0.1, 1), (0.2, 25)):
        right = descend(_BOWL, _START, rate, steps).path[-1]
        mine = answer(_BOWL.gradient, _START.copy(), rate, steps)
        if np.shape(mine) != (2,):
            yield f"It must return a point, of shape (2,), not {mine!r}."
        if not np.allclose(mine, right):
            yield f"With steps={steps} and rate={rate} it ends in the wrong place."


def check_01_momentum(answer: Any) -> Hints:
    """The same with momentum, which was without effect."""
    mine = answer(_BOWL.gradient, _START.copy(), 0.05, 0.8, 30)
    if np.allclose(mine, descend(_BOWL, _START, 0.05, 30).path[-1]):
        yield "Momentum has no effect yet: what does velocity hold when a step begins?"
    right = descend(_BOWL, _START, 0.05, 30, momentum=0.8).path[-1]
    yield None if np.allclose(mine, right) else "Thirty steps end in the wrong place."


def check_01_centre(answer: Any) -> Hints:
    """By which factor the cliff moves when each pixel loses its mean."""
    pixels = load_digits(return_X_y=True)[0] / 16
    ones = np.ones((len(pixels), 1))
    before, after = (
        np.linalg.eigvalsh(inputs.T @ inputs / len(inputs))[-1]
        for inputs in (np.hstack([pixels, ones]), np.hstack([pixels - pixels.mean(0), ones]))
    )
    slips = {after / before: "You have it upside down: the cliff moves out."}
    hint = "Old curvature over new curvature."
    yield number(answer, before / after, rel=0.02, hint=hint, slips=slips)
