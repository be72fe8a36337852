"""Checks of chapter 09, Compose your own."""

from typing import Any

from lrcourse.exercises.contest import Contest
from lrcourse.exercises.engine import Hints, parting, rates_under
from lrcourse.schedules import Cosine, Warmup, values


def check_09_open(answer: Any) -> Hints:
    """Rates that end lower than a line to zero, the best schedule recorded for that network."""
    return Contest("09 open", "cuts", "linear").judge(answer)


def check_09_repair(answer: Any) -> Hints:
    """A scheduler that rises from a tenth and follows a cosine to the run's end."""
    for warmup, total in ((40, 200), (7, 50)):
        plan = values(Warmup(warmup, 0.1) >> Cosine(total - warmup), total, peak=0.1)
        rates = rates_under(answer, warmup, total, steps=total, lr=0.1)
        told = f"With a warmup of {warmup} and {total} updates in all,"
        wrong = parting(rates, plan)
        if wrong is None:
            continue
        if wrong < warmup:
            yield f"{told} the rise is wrong from update {wrong} on: how long does it take?"
        if wrong == warmup:
            jump = rates[warmup] / 0.1
            yield f"{told} update {warmup} should be at the peak, and is at {jump:.3g} of it."
        if (rates[warmup : warmup + 3] == rates[warmup]).all():
            stays = f"the rate stays at the peak after update {warmup}"
            yield f"{told} {stays}: which part still runs? Look at the milestone."
        yield f"{told} it ends at {rates[-1] / 0.1:.3g} of the peak: how long is the cosine?"
