"""How a recording is checked: whether it holds together, and by running some of it again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch

from lrcourse.arguments import check_argument
from lrcourse.data import sympy_digest
from lrcourse.experiments.declared import SCALES, Listener, Part
from lrcourse.experiments.questions import EXPERIMENTS
from lrcourse.experiments.recordings import FOLDER, Recording, read_recording
from lrcourse.experiments.tasks import task, trained
from lrcourse.sweeps import final
from tools.record.comparison import as_planned, best
from tools.record.running import FIRST
from tools.record.writing import as_written

__all__ = ["TOLERANCE", "recheck"]

TOLERANCE = 1e-3
"""How far a repeated loss may lie from the recorded one, as a share of it: another processor adds
in another order, and a hundred updates carry that on."""


def recheck(
    name: str, scale: str = "cpu", *, whole: bool = False, folder: Path = FOLDER, draw: int = 0
) -> list[str]:
    """Check a recording: that it holds together, and that its runs come out again.

    The declaration must be today's, the text the recorded one, each peak the one that the tuning
    runs choose, each rate the planned one. Then the first hundred updates of drawn runs, one of
    each part, are repeated by the recorded path.

    Args:
        name, scale, folder: of the recording.
        whole: repeat all runs in place of some.
        draw: which runs are drawn.

    Returns:
        What is wrong, a sentence each: empty where nothing is.
    """
    check_argument("name", name, Literal[tuple(EXPERIMENTS)])
    recording = read_recording(name, scale, folder)
    if recording.about["corpus"]["digest"] != sympy_digest():
        return [f"{name}: this sympy is not the one it was recorded with (constraints.txt pins it)"]
    parts = EXPERIMENTS[name].parts(SCALES[scale])
    missing = parts.keys() - recording.about["parts"].keys()
    wrong = [f"{name}: {title} is declared and not recorded" for title in sorted(missing)]
    contrasts = [vars(c) for c in EXPERIMENTS[name].contrasts(parts)]
    if as_written(contrasts) != recording.about["contrasts"]:
        wrong.append(f"{name}: the contrasts were declared otherwise when it was recorded")
    for title, about in recording.about["parts"].items():
        said = f"{name}, {title}: "
        if title not in parts or as_written(parts[title].told) != about["declared"]:
            wrong.append(said + "it was declared otherwise when it was recorded")
            continue
        wrong += [said + one for one in _inconsistent(parts[title], recording, title)]
        wrong += [said + one for one in _repeated(parts[title], recording, title, whole, draw)]
    return wrong


def _inconsistent(part: Part, recording: Recording, title: str) -> Iterator[str]:
    """What a recording says against itself."""
    tuning, compared = (recording.rows(phase, title) for phase in ("tuning", "compared"))
    optimum = best(final(tuning), "validation_loss")["optimum"]
    for schedule, rows in compared.groupby("schedule", sort=False):
        if rows["seed"].nunique() != part.seeds:
            yield f"{schedule} has {rows['seed'].nunique()} seeds, {part.seeds} are declared"
        if not np.allclose(rows["peak"], optimum[schedule], rtol=1e-4):
            yield f"{schedule} ran at {rows['peak'].iloc[0]:g}, tuned is {optimum[schedule]:g}"
    plans = {n: s for n, s in part.schedules.items() if not isinstance(s, Listener)}
    if not as_planned(compared[compared["schedule"].isin(plans)], plans):
        yield "a run used another rate than its schedule and peak ask for"


def _repeated(
    part: Part, recording: Recording, title: str, whole: bool, draw: int
) -> Iterator[str]:
    """Runs whose first updates do not come out again."""
    known = task(part, torch.device("cpu")) | {"steps": FIRST, "evaluate": None}
    known["stacked"] = recording.about["parts"][title]["path"] == "stacked"
    rows = pd.concat([recording.rows(phase, title) for phase in ("tuning", "compared")])
    rows = rows[(rows["step"] == FIRST) & rows["loss"].notna()]
    drawn = rows if whole else rows.sample(1, random_state=draw)
    for (schedule, peak), runs in drawn.groupby(["schedule", "peak"], sort=False):
        plans = {str(schedule): part.schedules[str(schedule)]}
        again = trained(peaks=[float(peak)], seeds=runs["seed"], schedules=plans, **known)
        again = again[again["step"] == FIRST]
        both = runs.merge(again, on="seed", suffixes=("", "_again"))
        far = ~np.isclose(both["loss"], both["loss_again"], rtol=TOLERANCE)
        for one in both[far].itertuples():
            yield (
                f"{schedule} at {peak:g}, seed {one.seed}: loss over the first {FIRST} updates "
                f"{one.loss_again:.5f}, recorded is {one.loss:.5f}"
            )
