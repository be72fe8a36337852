"""Checks of chapter 11, Warmup."""

import math
from typing import Any

import numpy as np

from lrcourse.exercises.engine import Hints, agrees, number, parting, rates_under
from lrcourse.schedules import Constant, Linear, Warmup, values


def check_11_rate(answer: Any) -> Hints:
    """The rate a quarter of the way up a warmup that does not start at 0."""
    hint = "Which share of the rise is done at t = 500?"
    slips = {
        1e-3 * Warmup(2000)(500): "That line starts at 0. This one starts at 2e-5, and has "
        "less left to rise.",
        2e-5 + 2.5e-4: "It rises by what lies between start and target, not by the whole target.",
    }
    yield number(answer, 1e-3 * Warmup(2000, 0.02)(500), rel=1e-3, hint=hint, slips=slips)


def check_11_length(answer: Any) -> Hints:
    """The warmup that Ma and Yarats advise for these betas."""
    slips = {2 / (1 - 0.9): "That is from β₁. Which of the two belongs to the squares?"}
    yield number(answer, 2 / (1 - 0.95), hint="It is 2 / (1 − β₂).", slips=slips)


def check_11_epochs(answer: Any) -> Hints:
    """A function of t: a warmup over three epochs, in updates."""
    right = Warmup(360, 0.1)

    def told(t: int, mine: float) -> str:
        if t == 1 and math.isclose(mine, Warmup(3, 0.1)(1), rel_tol=1e-6):
            return "It is up after 3 updates: it takes updates for epochs."
        if t == 1 and math.isclose(mine, 0.1):
            return "It waits for a whole epoch before it rises: let it rise with every update."
        return f"At t = {t} it gives {mine:.7g}, and {right(t):.7g} is right."

    times = (0, 1, 60, 119, 120, 121, 240, 359, 360, 361, 5000)
    yield agrees(answer, right, times, told=told)


def check_11_repair(answer: Any) -> Hints:
    """A scheduler that rises from a rate of 1e-6, stays, and is cut."""
    for peak, warmup, cut in ((1e-3, 20, 80), (0.1, 7, 30)):
        plan = Linear(1e-6 / peak, 1, warmup) >> Constant(1.0, cut - warmup) >> Constant(0.1)
        right = values(plan, 5 * cut, peak)
        rates = rates_under(answer, peak, warmup, cut, steps=5 * cut, lr=peak)
        told = f"With a peak of {peak:g}, a warmup of {warmup} and the cut at {cut},"
        wrong = parting(rates, right)
        if wrong is None:
            continue
        if wrong == 0:
            yield f"{told} the first update runs at {rates[0]:.3g}: is 1e-6 a rate or a factor?"
        if wrong < warmup:
            yield f"{told} the rise is wrong from update {wrong} on."
        if wrong <= cut:
            cuts = np.flatnonzero(np.diff(rates) < 0) + 1
            seen = f"the first cut comes at update {cuts[0]}" if len(cuts) else "it is never cut"
            yield f"{told} {seen}: from where does the second part count?"
        yield f"{told} all is well up to update {wrong}: then the rate is {rates[wrong]:.3g}."


def check_11_sensitivity(answer: Any) -> Hints:
    """A function: losses at several rates and the loss before → the sensitivity."""
    cases = {(3.0, 2.0, 2.5): 0.5, (3.0, 2.0, 9.0): 1.0, (3.0, 2.0, math.nan): 1.0}

    def told(losses: tuple[float, float, float], mine: float) -> str:
        why = "" if losses[-1] < 4 else " At the last rate it is lost, or worse than untrained."
        return f"For {losses}, untrained 4, it gives {mine:.4g}, not {cases[losses]:g}.{why}"

    yield agrees(lambda case: answer(np.array(case), 4.0), cases.__getitem__, cases, told=told)
