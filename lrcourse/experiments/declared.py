"""The Transformer experiments: declared once, run small on a laptop or large on a GPU, recorded.

    python -m lrcourse.experiments list
    python -m lrcourse.experiments run NAME [--scale cpu|gpu] [--steps N] [--seeds N]

Each experiment is a handful of parts: runs that differ in schedule, peak rate and seed alone. It
ends with findings: a published sentence each, and whether these runs bear it out.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
from torch.optim import AdamW

from lrcourse.comparison import best
from lrcourse.data import Corpus, corpus
from lrcourse.evidence import Difference, above, measured, paired
from lrcourse.experiments.recordings import FOLDER, Recording, provenance, save
from lrcourse.machine import device
from lrcourse.models import GPT, next_token_loss
from lrcourse.schedules import Cosine, Linear, OneMinusSqrt, Schedule, Warmup, plan, wsd
from lrcourse.sweeps import final, sweep

__all__ = ["EXPERIMENTS", "SCALES", "Experiment", "Finding", "Part", "Scale", "run", "tuned"]


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Attributes:
        model: arguments of `GPT`.
        context: tokens in a window.
        batch: windows in a minibatch.
        steps: updates of a run, unless the command or the experiment says otherwise.
        peaks: peak rates to search, a factor of 2 apart.
        seeds: how many, unless the command says so.
        chunk: runs trained at once.
        ratios: training tokens per parameter, from few to many, where the run's length is at issue.
        limit: bytes of text at most; None takes all there is.
    """

    name: str
    model: Mapping[str, Any]
    context: int
    batch: int
    steps: int
    peaks: Sequence[float]
    seeds: int
    chunk: int
    ratios: Sequence[float] = (20, 80, 200)
    limit: int | None = 2_000_000

    @property
    def tokens(self) -> int:
        """Tokens in an update."""
        return self.batch * self.context

    @property
    def warmup(self) -> int:
        """A tenth of the run, unless the experiment is about warmup."""
        return self.steps // 10


def _peaks(low: float, count: int) -> list[float]:
    return [round(low * 2**i, 6) for i in range(count)]


SCALES = {
    "cpu": Scale(
        "cpu", {"vocabulary": 128, "layers": 2, "heads": 2, "width": 32},
        context=32, batch=8, steps=400, peaks=_peaks(0.003, 5), seeds=2, chunk=10,
    ),
    "gpu": Scale(
        "gpu", {"vocabulary": 256, "layers": 6, "heads": 6, "width": 192},
        context=128, batch=32, steps=1500, peaks=_peaks(0.0005, 6), seeds=3, chunk=36,
        limit=None,  # long runs should not read the same text many times
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """Runs that differ in schedule, peak and seed alone.

    Attributes:
        schedules: name → factor of the peak rate.
        peaks: peak rates.
        steps: updates of each run.
        labels: what tells this part from the others: columns of the recording.
        model: arguments of `GPT` that differ from the scale's.
        every: updates between two rows of a run; 0 for its end alone.
    """

    schedules: Mapping[str, Schedule]
    peaks: Sequence[float]
    steps: int
    labels: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    every: int = 0


@dataclass(frozen=True)
class Finding:
    """A sentence, whether these runs bear it out, and the figures that decide."""

    text: str
    holds: bool
    figures: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{'✔' if self.holds else '✘ not here:'} {self.text}  {measured(**self.figures)}"


@dataclass(frozen=True)
class Experiment:
    """One experiment.

    Attributes:
        asks: its question.
        source: who found what it looks for.
        parts: its runs at a scale.
        findings: the recording's table → what was looked for.
    """

    name: str
    asks: str
    source: str
    parts: Callable[[Scale], list[Part]]
    findings: Callable[[pd.DataFrame], list[Finding]]


def tuned(frame: pd.DataFrame, by: str = "schedule", value: str = "test_loss") -> pd.DataFrame:
    """What each schedule reaches, seed by seed, at the peak that the *other* seeds choose.

    So no seed has a say in the peak it is judged at, and no run is made twice.

    Args:
        frame: one row a run (`sweeps.final`), with columns peak, seed, `by` and `value`.
        by: the column that names what is compared.
        value: the column that is to be low.

    Returns:
        A row a seed, a column a group; missing where that run diverged.

    Raises:
        ValueError: fewer than two seeds, or a best peak on the edge of the grid.
    """
    if frame["seed"].nunique() < 2:
        raise ValueError("frame must hold two seeds or more: one is judged where others tuned")
    ends: dict[str, dict[int, float]] = {}
    for name, rows in frame.groupby(by, sort=False):
        best(rows, value, by)  # refuses a best peak on the edge
        table = rows.pivot(index="seed", columns="peak", values=value)
        ends[str(name)] = {}
        for seed in table.index:
            others = table.drop(index=seed).mean(skipna=False)
            ends[str(name)][seed] = table.loc[seed, others.idxmin()]
    return pd.DataFrame(ends)


def per_cent(ends: pd.DataFrame, a: str, b: str) -> Difference:
    """By how many per cent `a` ends above `b`, seed by seed."""
    both = ends[[a, b]].dropna()
    return above(both[a], both[b])


# The experiments --------------------------------------------------------------------------------


def _schedules(scale: Scale) -> list[Part]:
    names = ("constant", "step", "inverse-sqrt", "linear", "cosine-10%", "cosine", "wsd")
    plans = {
        name: plan(name, scale.steps, warmup=scale.warmup, cooldown=scale.steps // 5)
        for name in names
    }
    return [Part(plans, scale.peaks, scale.steps, every=max(1, scale.steps // 20))]


def _schedules_findings(frame: pd.DataFrame) -> list[Finding]:
    ends = tuned(final(frame))
    decays = ("step", "linear", "cosine-10%", "cosine", "wsd")
    gaps = {name: per_cent(ends, "constant", name) for name in decays}
    optimum = best(final(frame), "test_loss")["optimum"]
    ratio = optimum["cosine"] / optimum["wsd"]
    return [
        Finding(
            "Every decay beats a constant rate by over three standard errors, each tuned",
            all(gap.sigmas > 3 for gap in gaps.values()),
            {f"constant above {name} in %": gap for name, gap in gaps.items()},
        ),
        Finding(
            "The cosine's best peak is 1.3 to 2.2 times WSD's",
            bool(1.3 <= ratio <= 2.2),
            {"ratio": ratio},
        ),
    ]


def _cooldown(scale: Scale) -> list[Part]:
    plans: dict[str, Schedule] = {"cosine": Warmup(scale.warmup) >> Cosine(_rest(scale))}
    for share, shape in product((5, 10, 20, 40), (Linear, OneMinusSqrt)):
        name = f"{'linear' if shape is Linear else '1-sqrt'} {share}%"
        cooldown = scale.steps * share // 100
        plans[name] = wsd(scale.steps, scale.warmup, cooldown, shape=shape)
    return [Part(plans, scale.peaks, scale.steps)]


def _cooldown_findings(frame: pd.DataFrame) -> list[Finding]:
    ends = tuned(final(frame))
    gap = per_cent(ends, "linear 20%", "cosine")
    short = per_cent(ends, "linear 5%", "linear 20%")
    shapes = per_cent(ends, "linear 20%", "1-sqrt 20%")
    return [
        Finding(
            "A constant rate with a linear cooldown over a fifth is within 0.5 % of the cosine",
            abs(gap.mean) <= 0.5,
            {"per cent above the cosine": gap},
        ),
        Finding(
            "A cooldown of 5 % is too short: it ends above one of 20 %",
            short.sigmas > 3,
            {"per cent above": short},
        ),
        Finding(
            "At 20 %, the shape 1 − √ ends below a straight line",
            shapes.sigmas > 3,
            {"line above 1 − √ in %": shapes},
        ),
    ]


def _norms(scale: Scale) -> list[Part]:
    deep = {"layers": 12} | ({"width": 128, "heads": 4} if scale.name == "gpu" else {})
    steps = scale.steps // (1 if scale.name == "gpu" else 3)
    plans: dict[str, Schedule] = {
        "without warmup": Cosine(steps),
        "with warmup": Warmup(steps // 5) >> Cosine(steps - steps // 5),
    }
    low = [scale.peaks[0] / 2**i for i in (4, 3, 2, 1, 0)]  # Post-LN stands no more
    return [
        Part(plans, peaks, steps, {"norm": name}, deep | {"post_ln": name == "Post-LN"})
        for name, peaks in (("Pre-LN", scale.peaks), ("Post-LN", low))
    ]


def _norms_findings(frame: pd.DataFrame) -> list[Finding]:
    ends = final(frame)
    found = []
    for norm, text, holds in (
        ("Post-LN", "Post-LN without warmup ends over 0.3 nat above Post-LN with it", _far_above),
        ("Pre-LN", "Pre-LN without warmup ends less than 0.1 nat above Pre-LN with it", _near),
    ):
        rows = ends[ends["norm"] == norm]
        own = tuned(rows)
        peak = best(rows[rows["schedule"] == "with warmup"], "test_loss")["peak"].item()
        shared = _learned(rows[rows["peak"] == peak]).pivot(
            index="seed", columns="schedule", values="test_loss"
        )
        for which, table in (
            ("each at its own best peak", own),
            ("both at the best peak of the one with it", shared),
        ):
            gap = paired(table["without warmup"], table["with warmup"])
            found.append(Finding(f"{text}, {which}", holds(gap), {"nats": gap}))
    return found


def _far_above(gap: Difference) -> bool:
    return gap.mean > 0.3 and gap.sigmas > 3


def _near(gap: Difference) -> bool:
    return gap.mean < 0.1


def _learned(rows: pd.DataFrame) -> pd.DataFrame:
    """A lost run counts as one that learned nothing: every token as likely as any other."""
    return rows.fillna({"test_loss": rows["uniform_loss"]})


CYCLES = (1.0, 1.25, 1.5, 2.0, 5.0)


def _horizon(scale: Scale) -> list[Part]:
    plans: dict[str, Schedule] = {
        f"{times:g}×": Warmup(scale.warmup) >> Cosine(round(times * _rest(scale)), end=0.1)
        for times in CYCLES
    }
    return [Part(plans, scale.peaks, scale.steps)]


def _horizon_findings(frame: pd.DataFrame) -> list[Finding]:
    ends = tuned(final(frame))
    twice, five = per_cent(ends, "2×", "1×"), per_cent(ends, "5×", "2×")
    quarter = per_cent(ends, "1.25×", "1×")
    return [
        Finding(
            "A cosine twice as long as the run ends 0.5 % or more above a matched one",
            twice.mean >= 0.5 and twice.sigmas > 3,
            {"per cent": twice},
        ),
        Finding(
            "One five times as long ends higher still", five.sigmas > 3, {"per cent above 2×": five}
        ),
        Finding(
            "One a quarter too long already ends higher",
            quarter.sigmas > 3,
            {"per cent": quarter},
        ),
    ]


def _floor(scale: Scale) -> list[Part]:
    small = {"layers": 4, "width": 96, "heads": 3} if scale.name == "gpu" else {
        "layers": 1, "width": 16, "heads": 1
    }  # fmt: skip
    model = GPT(context=scale.context, **{**scale.model, **small})
    weights = sum(p.numel() for p in model.parameters())
    parts = []
    for ratio in scale.ratios:
        steps = round(ratio * weights / scale.tokens)
        warmup = min(100, steps // 10)
        plans: dict[str, Schedule] = {
            "to zero": Warmup(warmup) >> Linear(1, 0, steps - warmup),
            "to a tenth": Warmup(warmup) >> Linear(1, 0.1, steps - warmup),
        }
        parts.append(Part(plans, scale.peaks, steps, {"tokens_per_parameter": ratio}, small))
    return parts


def _floor_findings(frame: pd.DataFrame) -> list[Finding]:
    gaps = {
        ratio: per_cent(tuned(final(rows)), "to a tenth", "to zero")
        for ratio, rows in frame.groupby("tokens_per_parameter")
    }
    few, many = min(gaps), max(gaps)
    growth = gaps[many].mean - gaps[few].mean
    figures = {f"a tenth above zero in %, {r} per parameter": gap for r, gap in gaps.items()}
    return [
        Finding(
            f"At {many} tokens per parameter, decay to zero beats a floor of a tenth",
            gaps[many].sigmas > 3,
            figures,
        ),
        Finding(
            f"Zero gains on the floor from {few} to {many} tokens per parameter",
            bool(growth > 3 * np.hypot(gaps[many].se, gaps[few].se)),
            {"gains in %": growth},
        ),
    ]


def _law(scale: Scale) -> list[Part]:
    names = ("constant", "cosine", "linear", "wsd", "step")
    plans = {
        name: plan(name, scale.steps, warmup=scale.warmup, cooldown=scale.steps // 5)
        for name in names
    }
    peak = scale.peaks[len(scale.peaks) // 2]
    return [Part(plans, [peak], scale.steps, every=max(1, scale.steps // 100))]


def _law_findings(frame: pd.DataFrame) -> list[Finding]:
    curves = frame.pivot_table(index="step", columns="schedule", values="test_loss")
    cooling = curves["constant"].iloc[-1] - curves["wsd"].iloc[-1]
    before = (curves["constant"] - curves["wsd"]).iloc[: len(curves) * 4 // 5].abs().max()
    return [
        Finding(
            "WSD leaves the constant curve only when it cools down, and then falls below it",
            bool(before < cooling / 10 and cooling > 0),
            {"nats before": before, "nats at the end": cooling},
        )
    ]


def _sensitivity(scale: Scale) -> list[Part]:
    peaks = [round(scale.peaks[0] / 2 * 2.5**i, 6) for i in range(7)]
    share = {"1% warmup": 0.01, "10% warmup": 0.1}
    plans: dict[str, Schedule] = {}
    for name, part in share.items():
        warmup = max(1, round(part * scale.steps))
        plans[name] = Warmup(warmup) >> Cosine(scale.steps - warmup)
    return [
        Part(plans, peaks, scale.steps, {"qk_norm": on}, {"qk_norm": on}) for on in (False, True)
    ]


def sensitivity(rows: pd.DataFrame) -> pd.Series:
    """Mean over peaks of min(loss, ℓ₀) − lowest loss, by seed (Wortsman et al., 2023).

    ℓ₀ is the loss of a model that learned nothing; a lost run counts as that.

    Args:
        rows: one row a run of one kind, columns peak, seed, test_loss and uniform_loss.
    """
    start = rows["uniform_loss"].iloc[0]
    table = _learned(rows).pivot(index="seed", columns="peak", values="test_loss")
    return table.clip(upper=start).mean(axis=1) - table.min(axis=1)


def _sensitivity_findings(frame: pd.DataFrame) -> list[Finding]:
    ends = final(frame)
    of = {key: sensitivity(rows) for key, rows in ends.groupby(["qk_norm", "schedule"])}
    by_norm = paired(of[False, "1% warmup"], of[True, "1% warmup"])
    by_warmup = paired(of[False, "1% warmup"], of[False, "10% warmup"])
    return [
        Finding(
            "Normalised queries and keys make the loss less sensitive to the rate",
            by_norm.sigmas > 3,
            {"sensitivity without minus with, nats": by_norm},
        ),
        Finding(
            "A longer warmup makes the loss less sensitive to the rate",
            by_warmup.sigmas > 3,
            {"sensitivity 1% minus 10%, nats": by_warmup},
        ),
    ]


def _rest(scale: Scale) -> int:
    return scale.steps - scale.warmup


EXPERIMENTS = {
    e.name: e
    for e in (
        Experiment(
            "schedules", "Which schedule, at which peak?",
            "Hägele et al. 2024; Defazio et al. 2023", _schedules, _schedules_findings,
        ),
        Experiment(
            "cooldown", "How long should the cooldown be, and which shape?",
            "Hägele et al. 2024", _cooldown, _cooldown_findings,
        ),
        Experiment(
            "norms", "Which Transformers need warmup?",
            "Xiong et al. 2020", _norms, _norms_findings,
        ),
        Experiment(
            "horizon", "What does a cosine that is too long cost?",
            "Hoffmann et al. 2022", _horizon, _horizon_findings,
        ),
        Experiment(
            "floor", "Down to zero, or to a tenth?",
            "Bergsma et al. 2025", _floor, _floor_findings,
        ),
        Experiment(
            "law", "Does the schedule alone give the loss curve?",
            "Tissue et al. 2024", _law, _law_findings,
        ),
        Experiment(
            "sensitivity", "What makes the choice of the rate less delicate?",
            "Wortsman et al. 2023", _sensitivity, _sensitivity_findings,
        ),
    )
}  # fmt: skip


# Running them -----------------------------------------------------------------------------------


def run(
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
    for what, value, known in (("name", name, EXPERIMENTS), ("scale", scale, SCALES)):
        if value not in known:
            raise ValueError(f"{what} must be one of {', '.join(known)}, got {value!r}")
    experiment, size = EXPERIMENTS[name], SCALES[scale]
    steps = size.steps if steps is None else steps
    seeds = size.seeds if seeds is None else seeds
    for what, number, least in (("steps", steps, 20), ("seeds", seeds, 2)):
        if number < least:
            raise ValueError(f"{what} must be at least {least}, got {number}")
    size = replace(size, steps=steps, seeds=seeds)
    where = device()
    vocabulary = size.model["vocabulary"]
    text = corpus(context=size.context, vocabulary=vocabulary, limit=size.limit).to(where)
    parts = experiment.parts(size)
    began = time.perf_counter()
    frames = [_train(part, size, range(seeds), text, where) for part in parts]
    seconds = time.perf_counter() - began
    runs = sum(len(part.schedules) * len(part.peaks) * seeds for part in parts)
    tokens = size.tokens * sum(
        len(part.schedules) * len(part.peaks) * seeds * part.steps for part in parts
    )
    about = provenance(
        experiment=name,
        scale=scale,
        asks=experiment.asks,
        source=experiment.source,
        command=f"python -m lrcourse.experiments run {name} --scale {scale} "
        f"--steps {steps} --seeds {seeds}",
        device=_name(where),
        seconds=round(seconds, 1),
        runs=runs,
        tokens=tokens,
        tokens_per_second=round(tokens / seconds),
        corpus={
            "what": "the standard library of the Python named below",
            "tokens": len(text.train),
        },
        configuration={"scale": asdict(size), "parts": [_told(part) for part in parts]},
    )
    recording = Recording(pd.concat(frames, ignore_index=True), about)
    if folder is not None:
        save(recording, name, scale, folder)
    return recording


def _train(
    part: Part, size: Scale, seeds: Iterable[int], text: Corpus, where: torch.device
) -> pd.DataFrame:
    arguments = {**size.model, "context": size.context, **part.model}
    on_gpu = where.type != "cpu"
    # One core a process: models this small gain nothing from two, and two of them gain all.
    cores = joblib.parallel_config(n_jobs=1 if on_gpu else os.cpu_count())
    with cores:
        frame = sweep(
            partial(_model, arguments, where),
            partial(text.batches, size.batch),
            peaks=part.peaks,
            seeds=seeds,
            steps=part.steps,
            schedules=part.schedules,
            optimizer=AdamW,
            betas=(0.9, 0.95),
            weight_decay=0.1,
            clip=1.0,
            loss=next_token_loss,
            evaluate=text.score,
            every=part.every or part.steps,
            bf16=where.type == "cuda",
            chunk=size.chunk,
        )
    frame["uniform_loss"] = np.log(arguments["vocabulary"])
    return frame.drop(columns=["betas", "weight_decay"], errors="ignore").assign(**part.labels)


def _model(arguments: Mapping[str, Any], where: torch.device, seed: int) -> GPT:
    return GPT(**arguments, seed=seed).to(where)


def _name(where: torch.device) -> str:
    if where.type == "cuda":
        return torch.cuda.get_device_name(where)
    return f"CPU, {os.cpu_count()} cores" if where.type == "cpu" else where.type


def _told(part: Part) -> dict[str, Any]:
    told = {name: getattr(part, name) for name in ("peaks", "steps", "labels", "model", "every")}
    return {**told, "schedules": {name: repr(s) for name, s in part.schedules.items()}}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m lrcourse.experiments", description="The Transformer experiments."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what there is")
    go = commands.add_parser("run", help="run one and record it under data/recordings")
    go.add_argument("name", choices=EXPERIMENTS)
    go.add_argument("--scale", choices=SCALES, default="cpu")
    go.add_argument("--steps", type=int, metavar="N", help="updates of a run (likewise)")
    go.add_argument("--seeds", type=int, metavar="N", help="how many (default: the scale's)")
    chosen = parser.parse_args(arguments)
    if chosen.command == "list":
        for e in EXPERIMENTS.values():
            print(f"{e.name:12} {e.asks} ({e.source})")
        return 0
    try:
        recording = run(
            chosen.name, chosen.scale, steps=chosen.steps, seeds=chosen.seeds, folder=FOLDER
        )
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    about = recording.about
    print(
        f"{about['runs']} runs in {about['seconds']:.0f} s on {about['device']}: "
        f"{about['tokens_per_second']:,} tokens a second. "
        f"Recorded as data/recordings/{chosen.name}-{chosen.scale}.parquet"
    )
    try:
        for finding in EXPERIMENTS[chosen.name].findings(recording.frame):
            print(finding)
    except ValueError as error:
        print(f"✘ cannot be judged: {error}")
    return 0
