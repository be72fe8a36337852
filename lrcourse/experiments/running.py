"""How a declared experiment is run: every grid through `sweep`, and its provenance written down."""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import joblib
import numpy as np
import pandas as pd
import torch
from torch.optim import AdamW

from lrcourse.arguments import check_argument, whole_number
from lrcourse.data import Corpus, corpus
from lrcourse.experiments.declared import EXPERIMENTS, SCALES, Grid, Scale
from lrcourse.experiments.recordings import Recording, provenance, write_recording
from lrcourse.machine import device, device_name
from lrcourse.models import GPT, next_token_loss
from lrcourse.sweeps import sweep

__all__ = ["run_experiment"]


def run_experiment(
    name: str,
    scale: str = "cpu",
    *,
    steps: int | None = None,
    seeds: int | None = None,
    folder: Path | None = None,
) -> Recording:
    """Run one experiment, on the GPU where there is one; record it where `folder` is given.

    On a CPU, chunks of runs go to as many processes as there are cores.

    Args:
        name: one of `EXPERIMENTS`.
        scale: one of `SCALES`.
        steps: updates of a run, at least 20; without, what the scale says.
        seeds: how many, at least 2; without, what the scale says.
        folder: where to write the recording.

    Raises:
        ValueError: an unknown name or scale, or too few steps or seeds.
    """
    names, scales = tuple(EXPERIMENTS), tuple(SCALES)
    check_argument("name", name, Literal[names])
    check_argument("scale", scale, Literal[scales])
    size = SCALES[scale]
    steps = size.steps if steps is None else steps
    seeds = size.seeds if seeds is None else seeds
    check_argument("steps", steps, whole_number(20))
    check_argument("seeds", seeds, whole_number(2))
    size = replace(size, steps=steps, seeds=seeds)
    where, experiment = device(), EXPERIMENTS[name]
    vocabulary = size.model["vocabulary"]
    text = corpus(context=size.context, vocabulary=vocabulary, limit=size.limit).to(where)
    grids = experiment.grids(size)
    began = time.perf_counter()
    frames = [_train(grid, size, range(seeds), text, where) for grid in grids]
    seconds = time.perf_counter() - began
    runs = [len(grid.schedules) * len(grid.peaks) * seeds for grid in grids]
    updates = sum(count * grid.steps for count, grid in zip(runs, grids, strict=True))
    told = [vars(g) | {"schedules": {n: repr(s) for n, s in g.schedules.items()}} for g in grids]
    about = provenance(
        experiment=name,
        scale=scale,
        asks=experiment.asks,
        source=experiment.source,
        command=f"python -m lrcourse.experiments run {name} --scale {scale} "
        f"--steps {steps} --seeds {seeds}",
        device=device_name(where),
        seconds=round(seconds, 1),
        runs=sum(runs),
        tokens=size.tokens * updates,
        tokens_per_second=round(size.tokens * updates / seconds),
        corpus={
            "what": "the standard library of the Python named below",
            "tokens": len(text.train),
        },
        configuration={"scale": asdict(size), "parts": told},
    )
    recording = Recording(pd.concat(frames, ignore_index=True), about)
    if folder is not None:
        write_recording(recording, name, scale, folder)
    return recording


def _train(
    grid: Grid, size: Scale, seeds: Iterable[int], text: Corpus, where: torch.device
) -> pd.DataFrame:
    arguments = {**size.model, "context": size.context, **grid.model}
    # One core a process: models this small gain nothing from two, and two of them gain all.
    with joblib.parallel_config(n_jobs=os.cpu_count() if where.type == "cpu" else 1):
        frame = sweep(
            partial(_model, arguments, where),
            partial(text.batches, size.batch),
            peaks=grid.peaks,
            seeds=seeds,
            steps=grid.steps,
            schedules=grid.schedules,
            optimizer=AdamW,
            betas=(0.9, 0.95),
            weight_decay=0.1,
            clip=1.0,
            loss=next_token_loss,
            evaluate=text.score,
            every=grid.every or grid.steps,
            bf16=where.type == "cuda",
            chunk=size.chunk,
        )
    frame["uniform_loss"] = np.log(arguments["vocabulary"])
    return frame.drop(columns=["betas", "weight_decay"], errors="ignore").assign(**grid.labels)


def _model(arguments: Mapping[str, Any], where: torch.device, seed: int) -> GPT:
    return GPT(**arguments, seed=seed).to(where)
