"""Checks of chapter 19, Choosing."""

from typing import Any

import numpy as np

from lrcourse.exercises.contest import Contest
from lrcourse.exercises.engine import Hints

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


def _gaps(mine: list[int], theirs: list[int]) -> tuple[float, float]:
    """By how much the lucky one ends above the rival, in per cent, and its standard error."""
    ends = [[_loss(name, s) for s in seeds] for name, seeds in (("lucky", mine), ("rival", theirs))]
    gaps = 100 * (np.array(ends[0]) / ends[1] - 1)
    return float(gaps.mean()), float(gaps.std(ddof=1) / len(gaps) ** 0.5)


def check_19_repair(answer: Any) -> Hints:
    """A function that chooses an entry, and says by how much it ends above a rival."""
    told = answer(_loss, list(_ENTRIES), "rival", list(_OPEN), list(_HELD))
    if not isinstance(told, tuple) or len(told) != 3:
        yield "It must return three things, as the broken one does: winner, mean, standard error."
    name, mean, error = told
    if name == "risky":
        yield "It chose an entry of which one run diverged. Where did that run go?"
    if name != "lucky":
        yield f"It chose {name!r}; on the open seeds another one has the lowest mean."
    right = _gaps(_HELD, _HELD)
    if np.allclose((mean, error), right):
        return
    if np.isclose(mean, _gaps(_OPEN, _OPEN)[0]):
        yield "The seeds that chose the winner also give its figure."
    if error > 3 * right[1]:
        yield f"Its standard error could be {right[1]:.2g} %. Do the two see the same seeds?"
    yield "The choice is right. On which seeds are winner and rival compared?"


def check_19_open(answer: Any) -> Hints:
    """Rates for 2500 updates that end lower than a tuned line."""
    return Contest("19 open", "proxy", "line", part="2500 updates").judge(answer)
