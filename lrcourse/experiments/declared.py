"""The Transformer experiments, each declared once: its runs, at two sizes, and what to look for.

An experiment is a handful of grids: runs that differ in schedule, peak rate and seed alone. It ends
with findings: a published sentence each, and whether these runs bear it out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from lrcourse.comparison import best, per_cent, tuned
from lrcourse.evidence import Difference, measured, paired
from lrcourse.models import GPT
from lrcourse.schedules import PLANS, Cosine, Linear, OneMinusSqrt, Schedule, Warmup, plan, wsd
from lrcourse.sweeps import final

__all__ = ["EXPERIMENTS", "SCALES", "Experiment", "Finding", "Grid", "Scale", "sensitivity"]


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

    @property
    def rest(self) -> int:
        """Updates after the warmup."""
        return self.steps - self.warmup


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
class Grid:
    """Runs that differ in schedule, peak and seed alone.

    Attributes:
        schedules: name → factor of the peak rate.
        peaks: peak rates.
        steps: updates of each run.
        labels: what tells this grid from the others: columns of the recording.
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


def _above_zero(text: str, label: str, gap: Difference) -> Finding:
    """What holds when `gap` is above zero by over three standard errors."""
    return Finding(text, gap.sigmas > 3, {label: gap})


@dataclass(frozen=True)
class Experiment:
    """One experiment.

    Attributes:
        asks: its question.
        source: who found what it looks for.
        grids: its runs at a scale.
        findings: the recording's table → what was looked for.
    """

    asks: str
    source: str
    grids: Callable[[Scale], list[Grid]]
    findings: Callable[[pd.DataFrame], list[Finding]]


# The experiments --------------------------------------------------------------------------------


def _plans(scale: Scale, names: Sequence[str]) -> dict[str, Schedule]:
    """The course's plans of these names, with a cooldown of a fifth where there is one."""
    lengths = {"warmup": scale.warmup, "cooldown": scale.steps // 5}
    return {name: plan(name, scale.steps, **lengths) for name in names}


def _schedules(scale: Scale) -> list[Grid]:
    plans = _plans(scale, PLANS)
    return [Grid(plans, scale.peaks, scale.steps, every=max(1, scale.steps // 20))]


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
            1.3 <= ratio <= 2.2,
            {"ratio": ratio},
        ),
    ]


def _cooldown(scale: Scale) -> list[Grid]:
    plans = _plans(scale, ["cosine"])
    for share, shape in product((5, 10, 20, 40), (Linear, OneMinusSqrt)):
        name = f"{'linear' if shape is Linear else '1-sqrt'} {share}%"
        cooldown = scale.steps * share // 100
        plans[name] = wsd(scale.steps, scale.warmup, cooldown, shape=shape)
    return [Grid(plans, scale.peaks, scale.steps)]


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
        _above_zero(
            "A cooldown of 5 % is too short: it ends above one of 20 %", "per cent above", short
        ),
        _above_zero(
            "At 20 %, the shape 1 − √ ends below a straight line", "line above 1 − √ in %", shapes
        ),
    ]


def _norms(scale: Scale) -> list[Grid]:
    deep = {"layers": 12} | ({"width": 128, "heads": 4} if scale.name == "gpu" else {})
    steps = scale.steps // (1 if scale.name == "gpu" else 3)
    plans: dict[str, Schedule] = {
        "without warmup": Cosine(steps),
        "with warmup": Warmup(steps // 5) >> Cosine(steps - steps // 5),
    }
    low = [scale.peaks[0] / 2**i for i in (4, 3, 2, 1, 0)]  # Post-LN stands no more
    return [
        Grid(plans, peaks, steps, {"norm": name}, deep | {"post_ln": name == "Post-LN"})
        for name, peaks in (("Pre-LN", scale.peaks), ("Post-LN", low))
    ]


def _norms_findings(frame: pd.DataFrame) -> list[Finding]:
    ends = final(frame)
    found = []
    for norm, what in (("Post-LN", "over 0.3 nat"), ("Pre-LN", "less than 0.1 nat")):
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
            far = gap.mean > 0.3 and gap.sigmas > 3
            text = f"{norm} without warmup ends {what} above {norm} with it, {which}"
            holds = far if norm == "Post-LN" else gap.mean < 0.1
            found.append(Finding(text, holds, {"nats": gap}))
    return found


def _learned(rows: pd.DataFrame) -> pd.DataFrame:
    """A lost run counts as one that learned nothing: every token as likely as any other."""
    return rows.fillna({"test_loss": rows["uniform_loss"]})


def _horizon(scale: Scale) -> list[Grid]:
    plans = {
        f"{times:g}×": Warmup(scale.warmup) >> Cosine(round(times * scale.rest), end=0.1)
        for times in (1.0, 1.25, 1.5, 2.0, 5.0)
    }
    return [Grid(plans, scale.peaks, scale.steps)]


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
        _above_zero("One five times as long ends higher still", "per cent above 2×", five),
        _above_zero("One a quarter too long already ends higher", "per cent", quarter),
    ]


def _floor(scale: Scale) -> list[Grid]:
    small = {
        "gpu": {"layers": 4, "width": 96, "heads": 3},
        "cpu": {"layers": 1, "width": 16, "heads": 1},
    }[scale.name]
    model = GPT(context=scale.context, **{**scale.model, **small})
    weights = sum(p.numel() for p in model.parameters())
    grids = []
    for ratio in scale.ratios:
        steps = round(ratio * weights / scale.tokens)
        warmup = min(100, steps // 10)
        plans: dict[str, Schedule] = {
            "to zero": Warmup(warmup) >> Linear(1, 0, steps - warmup),
            "to a tenth": Warmup(warmup) >> Linear(1, 0.1, steps - warmup),
        }
        grids.append(Grid(plans, scale.peaks, steps, {"tokens_per_parameter": ratio}, small))
    return grids


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
            growth > 3 * np.hypot(gaps[many].se, gaps[few].se),
            {"gains in %": growth},
        ),
    ]


def _law(scale: Scale) -> list[Grid]:
    plans = _plans(scale, ("constant", "cosine", "linear", "wsd", "step"))
    peak = scale.peaks[len(scale.peaks) // 2]
    return [Grid(plans, [peak], scale.steps, every=max(1, scale.steps // 100))]


def _law_findings(frame: pd.DataFrame) -> list[Finding]:
    curves = frame.pivot_table(index="step", columns="schedule", values="test_loss")
    cooling = curves["constant"].iloc[-1] - curves["wsd"].iloc[-1]
    before = (curves["constant"] - curves["wsd"]).iloc[: len(curves) * 4 // 5].abs().max()
    return [
        Finding(
            "WSD leaves the constant curve only when it cools down, and then falls below it",
            before < cooling / 10 and cooling > 0,
            {"nats before": before, "nats at the end": cooling},
        )
    ]


def _sensitivity(scale: Scale) -> list[Grid]:
    peaks = [round(scale.peaks[0] / 2 * 2.5**i, 6) for i in range(7)]
    plans = {
        f"{share}% warmup": plan(
            "cosine", scale.steps, warmup=max(1, round(share * scale.steps / 100))
        )
        for share in (1, 10)
    }
    return [
        Grid(plans, peaks, scale.steps, {"qk_norm": on}, {"qk_norm": on}) for on in (False, True)
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
        _above_zero(
            "Normalised queries and keys make the loss less sensitive to the rate",
            "sensitivity without minus with, nats",
            by_norm,
        ),
        _above_zero(
            "A longer warmup makes the loss less sensitive to the rate",
            "sensitivity 1% minus 10%, nats",
            by_warmup,
        ),
    ]


EXPERIMENTS = {
    "schedules": Experiment(
        "Which schedule, at which peak?", "Hägele et al. 2024; Defazio et al. 2023",
        _schedules, _schedules_findings,
    ),
    "cooldown": Experiment(
        "How long should the cooldown be, and which shape?", "Hägele et al. 2024",
        _cooldown, _cooldown_findings,
    ),
    "norms": Experiment(
        "Which Transformers need warmup?", "Xiong et al. 2020", _norms, _norms_findings
    ),
    "horizon": Experiment(
        "What does a cosine that is too long cost?", "Hoffmann et al. 2022",
        _horizon, _horizon_findings,
    ),
    "floor": Experiment(
        "Down to zero, or to a tenth?", "Bergsma et al. 2025", _floor, _floor_findings
    ),
    "law": Experiment(
        "Does the schedule alone give the loss curve?", "Tissue et al. 2024", _law, _law_findings
    ),
    "sensitivity": Experiment(
        "What makes the choice of the rate less delicate?", "Wortsman et al. 2023",
        _sensitivity, _sensitivity_findings,
    ),
}  # fmt: skip
