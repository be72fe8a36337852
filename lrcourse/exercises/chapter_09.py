"""Checks of chapter 09, Compose your own."""

from typing import Any

from lrcourse.chapters.conventions import habits
from lrcourse.exercises.engine import Hints, agrees, number, parting, rates_under
from lrcourse.schedules import Constant, Cosine, Linear, Warmup, values


def check_09_slope(answer: Any) -> Hints:
    """By how much a factor falls per epoch on its way to a fifth."""
    fall = Linear(1, 0.2, 90 - 30)
    slips = {fall(1) - 1: "Give the size of the fall, without a sign."}
    hint = "How much must it fall, and over how many epochs?"
    yield number(answer, 1 - fall(1), rel=0.02, hint=hint, slips=slips)


def check_09_lengths(answer: Any) -> Hints:
    """The length of one cosine, as Keras and as transformers count it."""
    total, warmup = 10_000, 500
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        yield "Two numbers are asked for: (for_keras, for_transformers)."
    for library, mine in zip(("keras", "transformers"), answer, strict=True):
        counts = habits(library).counts_warmup
        if mine != (total if counts else total - warmup):
            yield f"Look again at {library}: does its length include the warmup?"


def check_09_line(answer: Any) -> Hints:
    """A function of t: rise, level part, cosine, and a line to 0."""
    right = Warmup(50, 0.1) >> Constant(1.0, 300) >> Cosine(100, end=0.2) >> Linear(0.2, 0, 50)
    parts = {50: "the rise", 350: "the level part", 450: "the cosine", 500: "the line to 0"}

    def told(t: int, mine: float) -> str:
        part = next((name for end, name in parts.items() if t < end), "the time after the end")
        return f"The first wrong factor is at t = {t}, in {part}: {mine:.4g}."

    yield agrees(answer, right, range(521), told=told)


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


def check_09_thaw(answer: Any) -> Hints:
    """A function: how many parts → a schedule for each, the last one first to rise."""
    for count in (1, 3):
        schedules = answer(count)
        if not isinstance(schedules, (list, tuple)) or len(schedules) != count:
            yield f"thaw({count}) should return a list of {count} schedules."
        for i, schedule in enumerate(schedules):
            right = Constant(0.0, 100 * (count - 1 - i)) >> Warmup(20)
            told = f"Of {count} parts, number {i} has {{1:.3g}} of its rate at update {{0}}.".format
            yield agrees(schedule, right, range(100 * count + 50), told=told)
