"""Checks of chapter 02, Too large, too small."""

import math
from typing import Any

import numpy as np

from lrcourse.exercises.engine import Hints, number


def check_02_floor(answer: Any) -> Hints:
    """The rate whose noise floor is an eighth of another's."""
    yield number(answer, 0.4 * 0.01 / 0.08, hint="The floor is proportional to the rate.")


def check_02_edge(answer: Any) -> Hints:
    """The sharpness at which a long run with full batches ends."""
    yield number(answer, 2 / 0.25, hint="Where does sharpness × rate / 2 settle?")


def check_02_fate(answer: Any) -> Hints:
    """A function: the losses of a run → which of four fates it met."""
    for seed, length in ((0, 400), (1, 150), (2, 30)):
        t, noise = np.arange(length), np.random.default_rng(seed).normal(size=length)
        fall = 2.3 * np.exp(-8 * t / length)
        bounce = 0.3 + 0.8 * fall + 0.3 * np.abs(noise)
        for right, curve in (
            ("crawl", 2.3 - 0.1 * t / length + 0.005 * noise),
            ("learn", fall + 0.02 * np.abs(noise)),
            ("bounce", bounce),
            ("diverge", 2.3 * 1.2**t + 0.02 * noise),
            ("diverge", np.append(bounce[:20], np.inf)),
        ):
            said = answer(curve.copy())
            if said != right:
                ends = f"{curve[0]:.2f} to {curve[-1]:.2f}"
                yield f"A curve from {ends} that should be called {right!r} is called {said!r}."


def check_02_next(answer: Any) -> Hints:
    """The next rate to try, when the lowest loss lies at the grid's upper end."""
    if np.ndim(answer) == 0 and 0.3 < answer <= 1:
        yield "That stays on this side of the best rate so far. Is the lowest point bracketed?"
    yield number(answer, 3, rel=0.4, hint="On which side of the table may a lower loss lie?")


def check_02_ramp(answer: Any) -> Hints:
    """The factor per update of a range test: from low to high in so many updates."""
    for low, high, count in ((1e-3, 10.0, 100), (1e-5, 1.0, 7)):
        end = low * answer(low, high, count) ** count
        if not math.isclose(end, high, rel_tol=1e-6):
            yield f"From {low:g} in {count} updates the rate gets to {end:.3g}, not to {high:g}."
