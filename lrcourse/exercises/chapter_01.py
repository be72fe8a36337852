"""Checks of chapter 01, Gradient descent."""

from typing import Any

import numpy as np

from lrcourse.evidence import above, measured
from lrcourse.exercises.contest import name_of, post, rates_of
from lrcourse.exercises.engine import Hints, is_number
from lrcourse.landscapes import Quadratic, descend

STEPS, VALLEYS, BASELINE = 60, 16, 0.00195


def check_01_open(answer: Any) -> Hints:
    """Rates and a momentum that leave a tenth of the loss, in valleys drawn from the entry."""
    if not (isinstance(answer, tuple) and len(answer) == 2):
        yield "Two things are asked for, as in (mine, 0.9): a function of t, and a momentum."
    entry, momentum = answer
    rates = yield from rates_of(entry, STEPS)
    if not is_number(momentum) or not 0 <= momentum < 1:
        yield f"The momentum is a number from 0 on and below 1, not {momentum!r}."
    both = np.append(rates, rates.max() * float(momentum))
    rng = np.random.default_rng(int(name_of(both)[:8], 16))
    mine, base = np.empty(VALLEYS), np.empty(VALLEYS)
    for i in range(VALLEYS):
        curvatures = np.exp(rng.uniform(0, np.log(1000), 20))
        curvatures[:2] = 1, 1000
        start = rng.normal(size=20) / np.sqrt(curvatures)  # each direction weighs the same
        valley = Quadratic(curvatures.tolist())
        walk = descend(valley, start, lambda t: rates[t], STEPS, momentum=float(momentum))
        if walk.diverged_at >= 0:
            yield f"A walk diverged at step {walk.diverged_at}: the rate or momentum is too high."
        mine[i] = walk.losses[-1]
        base[i] = descend(valley, start, BASELINE, STEPS).losses[-1]
    difference = above(mine, base)
    place, count = post("01 open", name_of(both), difference)
    ratio, low, high = (1 + value / 100 for value in (difference.mean, *difference.interval))
    interval = f"{low:.4f} … {high:.4f}"
    if high > 0.1:
        yield (
            f"It leaves {ratio:.3f} times the loss of the best constant rate (95 %: {interval}) in "
            f"{VALLEYS} new valleys, and surely less than a tenth is asked for. "
            f"Place {place} of {count} on your board."
        )
    return measured(times_its_loss=f"{ratio:.4f} (95 %: {interval})", place=f"{place} of {count}")


def check_01_repair(answer: Any) -> Hints:
    """Descent with momentum, both slopes taken at one place."""
    start, rate, momentum, steps = np.array([2.0, -1.0]), 0.05, 0.8, 30

    def end(valley: Quadratic, steps: int, momentum: float) -> tuple[Any, np.ndarray]:
        slopes = [lambda x, y, i=i: float(valley.gradient(np.array([x, y]))[i]) for i in range(2)]
        mine = answer(*slopes, tuple(start.tolist()), rate, momentum, steps)
        return mine, descend(valley, start, rate, steps, momentum=momentum).path[-1]

    for case, angle in (("a slanted", 0.4), ("a straight", 0.0)):
        valley = Quadratic([1.0, 7.0], angle=angle)
        mine, right = end(valley, 1, momentum)
        if np.shape(mine) != (2,):
            yield f"It must return x and y, not {mine!r}."
        if not np.allclose(mine, right):
            moved, due = np.subtract(mine, start), right - start
            times = moved @ due / (due @ due)
            if np.allclose(moved, times * due):  # along the same line
                yield f"The first step is {times:.3g} times the right one: what scales the slope?"
            yield f"In {case} valley the first step is wrong: at which place is each slope taken?"
        mine, right = end(valley, steps, momentum)
        if np.allclose(mine, descend(valley, start, rate, steps).path[-1]):
            yield "Momentum has no effect yet: what do u and v hold when a step begins?"
        if not np.allclose(mine, right):
            yield f"In {case} valley the first step is right, but {steps} steps end elsewhere."
