"""Checks of chapter 01, Gradient descent."""

from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from lrcourse.exercises.engine import Hint, exercise, number
from lrcourse.landscapes import Quadratic, descend


@exercise("01 update")
def _(answer: Any) -> Hint:
    start, gradient = np.array([1.0, -2.0]), np.array([6.0, -4.0])  # of 3x² + y²
    if np.shape(answer) != (2,):
        return "Two numbers are asked for, as in (0.5, 0.5)."
    if np.allclose(answer, start + 0.1 * gradient):
        return "That goes uphill: the rate times the gradient is taken away."
    if np.allclose(answer, start - 0.1 * start):
        return "Take the gradient (6x, 2y), not the point itself."
    return None if np.allclose(answer, start - 0.1 * gradient) else "The gradient is (6x, 2y)."


@exercise("01 cliff")
def _(answer: Any) -> Hint:
    if np.ndim(answer) == 0 and answer == 2 / 5:
        return "L is the second derivative of 5θ², which is not 5."
    if np.ndim(answer) == 0 and answer == 1 / 10:
        return "That is 1/L, where one step is enough. The cliff stands further out."
    return number(answer, 2 / 10, rel=1e-6, hint="The cliff stands at 2/L.")


@exercise("01 descent")
def _(answer: Any) -> Hint:
    bowl, start = Quadratic([1.0, 7.0], angle=0.4), np.array([2.0, -1.0])
    for rate, steps in ((0.1, 0), (0.1, 1), (0.2, 25)):
        right = descend(bowl, start, rate, steps).path[-1]
        mine = answer(bowl.gradient, start.copy(), rate, steps)
        if np.shape(mine) != (2,):
            return f"It must return a point, of shape (2,), not {mine!r}."
        if not np.allclose(mine, right):
            return f"With steps={steps} and rate={rate} it ends in the wrong place."
    return None


@exercise("01 momentum")
def _(answer: Any) -> Hint:
    bowl, start = Quadratic([1.0, 7.0], angle=0.4), np.array([2.0, -1.0])
    mine = answer(bowl.gradient, start.copy(), 0.05, 0.8, 30)
    if np.allclose(mine, descend(bowl, start, 0.05, 30).path[-1]):
        return "Momentum has no effect yet: what does velocity hold when a step begins?"
    right = descend(bowl, start, 0.05, 30, momentum=0.8).path[-1]
    return None if np.allclose(mine, right) else "Thirty steps end in the wrong place."


@exercise("01 centre")
def _(answer: Any) -> Hint:
    pixels = load_digits(return_X_y=True)[0] / 16
    ones = np.ones((len(pixels), 1))
    before, after = (
        np.linalg.eigvalsh(inputs.T @ inputs / len(inputs))[-1]
        for inputs in (np.hstack([pixels, ones]), np.hstack([pixels - pixels.mean(0), ones]))
    )
    if np.ndim(answer) == 0 and np.isclose(answer, after / before, rtol=0.02):
        return "You have it upside down: the cliff moves out."
    return number(answer, before / after, rel=0.02, hint="Old curvature over new curvature.")
