"""Checks of chapter 16, Predicting the loss."""

from typing import Any

import numpy as np

from lrcourse.chapters.theory import LossLaw, areas, bound
from lrcourse.exercises.engine import Hints, is_number, number, parting
from lrcourse.schedules import Constant, Cosine, Linear, Warmup, values, wsd


def check_16_peak(answer: Any) -> Hints:
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


def check_16_updates(answer: Any) -> Hints:
    """How many updates a constant rate needs for the bound of a line."""
    if not is_number(answer) or int(answer) != answer or answer < 1:
        yield "A whole number of updates is asked for."
    count, goal = min(int(answer), 9999), bound(Linear(1, 0, 1000), 1000).lowest
    mine = bound(Constant(), count).lowest
    if mine > goal:
        yield f"After {answer} updates the constant's bound is still {mine / goal:.5f} times that."
    if bound(Constant(), count - 1).lowest <= goal:
        yield "It is as low there, and was so before."


def check_16_annealing(answer: Any) -> Hints:
    """A function: rates, memory → what annealing has brought after each update."""
    cases = [
        ("Without a warmup", values(Cosine(40), 40, 0.01), 0.9),
        ("Without a warmup", np.array([1.0, 1.0, 0.5, 0.5, 0.25]), 0.5),
        (
            "In a run with a warmup, where the rise counts for nothing,",
            values(Warmup(10, 0.1) >> wsd(30, 0, 8), 40, 0.02),
            0.8,
        ),
        (
            "Where the rate rises after its peak, and a later rise counts against it,",
            np.array([1.0, 1.0, 0.4, 0.4, 0.7, 0.7, 0.3]),
            0.6,
        ),
    ]
    for case, rates, memory in cases:
        mine, right = np.asarray(answer(rates.copy(), memory), dtype=float), areas(rates, memory)[1]
        if mine.shape == (len(rates) - 1,):
            yield f"{len(rates)} updates give {len(mine)} values. After the first update it is 0."
        if mine.shape != right.shape:
            yield f"{len(rates)} updates give an answer of shape {mine.shape}."
        if rates.argmax() == 0 and np.allclose(mine, memory * right):
            yield "Each push is too small by one factor. When does it begin to fade?"
        if (t := parting(mine, right)) is not None:
            yield f"{case} it is off from update {t} on: {mine[t]:.4g}, not {right[t]:.4g}."


def check_16_design(answer: Any) -> Hints:
    """A schedule that stays at its peak at first and that both theories like."""
    if not callable(answer):
        yield "A function of t is asked for: a schedule, for instance."
    steps, peak, line = 640, 0.012, Linear(1, 0, 640)
    factors = values(answer, steps)
    if (t := parting(factors[:200], factors.max())) is not None:
        yield f"At update {t} it is not at the peak, and the first 200 must be."
    if not np.isclose(factors.max(), 1):
        yield "Its highest factor must be 1: the peak is chosen apart."
    more = bound(answer, steps).lowest / bound(line, steps).lowest
    if more > 1.02:
        yield f"Its bound is {100 * (more - 1):.1f} % above the line's. Does it land, and in time?"
    law = LossLaw(floor=1.5, scale=1.2, power=0.17, gain=0.27, memory=0.98)
    ends = [law(values(s, steps, peak))[-1] for s in (answer, line)]
    if ends[0] > ends[1]:
        yield f"The bound likes it. The law says {ends[0]:.3f}, and {ends[1]:.3f} for the line."
