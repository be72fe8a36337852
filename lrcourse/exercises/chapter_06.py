"""Checks of chapter 06, Cosine."""

from typing import Any

import numpy as np

from lrcourse.exercises.contest import Contest, rates_of
from lrcourse.exercises.engine import Hints, parting, rates_under
from lrcourse.schedules import Cosine, Warmup, values


def check_06_open(answer: Any) -> Hints:
    """Rates that follow a cosine planned too short, and end below one that was planned right."""
    made = values(Cosine(1000), 500, peak=0.012)
    rates = yield from rates_of(answer, 500)
    if (t := parting(rates, made)) is not None:
        yield f"At t = {t} the rate is {rates[t]:.4g}, and that update was made at {made[t]:.4g}."
    return (yield from Contest("06 open", "extending", "planned").judge(answer))


def check_06_repair(answer: Any) -> Hints:
    """A scheduler that warms up from a tenth and falls along a cosine to a tenth."""
    for peak, epochs, per_epoch, warmup in ((0.1, 6, 20, 10), (0.02, 5, 30, 15)):
        steps = epochs * per_epoch
        factor = rates_under(answer, epochs, per_epoch, warmup, steps=steps, lr=peak) / peak
        rising = values(Warmup(warmup, 0.1), warmup + 1)
        if (t := parting(factor[: warmup + 1], rising)) is not None:
            seen = f"With a warmup of {warmup}, update {t} runs at {factor[t]:.3g} of the peak"
            yield f"{seen}, not {rising[t]:.3g}: when does the rise end, and in which unit?"
        after = factor[warmup:]
        if (np.diff(after) > 1e-9).any():
            at = warmup + int(np.argmin(after))
            yield f"The rate is lowest at update {at} and climbs again: in which unit is T_max?"
        if not 0.05 < after[-1] < 0.102:
            seen = f"With a peak of {peak} it ends at {after[-1]:.3g} of it, not at a tenth"
            yield f"{seen}: which eta_min is read when, and is the cosine as long as what is left?"
