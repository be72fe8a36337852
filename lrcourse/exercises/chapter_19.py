"""Checks of chapter 19, Choosing."""

from typing import Any

import numpy as np
from scipy.integrate import quad
from scipy.stats import norm

from lrcourse.chapters import capstone
from lrcourse.evidence import Difference, above
from lrcourse.exercises.engine import Hints, number
from lrcourse.schedules import values, wsd

_TASKS = [
    ("B", "Nobody knows the end, and the metric is clean: what listens? Chapter 08."),
    ("C", "A model each week, and no known end: what has a trunk? Chapter 14."),
    ("E", "The end is known and the metric noisy: what needs neither? Chapters 08 and 09."),
    ("D", "Two parts of the model, two schedules: which class takes a list? Chapter 09."),
    ("A", "It does not survive its rate at the start: what buys that? Chapters 11 and 12."),
]


def check_19_tasks(answer: Any) -> Hints:
    """Which of five answers belongs to which of five tasks."""
    letters = "".join(answer).replace(" ", "").upper() if isinstance(answer, (str, list)) else ""
    if sorted(letters) != list("ABCDE"):
        yield 'Five letters from A to E are asked for, each of them once, like "ABCDE".'
    for place, (letter, (right, hint)) in enumerate(zip(letters, _TASKS, strict=True), 1):
        if letter != right:
            yield f"Task {place}: {hint}"


def check_19_luck(answer: Any) -> Hints:
    """How far the best of thirty equal entries seems to lead."""
    # The mean of the largest of n normal values: ∫ x n φ(x) Φ(x)^(n−1) dx
    most, _error = quad(lambda x: 30 * x * norm.pdf(x) * norm.cdf(x) ** 29, -8, 8)
    lead = abs(answer) if isinstance(answer, float) else answer  # losses: the lowest leads
    yield number(lead, 0.1 * most, rel=0.03, hint="Draw thirty errors, keep the best; repeat.")


def check_19_trunk(answer: Any) -> Hints:
    """A function: a length → the schedule of a run that could have gone on."""
    for length in (200, 500, 2000):
        schedule, cooldown = answer(length), round(0.4 * length)
        if not callable(schedule):
            yield f"For the length {length} it returns {schedule!r}, and a schedule is asked for."
        mine = values(schedule, length)
        off = ~np.isclose(mine, values(wsd(length, 50, cooldown), length), atol=0.01)
        if not off.any():
            continue
        t = int(off.argmax())
        told = f"At length {length} and t = {t} the factor is {mine[t]:.3g}."
        if t < 50:
            yield f"{told} The warmup takes 50 updates, whatever the length."
        start = length - cooldown
        if t < start:
            yield f"{told} Up to update {start} all runs must share one trunk."
        yield f"{told} The cooldown goes from update {start} to the end, down to zero."


_ENTRIES = ["steady", "lucky", "risky", "poor"]
_OPEN, _HELD = [3, 1, 4, 15, 9], [26, 5, 35, 8, 97]


def _loss(name: str, s: int) -> float:
    """Ends that depend on the seed far more than on the entry; one entry once diverges."""
    of_seed = 2.0 + 0.5 * np.sin(float(s))
    draw = np.random.default_rng((s, len(name), ord(name[0]))).normal(0, 0.002)
    if name == "risky":
        return float("nan") if s == _OPEN[2] else 0.9 * of_seed
    gain = {"poor": 0.1, "lucky": -0.03 if s in _OPEN else 0.02}.get(name, 0.0)
    return float(of_seed * (1 + gain + draw))


def _against(name: str, mine: list[int], theirs: list[int]) -> Difference:
    return above([_loss(name, s) for s in mine], [_loss("rival", s) for s in theirs])


def check_19_report(answer: Any) -> Hints:
    """A function that chooses an entry, and says by how much it ends above a rival."""
    told = answer(_loss, list(_ENTRIES), "rival", list(_OPEN), list(_HELD))
    if not isinstance(told, tuple) or len(told) != 2 or not isinstance(told[1], Difference):
        yield "It must return the winner's name and a Difference, as the broken one does."
    name, difference = told
    if name == "risky":
        yield "It chose an entry of which one run diverged. Where did that run go?"
    if name != "lucky":
        yield f"It chose {name!r}; on the open seeds another one has the lowest mean."
    right = _against(name, _HELD, _HELD)
    if np.isclose(difference.mean, right.mean) and np.isclose(difference.se, right.se):
        return
    if np.isclose(difference.mean, _against(name, _OPEN, _OPEN).mean):
        yield "The seeds that chose the winner also give its figure."
    if difference.se > 3 * right.se:
        yield f"Its standard error could be {right.se:.2g} %. Do the two see the same seeds?"
    yield "The choice is right. On which seeds are winner and rival compared?"


def check_19_race(answer: Any) -> Hints:
    """A schedule and a peak that are not worse than the tuned line."""
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        yield "Give a pair: (schedule, peak)."
    schedule, peak = answer
    try:
        entry = capstone.score(schedule, peak)
    except (TypeError, ValueError) as error:
        yield f"The race refuses it: {error}."
    if entry.diverged:
        yield f"{len(entry.diverged)} of {len(entry.losses)} runs diverged: try a smaller peak."
    gap = entry.difference("linear")
    if gap.mean <= 2 * gap.se:
        return
    rates = entry.peak * entry.factors
    tuned = capstone.baselines().best.loc["linear", "optimum"] / 2  # the mean of a line to zero
    size = rates.mean() / tuned
    told = f"It ends {gap.mean:.2g} ± {gap.se:.1g} % above the tuned line."
    if not 0.5 < size < 2:
        word = "smaller" if size > 1 else "larger"
        yield f"{told} Its mean rate is {size:.2g} times the line's: try a {word} peak."
    if rates[-10:].mean() > 0.3 * rates.max():
        yield f"{told} Its last rates are high: where does it land?"
    yield f"{told} Where is its rate high, and for how long? Compare it with the baselines."
