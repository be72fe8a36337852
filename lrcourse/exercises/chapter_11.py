"""Checks of chapter 11, Warmup."""

from typing import Any

import numpy as np

from lrcourse.exercises.contest import Contest, rates_of
from lrcourse.exercises.engine import Hints, parting, rates_under
from lrcourse.schedules import Constant, Linear, values


def check_11_open(answer: Any) -> Hints:
    """Rates of three times the best peak of a run without warmup, that end below that run."""
    rates = yield from rates_of(answer, 600)
    if (high := int((rates >= 0.0411).sum())) < 10:
        yield f"Updates at a rate of 0.0411 or more: {high}, and at least ten are asked for."
    part = "AdamW, batch 16"
    return (yield from Contest("11 open", "warmup", "without", part).judge(answer))


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
