"""How a declared experiment is run, part by part, and recorded.

Each part goes through `comparison.compare`, so that the protocol is the course's own, and is
written down as soon as it is finished: a run that is killed loses one part at most, and the next
one goes on where it stopped.
"""

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import joblib
import pandas as pd
import psutil
import torch

from lrcourse.arguments import check_argument
from lrcourse.data import sympy_digest
from lrcourse.experiments.declared import SCALES, Listener, Part
from lrcourse.experiments.questions import EXPERIMENTS
from lrcourse.experiments.recordings import FOLDER, Recording, provenance, read_recording
from lrcourse.experiments.tasks import build_model, evaluate, task, trained, windows
from lrcourse.machine import device, device_name
from lrcourse.sweeps import stacks, sweep
from tools.record.comparison import compare
from tools.record.writing import as_written, write_recording

__all__ = ["FIRST", "estimate", "run_experiment"]

FIRST = 100
"""Updates after which each run's loss is kept, so that a check can repeat them."""

_COLUMNS = ["schedule", "peak", "seed", "step", "rate", "loss", "validation_loss", "test_loss"]
_COLUMNS += ["diverged_at"]


def run_experiment(
    name: str,
    scale: str = "cpu",
    *,
    part: str | None = None,
    minutes: float | None = None,
    folder: Path = FOLDER,
    tell: Callable[[str], None] = print,
) -> Recording:
    """Run what is missing of an experiment, on the GPU where there is one, and record it.

    On a CPU, chunks of runs go to as many processes as there are cores, or to where
    `joblib.parallel_config` sends them: a Dask cluster, say.

    Args:
        name: one of `EXPERIMENTS`.
        scale: one of the experiment's scales.
        part: this part alone, and anew; without, all that are not yet recorded as declared.
        minutes: how many there are; a part whose estimate is longer is not begun.
        folder: where the recording is, or will be.
        tell: hears what goes on, a sentence at a time.

    Raises:
        ValueError: an unknown name, scale or part, or a part would not fit into `minutes`, or into
            the memory that is free.
    """
    check_argument("name", name, Literal[tuple(EXPERIMENTS)])
    experiment = EXPERIMENTS[name]
    check_argument("scale", scale, Literal[tuple(experiment.scales)])
    parts = experiment.parts(SCALES[scale])
    if part is not None:
        check_argument("part", part, Literal[tuple(parts)])
    began, where = time.perf_counter(), device()
    recording = _recorded(name, scale, folder)
    for title, declared in parts.items():
        known = recording.about["parts"].get(title, {}) if recording else {}
        if (part or title) != title or (
            part is None and known.get("declared") == as_written(declared.told)
        ):
            continue
        seconds, memory = estimate(declared, where)
        tell(f"{name}, {title}: about {seconds / 60:.1f} min and {memory:.1f} GB")
        left = (minutes or float("inf")) - (time.perf_counter() - began) / 60
        for needed, there, unit in ((seconds / 60, left, "min"), (memory, _room(where), "GB")):
            if needed > there:
                needs = f"about {needed:.1f} {unit}, and {there:.1f} are left"
                raise ValueError(f"{title} of {name} needs {needs}: not begun")
        frame, about = _run(declared, where)
        tell(f"{name}, {title}: {about['seconds'] / 60:.1f} min")
        frame.insert(0, "part", title)
        frames, told = [frame], {title: about}
        if recording:  # what is no longer declared goes
            old = recording.frame
            kept = [t for t in recording.about["parts"] if t in parts and t != title]
            frames = [*(old[old["part"] == t] for t in kept), frame]
            told = {t: recording.about["parts"][t] for t in kept} | told
        recording = Recording(pd.concat(frames, ignore_index=True), _about(name, scale, told))
        write_recording(recording, name, scale, folder)
    assert recording is not None  # there is a part, and it was run or read
    about = _about(name, scale, recording.about["parts"])
    if as_written(about)["contrasts"] != recording.about["contrasts"]:  # other questions, same runs
        recording = Recording(recording.frame, about)
        write_recording(recording, name, scale, folder)
    return recording


def _about(name: str, scale: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    """What a recording says of itself, beside its parts."""
    experiment = EXPERIMENTS[name]
    asked = experiment.contrasts(experiment.parts(SCALES[scale]))
    return {
        "experiment": name, "scale": scale, "asks": experiment.asks, "source": experiment.source,
        "margin": experiment.margin, "contrasts": [vars(contrast) for contrast in asked],
        "command": f"python -m tools.record run {name} --scale {scale}",
        "corpus": {"what": "the source of sympy", "digest": sympy_digest()}, "parts": parts,
    }  # fmt: skip


def _recorded(name: str, scale: str, folder: Path) -> Recording | None:
    try:
        return read_recording(name, scale, folder)
    except FileNotFoundError:
        return None


def _run(part: Part, where: torch.device) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Run a part by the protocol; its rows, and how it was run."""
    began = time.perf_counter()
    with joblib.parallel_config(n_jobs=_processes(where)):
        result = compare(
            **task(part, where), schedules=dict(part.schedules), peaks=part.peaks, steps=part.steps,
            value="test_loss", validate=partial(evaluate, part, where, False),
            tuning=part.tuning, pairs=part.seeds, trained=trained,
        )  # fmt: skip
    seconds = time.perf_counter() - began
    phases = {"tuning": result.tuning, "compared": result.compared}
    # Of the tuning runs the ends are kept, and what a check repeats; of the others, the curve.
    keep = result.tuning["step"].isin([FIRST, part.steps])
    phases["tuning"] = result.tuning[keep]
    columns = _COLUMNS + [name for name in result.compared if name == "sympy_loss"]
    frame = pd.concat(
        [rows.reindex(columns=columns).assign(phase=phase) for phase, rows in phases.items()],
        ignore_index=True,
    )
    runs = sum(rows.groupby(["schedule", "peak", "seed"]).ngroups for rows in phases.values())
    updates = runs * part.steps
    about = provenance(
        declared=part.told,
        tuned={name: float(peak) for name, peak in result.best["optimum"].items()},
        path="stacked" if stacks(build_model(part, where, 0)) else "plain",
        device=device_name(where),
        seconds=round(seconds, 1),
        runs=runs,
        updates_per_second=round(updates / seconds),
    )
    return frame, about


def _processes(where: torch.device) -> int | None:
    """One core a process: models this small gain nothing from two, and two of them gain all."""
    return os.cpu_count() if where.type == "cpu" else 1


def _room(where: torch.device) -> float:
    """Gigabytes that are free on a device."""
    if where.type == "cuda":
        return torch.cuda.mem_get_info(where)[0] / 1e9
    return psutil.virtual_memory().available / 1e9


def estimate(part: Part, where: torch.device) -> tuple[float, float]:
    """Seconds and gigabytes that a part will take, from its own first 20 updates.

    Evaluations are counted as updates of their length that only go forward. On a CPU the memory is
    that of weights, gradients and averages; on a GPU, what the first updates had at their peak.
    """
    first = 20
    known: dict[str, Any] = task(part, where) | {"every": first, "evaluate": None}
    schedules = [s for s in part.schedules.values() if not isinstance(s, Listener)][:1]
    known |= {"peaks": part.peaks[:1], "schedules": {"one": schedules[0]}, "steps": first}
    weights = sum(p.numel() for p in build_model(part, where, 0).parameters())
    runs = len(part.schedules) * (len(part.peaks) * part.tuning + part.seeds)
    together = part.chunk or part.seeds
    sweep(**known, seeds=range(1))  # what is only done once, is done
    began = time.perf_counter()
    sweep(**known, seeds=range(together))
    each = (time.perf_counter() - began) / together / first
    forward = windows(part) / part.batch / 3 / part.every
    seconds = runs * part.steps * each * (1 + forward) / (_processes(where) or 1)
    memory = 5 * 4 * weights * together / 1e9
    if where.type == "cuda":
        memory = torch.cuda.max_memory_allocated(where) / 1e9
    return seconds, memory
