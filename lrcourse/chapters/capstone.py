"""The last exercise: one fixed budget, any schedule, a local leaderboard.

An entry is a schedule and a peak rate for `UPDATES` updates of the small language model (AdamW,
minibatches of 64 windows). `score` trains it on eight open seeds beside four tuned baselines, which
see the same minibatches. Who tries often enough wins on those seeds by luck; so the entry that was
chosen is trained on eight others, which were held back, and a board takes one such entry only.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.optim import AdamW

from lrcourse.arguments import Positive, Steps, check_argument, refuse, whole_number
from lrcourse.comparison import Comparison, compare
from lrcourse.data import python_text
from lrcourse.evidence import Difference, above
from lrcourse.files import ROOT, fingerprint, write_whole
from lrcourse.models import character_task
from lrcourse.schedules import FloatArray, Schedule, plan
from lrcourse.sweeps import as_planned, final, sweep
from lrcourse.training import factor

__all__ = ["BASELINES", "SEEDS", "UPDATES", "Board", "Score"]
__all__ += ["baseline", "baselines", "cited", "factors", "losses", "score"]

UPDATES = 250
"""Updates in a run: the budget."""

SEEDS = 8
"""Open seeds, and as many held back."""

BASELINES = ("constant", "linear", "cosine-10%", "wsd")
"""What an entry is placed beside, by the names of `schedules.PLANS`. Each is tuned."""

Plan = Callable[[int], float]


def _task() -> dict[str, Any]:
    return character_task(python_text()) | {"optimizer": AdamW}


def baseline(name: str, updates: int = UPDATES) -> Schedule:
    """The schedule of a baseline, without warmup; wsd cools down in the last 40 %."""
    return plan(name, updates, cooldown=round(0.4 * updates))


def baselines(updates: int = UPDATES, seed: int = 0) -> Comparison:
    """The four baselines, each at its own best peak: tuned on two seeds, run on sixteen others.

    Computed once per process (104 runs) and then remembered. Of the sixteen seeds the first eight
    are the open ones, the others are held back.

    Args:
        updates: length of a run, 100 … 3000.
        seed: another number here gives a race that shares no seed with this one.

    Raises:
        ValueError: an argument is out of range.
    """
    return _baselines(updates, seed)


@cache
def _baselines(updates: int, seed: int) -> Comparison:
    check_argument("updates", updates, whole_number(100, 3000))
    check_argument("seed", seed, Steps)
    return compare(
        schedules={name: baseline(name, updates) for name in BASELINES},
        peaks=0.003 * (UPDATES / updates) ** 0.3 * 2.0 ** np.arange(5),
        steps=updates,
        value="test_loss",
        seed=seed,
        tuning=2,
        pairs=2 * SEEDS,
        **_task(),
    )


def factors(schedule: Plan, peak: float, updates: int = UPDATES) -> FloatArray:
    """The schedule's factor at each update; refuses, in words, what cannot be trained.

    Raises:
        TypeError: the schedule is not a function of t.
        ValueError: a factor is not a finite number of 0 or more, all are 0, or the peak is not a
            finite number above 0.

    >>> factors(plan("linear", 4), 0.01, updates=4)
    array([1.  , 0.75, 0.5 , 0.25])
    >>> factors(lambda t: 1 - t, 0.01, updates=4)
    Traceback (most recent call last):
    ...
    ValueError: schedule(2) is -1, expected a finite number >= 0
    """
    if inspect.isclass(schedule) or not callable(schedule):
        kind = getattr(schedule, "__name__", type(schedule).__name__)
        raise TypeError(
            f"the schedule must be a function of t, as Linear(1, 0, {updates}) is; got {kind}. "
            "A scheduler of PyTorch belongs to its optimizer; a class is not yet a schedule"
        )
    check_argument("peak", peak, Positive)
    found = np.array([factor(schedule, t) for t in range(updates)])
    if not found.any():
        refuse("schedule", "0 at every update", "one that moves something")
    return found


def _trained(
    entries: Mapping[str, tuple[Plan, float]], seeds: list[int], updates: int
) -> pd.DataFrame:
    """The last row of each run, the entries checked first, trained in one sweep."""
    rates = {
        name: float(peak) * factors(schedule, peak, updates)
        for name, (schedule, peak) in entries.items()
    }
    schedules = {name: rate.__getitem__ for name, rate in rates.items()}
    task = {**_task(), "peaks": [1.0], "seeds": seeds, "steps": updates, "every": updates}
    ends = final(sweep(schedules=schedules, **task))
    if "test_loss" not in ends:
        return ends.assign(test_loss=np.nan)  # not one run lived to be tested
    assert as_planned(ends, schedules), "planned is not recorded"
    return ends


def losses(
    entries: Mapping[str, tuple[Plan, float]], *, updates: int = UPDATES, seed: int = 0
) -> pd.DataFrame:
    """The loss at the end of many entries: a row a seed, open ones first; a column an entry.

    Args:
        entries: name → (schedule, peak).
        updates, seed: as for `baselines`.

    Returns:
        Test losses in nats, missing where a run diverged.
    """
    seeds = list(baselines(updates, seed).ends.index)
    ends = _trained(entries, seeds, updates)
    return ends.pivot(index="seed", columns="schedule", values="test_loss")[list(entries)]


@dataclass(frozen=True, eq=False)
class Score:
    """What an entry reached, beside the baselines on the same seeds.

    Attributes:
        name: of the entry.
        peak: its peak rate.
        factors: of its schedule, at each update.
        losses: test loss in nats, by seed; missing where the run diverged.
        diverged: seed → the update at which its run was lost.
        rivals: the baselines' losses: a row a seed, a column a baseline.
        best: the baseline that won on the tuning seeds; comparisons are with this one.
        held_back: whether these are the seeds that were held back.
        seed: which race.
    """

    name: str
    peak: float
    factors: FloatArray
    losses: pd.Series
    diverged: dict[int, int]
    rivals: pd.DataFrame
    best: str
    held_back: bool
    seed: int

    def difference(self, baseline: str | None = None) -> Difference:
        """By how many per cent the entry ends above a baseline, seed by seed: mean ± SE.

        Raises:
            ValueError: no baseline has that name, or runs diverged: a mean of the others would
                make a bad entry look good.
        """
        name = self.best if baseline is None else baseline
        if name not in self.rivals:
            refuse("baseline", name, f"one of {', '.join(self.rivals)}")
        if self.diverged:
            at = ", ".join(f"seed {seed} at update {t}" for seed, t in self.diverged.items())
            raise ValueError(
                f"{len(self.diverged)} of {len(self.losses)} runs diverged ({at}), and the mean "
                "of those that are left is no score: try a smaller peak, or a warmup"
            )
        return above(self.losses, self.rivals[name])

    def __str__(self) -> str:
        if self.diverged:
            return f"{self.name}: {len(self.diverged)} of {len(self.losses)} runs diverged"
        kind = "held-back" if self.held_back else "open"
        difference = self.difference()
        return (
            f"{self.name}: {difference.mean:+.2f} ± {difference.se:.2f} % of {self.best}, "
            f"{len(self.losses)} {kind} seeds"
        )

    def _row(self) -> dict[str, Any]:
        difference = Difference(math.nan, math.nan, 0) if self.diverged else self.difference()
        return {
            **_key(self.name, self.peak * self.factors, self.held_back, self.seed),
            "peak": self.peak,
            "loss": float(self.losses.mean(skipna=False)),
            "above": self.best,
            "per_cent": difference.mean,
            "se": difference.se,
            "diverged": len(self.diverged),
        }


def _key(name: str, rates: FloatArray, held_back: bool, seed: int) -> dict[str, str]:
    """What tells one entry from another: the race, the rates, the kind of seeds, the name."""
    race = [len(rates), seed, python_text().x_test, torch.__version__]
    return {
        "race": fingerprint(race),
        "plan": fingerprint([rates]),
        "seeds": "held-back" if held_back else "open",
        "name": name,
    }


_COLUMNS = ["race", "plan", "seeds", "name", "peak", "loss", "above", "per_cent", "se", "diverged"]


class Board:
    """A leaderboard: in memory, or in the file `leaderboard.csv` of a folder that you name.

    The same plan again takes the place of its older row. Each race (length, seed, text, version of
    PyTorch) takes one plan on its held-back seeds.

    Args:
        folder: made when the first row is written; None keeps the board in memory.

    Raises:
        ValueError: the folder's file is not a leaderboard.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self._path = None if folder is None else Path(folder) / "leaderboard.csv"
        self._rows: list[dict[str, Any]] = []
        if self._path is None or not self._path.exists():
            return
        try:
            texts = {"race": str, "plan": str, "name": str}
            self._rows = pd.read_csv(self._path, dtype=texts)[_COLUMNS].to_dict("records")
        except (KeyError, ValueError, OSError) as error:
            why = str(error).splitlines()[0]
            raise ValueError(f"{self._path} is no leaderboard, move it away: {why}") from error

    def post(self, score: Score) -> None:
        """Add a score; the file is written whole or not at all.

        Raises:
            ValueError: another plan was final in this race, or another plan has this name.
        """
        row = score._row()
        self._refuse(row)
        key = itemgetter("race", "plan", "seeds")
        rows = [*(old for old in self._rows if key(old) != key(row)), row]
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with write_whole(self._path) as part:
                pd.DataFrame(rows, columns=_COLUMNS).to_csv(part, index=False)
        self._rows = rows

    def _refuse(self, row: Mapping[str, Any]) -> None:
        for old in self._rows:
            if old["race"] != row["race"] or old["plan"] == row["plan"]:
                continue
            if old["name"] == row["name"]:
                raise ValueError(f"another plan is called {row['name']!r}: choose another name")
            if old["seeds"] == row["seeds"] == "held-back":
                raise ValueError(
                    f"{old['name']!r} was the final entry. A second one would make the held-back "
                    "seeds open ones: take another seed for a new race"
                )

    def table(self) -> pd.DataFrame:
        """The rows, best first; entries of which a run diverged stand last."""
        rows = pd.DataFrame(self._rows, columns=_COLUMNS).drop(columns=["race", "plan"])
        return rows.sort_values(["diverged", "per_cent"], kind="stable", ignore_index=True)


def score(
    schedule: Plan,
    peak: float,
    *,
    name: str = "entry",
    updates: int = UPDATES,
    seed: int = 0,
    held_back: bool = False,
    board: Board | None = None,
) -> Score:
    """Train an entry on eight seeds beside the tuned baselines, and post it on the board.

    Args:
        schedule: the factor of the peak rate at update t = 0, 1, …: a schedule of the course, any
            composition of them, or any function.
        peak: the peak rate.
        name: what the board calls it.
        updates, seed: as for `baselines`, which are computed at the first call.
        held_back: train on the seeds that were held back: once, when the choice is made.
        board: where to post the score; None posts it nowhere.

    Raises:
        TypeError, ValueError: what `factors` and `Board.post` refuse, before any training.
    """
    if not isinstance(name, str) or not name.strip() or "\n" in name or name in BASELINES:
        refuse("name", name, "one line of text that is no baseline's name")
    check_argument("updates", updates, whole_number(100, 3000))
    used = factors(schedule, peak, updates)
    if board is not None:
        board._refuse(_key(name, float(peak) * used, held_back, seed))
    known = baselines(updates, seed)
    rivals = known.ends.iloc[SEEDS:] if held_back else known.ends.iloc[:SEEDS]
    ends = _trained({name: (schedule, peak)}, list(rivals.index), updates).set_index("seed")
    lost = {int(s): int(t) for s, t in ends["diverged_at"].dropna().items()}
    best = str(known.best["mean"].idxmin())
    made = Score(name, float(peak), used, ends["test_loss"], lost, rivals, best, held_back, seed)
    if board is not None:
        board.post(made)
    return made


def cited(*claims: tuple[str, str]) -> None:
    """Print claims of other chapters with what they measured, as docs/claims.md lists them.

    Args:
        *claims: (number of the chapter, the claim's words).

    Raises:
        ValueError: some are not in the list, all of them named: a guide must not outlive its
            evidence.

    >>> cited(("04", "At the end it is higher"))
    04 · At the end it is higher
    """
    known: dict[tuple[str, str], str] = {}
    chapter = ""
    for line in (ROOT / "docs" / "claims.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            chapter = line.removeprefix("## [")[:2]
        elif line.startswith("| "):
            text, figures, where = (c.replace("\\", "").strip() for c in line[1:].split(" | ")[:3])
            of = where[1:3] if text.startswith("“") else chapter  # myths stand together, in front
            known[of, text.strip("“”")] = figures
    missing = [f"{chapter}: {text}" for chapter, text in claims if (chapter, text) not in known]
    if missing:
        raise ValueError(f"docs/claims.md does not hold: {'; '.join(missing)}")
    for chapter, text in claims:
        figures = known[chapter, text]
        print(f"{chapter} · {text}" + (f"  [measured: {figures}]" if figures else ""))
