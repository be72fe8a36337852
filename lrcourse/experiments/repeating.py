"""A few runs of a recorded comparison again, live, to see it happen beside what was recorded."""

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from lrcourse.arguments import check_argument
from lrcourse.data import sympy_digest
from lrcourse.experiments.declared import SCALES, Part
from lrcourse.experiments.questions import EXPERIMENTS
from lrcourse.experiments.recordings import Recording
from lrcourse.experiments.tasks import task, trained
from lrcourse.sweeps import final

__all__ = ["FARTHEST", "declared", "repeat", "run_again"]

FARTHEST = 5
"""Standard errors that a live mean may lie from the recorded one before something is broken."""


def repeat(
    recording: Recording, schedules: Sequence[str], *, seeds: Iterable[int], part: str = "one"
) -> pd.DataFrame:
    """Train some recorded schedules again, at their recorded best peaks, with other seeds.

    Few seeds settle nothing; a verdict comes from the recording alone. But the means must agree.

    Args:
        recording: of which experiment.
        schedules: names of schedules of that part.
        seeds: which runs, at least two.
        part: of the recording.

    Returns:
        Test losses in nats at the end: a row a seed, a column a schedule.

    Raises:
        RuntimeError: a mean lies more than `FARTHEST` standard errors, by the recording's own
            spread, from the recorded one, though the text is the same: something is broken.
    """
    tuned = recording.about["parts"][part]["tuned"]
    for name in schedules:
        check_argument("a schedule", name, Literal[tuple(tuned)])
    chosen = declared(recording, part).schedules
    entries = {name: (chosen[name], tuned[name]) for name in schedules}
    live = run_again(recording, entries, seeds=seeds, part=part)
    recorded = recording.ends(part)[list(schedules)]
    error = recorded.std() * sqrt(1 / len(recorded) + 1 / len(live))
    far = (live.mean() - recorded.mean()).abs() / error
    if (far > FARTHEST).any():
        name = str(far.idxmax())
        said = (
            f"{name!r} ends at {live[name].mean():.3f} nats on {len(live)} seeds, recorded are "
            f"{recorded[name].mean():.3f}: {far.max():.0f} standard errors away"
        )
        if recording.about["corpus"]["digest"] == sympy_digest():
            raise RuntimeError(said)
        print(f"Another version of sympy is installed here, and {said}.")
    return live


def run_again(
    recording: Recording,
    entries: Mapping[str, tuple[Any, float]],
    *,
    seeds: Iterable[int],
    part: str = "one",
) -> pd.DataFrame:
    """Train any schedules as the runs of a recording were trained.

    Args:
        recording: of which experiment.
        entries: name → (schedule, peak rate).
        seeds: which runs.
        part: of the recording.

    Returns:
        Test losses in nats at the end, missing where a run diverged: a row a seed, a column an
        entry.
    """
    as_recorded = declared(recording, part)
    known = task(as_recorded, torch.device("cpu"))
    rows = trained(
        peaks={name: [float(peak)] for name, (_, peak) in entries.items()},
        schedules={name: schedule for name, (schedule, _) in entries.items()},
        seeds=seeds,
        **known | {"steps": as_recorded.steps, "every": as_recorded.steps},
    )
    ends = final(rows).pivot(index="seed", columns="schedule", values="test_loss")
    return ends[list(entries)].rename_axis(columns=None).replace(np.inf, np.nan)


def declared(recording: Recording, part: str = "one") -> Part:
    """The declaration that a part of a recording was run by."""
    experiment, scale = recording.about["experiment"], recording.about["scale"]
    return EXPERIMENTS[experiment].parts(SCALES[scale])[part]
