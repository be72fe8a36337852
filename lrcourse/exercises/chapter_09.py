"""Checks of chapter 09, Compose your own."""

import math
from typing import Any

import numpy as np
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from lrcourse.chapters.conventions import habits
from lrcourse.exercises.engine import Hint, agrees, number, rates_under
from lrcourse.schedules import Constant, Cosine, Linear, Warmup, values


def check_09_slope(answer: Any) -> Hint:
    """By how much a factor falls per epoch on its way to a fifth."""
    fall = Linear(1, 0.2, 90 - 30)
    slips = {fall(1) - 1: "Give the size of the fall, without a sign."}
    hint = "How much must it fall, and over how many epochs?"
    return number(answer, 1 - fall(1), rel=0.02, hint=hint, slips=slips)


def check_09_lengths(answer: Any) -> Hint:
    """The length of one cosine, as Keras and as transformers count it."""
    total, warmup = 10_000, 500
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        return "Two numbers are asked for: (for_keras, for_transformers)."
    for library, mine in zip(("keras", "transformers"), answer, strict=True):
        counts = habits(library).counts_warmup
        if mine != (total if counts else total - warmup):
            return f"Look again at {library}: does its length include the warmup?"
    return None


def check_09_line(answer: Any) -> Hint:
    """A function of t: rise, level part, cosine, and a line to 0."""
    right = Warmup(50, 0.1) >> Constant(1.0, 300) >> Cosine(100, end=0.2) >> Linear(0.2, 0, 50)
    parts = {50: "the rise", 350: "the level part", 450: "the cosine", 500: "the line to 0"}

    def told(t: int, mine: float) -> str:
        part = next((name for end, name in parts.items() if t < end), "the time after the end")
        return f"The first wrong factor is at t = {t}, in {part}: {mine:.4g}."

    return agrees(answer, right, range(521), told=told)


def check_09_repair(answer: Any) -> Hint:
    """A scheduler that rises from a tenth and follows a cosine to the run's end."""
    for warmup, total in ((40, 200), (7, 50)):
        plan = values(Warmup(warmup, 0.1) >> Cosine(total - warmup), total, peak=0.1)
        rates = rates_under(answer, warmup, total, steps=total, lr=0.1)
        told = f"With a warmup of {warmup} and {total} updates in all,"
        if np.allclose(rates, plan):
            continue
        if not math.isclose(rates[0], plan[0], rel_tol=1e-6):
            return f"{told} the first update runs at {rates[0]:.3g} instead of {plan[0]:.3g}."
        if not np.allclose(rates[:warmup], plan[:warmup]):
            wrong = int((~np.isclose(rates, plan)).argmax())
            return f"{told} the rise is wrong from update {wrong} on: how long does it take?"
        if not np.isclose(rates[warmup], plan[warmup]):
            jump = rates[warmup] / 0.1
            return f"{told} update {warmup} should be at the peak, and is at {jump:.3g} of it."
        if (rates[warmup : warmup + 3] == rates[warmup]).all():
            stays = f"the rate stays at the peak after update {warmup}"
            return f"{told} {stays}: which part still runs? Look at the milestone."
        return f"{told} it ends at {rates[-1] / 0.1:.3g} of the peak: how long is the cosine?"
    return None


def check_09_thaw(answer: Any) -> Hint:
    """A function: how many parts → a schedule for each, the last one first to rise."""
    for count in (1, 3):
        schedules = answer(count)
        if not isinstance(schedules, (list, tuple)) or len(schedules) != count:
            return f"thaw({count}) should return a list of {count} schedules."
        groups = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(count)]
        optimizer = SGD(groups, lr=0.1)
        scheduler = LambdaLR(optimizer, list(schedules))
        for t in range(100 * count + 50):
            for i, group in enumerate(optimizer.param_groups):
                right = 0.1 * Warmup(20)(max(0, t - 100 * (count - 1 - i)))
                if not math.isclose(group["lr"], right, rel_tol=1e-6, abs_tol=1e-12):
                    return (
                        f"Of {count} parts, number {i} has {group['lr'] / 0.1:.3g} of its rate at "
                        f"update {t}, and should have {right / 0.1:.3g}."
                    )
            optimizer.step()
            scheduler.step()
    return None
