"""Schedules compared by the rules: each at its own best peak rate, seed by seed.

A comparison at one shared rate says which schedule that rate suits, and one seed says what chance
did. So `compare` first tunes the peak of each schedule on some seeds, and then trains each at its
own best peak with other seeds, the same ones for all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch import Tensor, nn

from lrcourse.arguments import Steps, check_argument, refuse, whole_number
from lrcourse.evidence import Difference, above
from lrcourse.sweeps import as_planned, final, sweep

__all__ = ["Comparison", "best", "compare", "per_cent", "tuned"]


def best(frame: pd.DataFrame, value: str, by: str | Sequence[str] = "schedule") -> pd.DataFrame:
    """The peak rate that gives the lowest mean of `value` over seeds, for each group.

    A peak at which any seed diverged is out of the race.

    Args:
        frame: one row a run, as `final` gives.
        value: the column to minimise.
        by: the column or columns that name what is compared.

    Returns:
        Indexed by `by`: peak, mean, se (standard error over seeds), and optimum: the lowest point
        of the parabola in log peak through the best mean and its two neighbours, a finer estimate
        of the best rate than the grid's.

    Raises:
        ValueError: the best peak lies on the edge of the grid, so that a better one may lie
            outside, or every peak diverged.
    """
    keys = [by] if isinstance(by, str) else list(by)
    rows = []
    for key, group in frame.groupby(keys, sort=False):
        name = ", ".join(map(str, key))
        table = group.groupby("peak")[value].agg(["mean", "sem", "count", "size"]).sort_index()
        whole = table[table["count"] == table["size"]]
        if whole.empty:
            raise ValueError(f"every peak diverged for some seed of {name}: try smaller peaks")
        peak = whole["mean"].idxmin()
        if peak in (table.index[0], table.index[-1]):
            raise ValueError(
                f"the best peak of {name} is {peak:g}, the edge of the grid: widen peaks"
            )
        rows.append((*key, peak, *whole.loc[peak, ["mean", "sem"]], _lowest(whole["mean"])))
    return pd.DataFrame(rows, columns=[*keys, "peak", "mean", "se", "optimum"]).set_index(keys)


def _lowest(means: pd.Series) -> float:
    at = int(means.argmin())
    near = means.iloc[max(0, at - 1) : at + 2]
    if len(near) < 3:  # the next peak lost a seed: no parabola
        return float(means.index[at])
    a, b, _ = np.polyfit(np.log(near.index.to_numpy(dtype=float)), near.to_numpy(), 2)
    return float(np.exp(-b / (2 * a))) if a > 0 else float(means.index[at])


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
        refuse("the seeds of frame", frame["seed"].unique().tolist(), "two or more to judge by")
    ends = {}
    for name, rows in frame.groupby(by, sort=False):
        best(rows, value, by)  # refuses a best peak on the edge
        table = rows.pivot(index="seed", columns="peak", values=value)
        peaks = {s: table.drop(index=s).mean(skipna=False).idxmin() for s in table.index}
        ends[str(name)] = {seed: table.loc[seed, peak] for seed, peak in peaks.items()}
    return pd.DataFrame(ends)


def per_cent(ends: pd.DataFrame, a: str, b: str) -> Difference:
    """By how many per cent `a` ends above `b`, seed by seed."""
    lived = ends[a].notna() & ends[b].notna()
    return above(ends.loc[lived, a], ends.loc[lived, b])


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` measured.

    Attributes:
        grid: the tuning runs, one row a run, for `plots.u_curve`.
        best: by schedule, from the grid: peak, mean, se, optimum (see `best`).
        runs: the compared runs, one row a run, each at its schedule's optimum.
        value: the column of `runs` that is to be low.
    """

    grid: pd.DataFrame
    best: pd.DataFrame
    runs: pd.DataFrame
    value: str

    @property
    def ends(self) -> pd.DataFrame:
        """What each schedule reached at its optimum: a row a seed, a column a schedule."""
        table = self.runs.pivot(index="seed", columns="schedule", values=self.value)
        return table[list(self.best.index)]

    def difference(self, a: str, b: str) -> Difference:
        """By how many per cent `a` ends above `b`, seed by seed: mean ± standard error."""
        for name in (a, b):
            check_argument("schedule", name, Literal[tuple(self.best.index)])
        return per_cent(self.ends, a, b)


def compare(
    model: Callable[[int], nn.Module],
    batches: Callable[[int], Callable[[int], tuple[Tensor, Tensor]]],
    schedules: Mapping[str, Callable[[int], float]],
    *,
    peaks: Iterable[float],
    steps: int,
    evaluate: Callable[[Callable[[Tensor], Tensor]], Mapping[str, Tensor]],
    value: str,
    seed: int = 0,
    tuning: int = 3,
    pairs: int = 8,
    **settings: Any,
) -> Comparison:
    """Tune each schedule's peak on `tuning` seeds, then train it there on `pairs` other seeds.

    Args:
        model, batches, peaks, steps, evaluate: as for `sweeps.sweep`.
        schedules: name → factor of the peak rate at t.
        value: which of the values of `evaluate`, taken at the end of a run, is to be low.
        seed: which seeds: another number here gives runs that share no seed with these.
        tuning: seeds to tune on, 1 … 500.
        pairs: seeds to compare on, 2 … 500.
        **settings: passed on to `sweep`: optimizer, its settings (one value each), progress.

    Raises:
        ValueError: a best peak lies on the edge of `peaks`, a run at a tuned peak diverged, or an
            argument is out of range.
    """
    check_argument("seed", seed, Steps)
    check_argument("tuning", tuning, whole_number(1, 500))
    check_argument("pairs", pairs, whole_number(2, 500))
    known = {"evaluate": evaluate, "every": steps, "steps": steps, **settings}
    first = 1000 * seed
    grid = final(
        sweep(
            model,
            batches,
            peaks=peaks,
            seeds=range(first, first + tuning),
            schedules=schedules,
            **known,
        )
    )
    found = best(grid, value)

    runs = final(
        sweep(
            model,
            batches,
            peaks={name: [float(found.loc[name, "optimum"])] for name in schedules},
            seeds=range(first + 500, first + 500 + pairs),
            schedules=schedules,
            **known,
        )
    )
    lost = runs.loc[runs["diverged_at"].notna(), "schedule"].unique()
    if len(lost):
        raise ValueError(f"runs of {', '.join(lost)} diverged at the tuned peak: use more tuning")
    if not as_planned(runs, schedules):  # of the runs that are compared, not those that tuned
        raise AssertionError("a run used another rate than its schedule and peak ask for")
    return Comparison(grid, found, runs, value)
