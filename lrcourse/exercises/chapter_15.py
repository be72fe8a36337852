"""Checks of chapter 15, Predicting the loss."""

from functools import cache
from typing import Any

import numpy as np

from lrcourse.chapters.theory import LossLaw, areas, bound
from lrcourse.exercises.engine import Hints, is_number, number
from lrcourse.schedules import Constant, Cosine, Linear, Warmup, values, wsd


def check_15_peak(answer: Any) -> Hints:
    """The line's best peak, from WSD's and the ratio that the bound predicts."""
    line, other = bound(Linear(1, 0, 1000), 1000), bound(wsd(1000, 0, 200), 1000)
    ratio = line.best_peak / other.best_peak
    hint = "0.008 times the ratio of two best peaks."
    slips = {
        0.008: "That is WSD's. Which of the two spends more of the run at high rates?",
        0.008 / ratio: "That is the ratio upside down. Which of the two has the lower rates?",
        line.best_peak: "That is in the bound's units. Only ratios carry over.",
        0.008 * line.lowest / other.lowest: "That is the ratio of the bounds, not of their "
        "best peaks.",
    }
    yield number(answer, 0.008 * ratio, rel=0.02, hint=hint, slips=slips)


@cache
def _updates() -> int:
    goal = bound(Linear(1, 0, 1000), 1000).lowest
    return next(n for n in range(1000, 4000) if bound(Constant(), n).lowest <= goal)


def check_15_updates(answer: Any) -> Hints:
    """How many updates a constant rate needs for the bound of a line."""
    if not is_number(answer) or int(answer) != answer:
        yield "A whole number of updates is asked for."
    if answer < 1:
        yield "At least one update."
    goal = bound(Linear(1, 0, 1000), 1000).lowest
    mine = bound(Constant(), min(int(answer), 9999)).lowest
    if mine > goal:
        yield f"After {answer} updates the constant's bound is still {mine / goal:.5f} times that."
    if answer > _updates():
        yield "It is as low there, and was so before."


def check_15_annealing(answer: Any) -> Hints:
    """A function: rates, memory → what annealing has brought after each update."""
    cases = [
        (values(Cosine(40), 40, 0.01), 0.9),
        (np.array([1.0, 1.0, 0.5, 0.5, 0.25]), 0.5),
        (values(Warmup(10, 0.1) >> wsd(30, 0, 8), 40, 0.02), 0.8),
        (np.array([1.0, 1.0, 0.4, 0.4, 0.7, 0.7, 0.3]), 0.6),
    ]
    for i, (rates, memory) in enumerate(cases):
        mine, right = np.asarray(answer(rates.copy(), memory), dtype=float), areas(rates, memory)[1]
        if mine.shape == (len(rates) - 1,):
            yield f"{len(rates)} updates give {len(mine)} values. After the first update it is 0."
        if mine.shape != right.shape:
            yield f"{len(rates)} updates give an answer of shape {mine.shape}."
        if i < 2 and np.allclose(mine, memory * right):
            yield "Each push is too small by one factor. When does it begin to fade?"
        off = np.flatnonzero(~np.isclose(mine, right))
        if i < 2 and len(off):
            seen, due = mine[off[0]], right[off[0]]
            yield f"Without a warmup it is off from update {off[0]} on: {seen:.4g}, not {due:.4g}."
        if np.any(mine < -1e-12):
            yield "In a run with a warmup it falls below 0: the rise counts as something."
        if i == 3 and len(off):
            yield "It is off where the rate rises after its peak: a later rise counts against it."
        if len(off):
            yield "It is right without a warmup, and off with one."


def check_15_design(answer: Any) -> Hints:
    """A schedule that stays at its peak at first and that both theories like."""
    if not callable(answer):
        yield "A function of t is asked for: a schedule, for instance."
    steps, peak, line = 640, 0.012, Linear(1, 0, 640)
    factors = values(answer, steps)
    off = np.flatnonzero(~np.isclose(factors[:200], factors.max()))
    if len(off):
        yield f"At update {off[0]} it is not at the peak, and the first 200 must be."
    if not np.isclose(factors.max(), 1):
        yield "Its highest factor must be 1: the peak is chosen apart."
    more = bound(answer, steps).lowest / bound(line, steps).lowest
    if more > 1.02:
        yield f"Its bound is {100 * (more - 1):.1f} % above the line's. Does it land, and in time?"
    law = LossLaw(floor=1.5, scale=1.2, power=0.17, gain=0.27, memory=0.98)
    ends = [law(values(s, steps, peak))[-1] for s in (answer, line)]
    if ends[0] > ends[1]:
        yield f"The bound likes it. The law says {ends[0]:.3f}, and {ends[1]:.3f} for the line."
