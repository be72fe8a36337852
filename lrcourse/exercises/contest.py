"""Open exercises: train something better than a baseline within the same number of updates.

An entry is a function of the update's number that gives the rate itself. It is trained beside the
baseline on seeds that are drawn from the entry, so that nobody has seen them: whoever changes the
entry to please the last seeds gets others. The same entry always gets the same.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lrcourse.evidence import Difference, Finding, above, measured
from lrcourse.exercises.engine import Hints, on_the_board
from lrcourse.experiments.recordings import Recording, read_recording
from lrcourse.experiments.repeating import declared, run_again
from lrcourse.files import fingerprint, write_whole

__all__ = ["Contest", "rates_of"]

PAIRS = 16
MARK = ".made.json"  # lies in the folder of a learner's copies, where a board is kept


@dataclass(frozen=True)
class Contest:
    """What an entry is compared with, and how it is trained.

    Attributes:
        name: of the exercise.
        experiment: whose recording says how runs are trained, and at which peak the baseline is.
        baseline: one of its schedules.
        part: of the recording.
        pairs: runs of each that are compared; fewer where a run is long and effects are large.
    """

    name: str
    experiment: str
    baseline: str
    part: str = "one"
    pairs: int = PAIRS

    @property
    def recording(self) -> Recording:
        """The small one also where a GPU has made a larger: an entry is trained on the CPU."""
        return read_recording(self.experiment, "cpu")

    def judge(self, entry: Any) -> Hints:
        """Train an entry and put it on the board; hints unless it ends lower, for sure."""
        rates = yield from rates_of(entry, declared(self.recording, self.part).steps)
        peak = rates.max()
        return (yield from self.race(lambda t: float(rates[t] / peak), peak, name_of(rates)))

    def race(self, schedule: Any, peak: float, name: str) -> Hints:
        """Train a schedule, or what listens, at a peak; `name` draws the seeds."""
        entries = {"entry": (schedule, peak), "base": self.tuned}
        ends = run_again(self.recording, entries, seeds=self.seeds(name), part=self.part)
        times, doubt = peak / self.tuned[1], ""
        if times >= 10:
            doubt = f" The largest rate, {peak:g}, is {times:.0f} times that of {self.baseline}: "
            doubt += "give the rate itself, not a share of a peak."
        return (yield from self.place(ends, name, doubt))

    @property
    def tuned(self) -> tuple[Any, float]:
        """The baseline's schedule, and its recorded best peak."""
        recording = self.recording
        peak = recording.about["parts"][self.part]["tuned"][self.baseline]
        return declared(recording, self.part).schedules[self.baseline], peak

    def seeds(self, name: str) -> range:
        """The seeds that the name of an entry draws: far from all that tune or teach."""
        first = 10_000 + int(name[:6], 16)
        return range(first, first + self.pairs)

    def place(self, ends: pd.DataFrame, name: str, doubt: str = "") -> Hints:
        """Put an entry on the board by its test losses beside the baseline's, "entry" and "base";
        hints unless it ends lower, for sure, with the `doubt` that there is about its rates.
        """
        lost = int(ends["entry"].isna().sum())
        if lost:
            yield f"{lost} of {self.pairs} runs diverged: the highest rate is too high.{doubt}"
        difference = above(ends["entry"], ends["base"])
        margin = self.recording.about["margin"]
        found = Finding(f"entry instead of {self.baseline}", difference, margin)
        place, count = post(self.name, name, difference)
        mean, (low, high) = difference.mean, difference.interval
        if not found.verdict.startswith("lower"):
            yield (
                f"Against {self.baseline} it ends {mean:+.2f} % (95 %: {low:+.2f} … {high:+.2f}) "
                f"on {self.pairs} new seeds: {found.verdict}. Place {place} of {count} on your "
                f"board.{doubt}"
            )
        return measured(
            test_loss_lower_by=f"{-mean:.2f} % (95 %: {-high:.2f} … {-low:.2f})",
            place=f"{place} of {count}",
        )


def rates_of(entry: Any, steps: int) -> Hints:
    """The rates of an entry; hints where they are none. (Nothing behind a hint is run.)"""
    if not callable(entry):
        yield "A function is asked for: of t, the number of updates made, to the rate."
    rates = np.array([entry(t) for t in range(steps)], dtype=float)
    bad = np.flatnonzero(~(np.isfinite(rates) & (rates >= 0)))
    if len(bad):
        yield f"At t = {bad[0]} the rate is {rates[bad[0]]:g}: it must be a number from 0 on."
    if not rates.any():
        yield "Every rate is 0, so nothing is learned."
    return rates


def name_of(rates: np.ndarray) -> str:
    """A short name for these rates, whatever the last digits of a cosine are on this machine."""
    return fingerprint([f"{rates.max():.6g}", np.round(rates / rates.max(), 6)])


def post(name: str, entry: str, difference: Difference) -> tuple[int, int]:
    """Put an entry on the board of an exercise; gives its place, and how many there are.

    The board is a file in the folder of a learner's copies, and elsewhere it has one entry. A
    solution of the course is only compared with what stands there.
    """
    row = {"entry": entry, "per_cent": difference.mean, "se": difference.se}
    rows = pd.DataFrame([row])
    if Path(MARK).exists():
        path = Path("boards") / f"{name.replace(' ', '_')}.csv"
        if path.exists():
            rows = pd.concat([pd.read_csv(path), rows]).drop_duplicates("entry", keep="last")
        rows = rows.sort_values("per_cent", ignore_index=True)
        if on_the_board.get():
            path.parent.mkdir(exist_ok=True)
            with write_whole(path) as part:
                rows.to_csv(part, index=False)
    return int((rows["entry"] == row["entry"]).to_numpy().argmax()) + 1, len(rows)
