"""Schedules compared by the rules: each at its own best peak rate, seed by seed.

A comparison at one shared rate says which schedule that rate suits, and one seed says what chance
did. So `compare` first tunes the peak of each schedule on some seeds and, where there is any, on
validation data; then it trains each at its own best peak with other seeds, the same ones for all,
and judges by the test data. This is how all recordings of the course are made.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch import Tensor, nn

from lrcourse.arguments import Steps, check_argument, refuse, whole_number
from lrcourse.evidence import Difference, above, paired
from lrcourse.sweeps import final, sweep

__all__ = ["Comparison", "as_planned", "best", "compare", "holm", "leaders", "per_cent"]


def best(frame: pd.DataFrame, value: str) -> pd.DataFrame:
    """The peak rate that gives each schedule the lowest mean of `value` over seeds.

    A peak at which any seed diverged is out of the race.

    Args:
        frame: one row a run, as `final` gives.
        value: the column to minimise.

    Returns:
        Indexed by schedule: peak, mean, se (standard error over seeds), and optimum: the lowest
        point of the parabola in log peak through the best mean and its two neighbours, a finer
        estimate of the best rate than the grid's.

    Raises:
        ValueError: the best peak lies on the edge of the grid, so that a better one may lie
            outside, or every peak diverged.
    """
    rows = []
    for name, group in frame.groupby("schedule", sort=False):
        table = group.groupby("peak")[value].agg(["mean", "sem", "count", "size"]).sort_index()
        whole = table[table["count"] == table["size"]]
        if whole.empty:
            raise ValueError(f"every peak diverged for some seed of {name}: try smaller peaks")
        peak = whole["mean"].idxmin()
        if len(table) > 1 and peak in (table.index[0], table.index[-1]):
            raise ValueError(
                f"the best peak of {name} is {peak:g}, the edge of the grid: widen peaks"
            )
        rows.append((name, peak, *whole.loc[peak, ["mean", "sem"]], _lowest(whole["mean"])))
    columns = ["schedule", "peak", "mean", "se", "optimum"]
    return pd.DataFrame(rows, columns=columns).set_index("schedule")


def _lowest(means: pd.Series) -> float:
    at = int(means.argmin())
    near = means.iloc[max(0, at - 1) : at + 2]
    if len(near) < 3:  # the next peak lost a seed: no parabola
        return float(means.index[at])
    a, b, _ = np.polyfit(np.log(near.index.to_numpy(dtype=float)), near.to_numpy(), 2)
    return float(np.exp(-b / (2 * a))) if a > 0 else float(means.index[at])


def per_cent(ends: pd.DataFrame, a: str, b: str) -> Difference:
    """By how many per cent `a` ends above `b`, seed by seed."""
    lived = ends[a].notna() & ends[b].notna()
    return above(ends.loc[lived, a], ends.loc[lived, b])


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` measured.

    Attributes:
        tuning: rows of the tuning runs, as `sweep` gives them.
        best: by schedule, from their ends: peak, mean, se, optimum (see `best`).
        compared: rows of the compared runs, each at its schedule's optimum.
        value: the column that is to be low.
    """

    tuning: pd.DataFrame
    best: pd.DataFrame
    compared: pd.DataFrame
    value: str

    @property
    def ends(self) -> pd.DataFrame:
        """What each schedule reached at its optimum: a row a seed, a column a schedule."""
        table = final(self.compared).pivot(index="seed", columns="schedule", values=self.value)
        return table[list(self.best.index)]

    def difference(self, a: str, b: str) -> Difference:
        """By how many per cent `a` ends above `b`, seed by seed: mean ± standard error."""
        for name in (a, b):
            check_argument("schedule", name, Literal[tuple(self.best.index)])
        return per_cent(self.ends, a, b)


def compare(
    model: Callable[[int], nn.Module],
    batches: Callable[[int], Callable[[int], tuple[Tensor, Tensor]]],
    schedules: Mapping[str, Any],
    *,
    peaks: Iterable[float],
    steps: int,
    evaluate: Callable[[Callable[[Tensor], Tensor]], Mapping[str, Tensor]],
    value: str,
    seed: int = 0,
    tuning: int = 3,
    pairs: int = 8,
    validate: Callable[[Callable[[Tensor], Tensor]], Mapping[str, Tensor]] | None = None,
    trained: Callable[..., pd.DataFrame] = sweep,
    **settings: Any,
) -> Comparison:
    """Tune each schedule's peak on `tuning` seeds, then train it there on `pairs` other seeds.

    Where the best peak of a schedule is the first or last of `peaks`, two more are tried beyond it.

    Args:
        model, batches, steps, evaluate: as for `sweeps.sweep`.
        schedules: name → factor of the peak rate at t, or what else `trained` can follow.
        peaks: peak rates to try, for all schedules; one alone is taken as it is.
        value: which of the values of `evaluate`, taken at the end of a run, is to be low.
        seed: which seeds: another number here gives runs that share no seed with these.
        tuning: seeds to tune on, 1 … 500.
        pairs: seeds to compare on, 2 … 500.
        validate: evaluates the tuning runs in place of `evaluate`; gives a `validation_loss`, and
            the peak at which that is lowest is the best. Without, it is that of `value`.
        trained: what trains the runs: `sweep`, or a function that takes and gives what it does.
        **settings: passed on to it: optimizer, its settings (one value each), every, progress.

    Raises:
        ValueError: a best peak lies beyond `peaks`, a run at a tuned peak diverged, or an
            argument is out of range.
    """
    check_argument("seed", seed, Steps)
    check_argument("tuning", tuning, whole_number(1, 500))
    check_argument("pairs", pairs, whole_number(2, 500))
    first = 1000 * seed

    def runs_of(
        seeds: range, peaks: Mapping[str, Sequence[float]], evaluate: Callable[..., Any]
    ) -> pd.DataFrame:
        those = {name: schedules[name] for name in peaks}
        told = {"schedules": those, "evaluate": evaluate, "every": steps, "steps": steps}
        return trained(model, batches, peaks=peaks, seeds=seeds, **told | settings)

    # Tune: the same grid for each schedule, and a little more of it where the best peak is the last
    # one. A schedule that still wants to go on from there is refused.
    seeds, judge = range(first, first + tuning), validate or evaluate
    heard = "validation_loss" if validate else value
    peaks = sorted(float(peak) for peak in peaks)
    tried = runs_of(seeds, dict.fromkeys(schedules, peaks), judge)
    if len(peaks) > 1 and (beyond := _beyond(final(tried), heard)):
        tried = pd.concat([tried, runs_of(seeds, beyond, judge)], ignore_index=True)
    found = best(final(tried), heard)

    # Compare: other seeds, each schedule at its own best peak.
    fresh = range(first + 500, first + 500 + pairs)
    compared = runs_of(fresh, {n: [float(found.loc[n, "optimum"])] for n in schedules}, evaluate)
    lost = compared.loc[compared["diverged_at"].notna(), "schedule"].unique()
    if len(lost):
        raise ValueError(f"runs of {', '.join(lost)} diverged at the tuned peak: use more tuning")
    # Of the runs that are compared, not those that tuned. What listens follows no plan.
    plans = {n: plan for n, plan in schedules.items() if not hasattr(plan, "listens")}
    followed = compared[compared["schedule"].isin(plans)]
    if plans and not as_planned(followed, plans):
        raise AssertionError("a run used another rate than its schedule and peak ask for")
    return Comparison(tried, found, compared, value)


def as_planned(frame: pd.DataFrame, schedules: Mapping[str, Callable[[int], float]]) -> bool:
    """Whether each rate that a sweep recorded is the planned one: peak × schedule.

    Args:
        frame: rows of a sweep, whole or in part. Rows of lost runs hold no rate and are left out.
        schedules: name → factor of the peak rate at t, as the sweep was given.

    Raises:
        ValueError: no row holds a rate, or a row's schedule is not among `schedules`.
    """
    rows = frame[frame["rate"].notna()]
    if rows.empty:
        raise ValueError("frame holds no rate: every run of it was lost")
    if unknown := set(rows["schedule"]) - set(schedules):
        refuse("schedules", [*schedules], f"also {', '.join(sorted(unknown))}, which frame holds")
    moments = zip(rows["schedule"], rows["step"], strict=True)
    factors = [float(schedules[name](step - 1)) for name, step in moments]
    return bool(np.allclose(rows["rate"], rows["peak"] * factors, rtol=1e-12, atol=0))


def _beyond(grid: pd.DataFrame, value: str) -> dict[str, list[float]]:
    """Two more peaks for each schedule whose best one lies on the edge of the grid."""
    more = {}
    for name, rows in grid.groupby("schedule", sort=False):
        means = rows.groupby("peak")[value].agg(lambda losses: losses.mean(skipna=False))
        peaks = means.index.to_numpy(dtype=float)
        if means.notna().any() and means.idxmin() in (peaks[0], peaks[-1]):
            lower = means.idxmin() == peaks[0]
            edge, factor = (
                (peaks[0], peaks[0] / peaks[1]) if lower else (peaks[-1], peaks[-1] / peaks[-2])
            )
            more[str(name)] = [float(edge * factor**k) for k in (1, 2)]
    return more


def leaders(ends: pd.DataFrame) -> list[str]:
    """The schedule that ends lowest, and after it those that it cannot be told from.

    Each is held against the one with the lowest mean, and the p-values are corrected for there
    being several (Holm): those above 5 % are not told from it. So one name alone is a winner.

    Args:
        ends: a row a seed, a column a schedule.
    """
    first = ends.mean().idxmin()
    others = {name: paired(ends[name], ends[first]).p_value for name in ends if name != first}
    return [first, *(name for name, p in holm(others).items() if p > 0.05)]


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """The p-values of several questions, corrected for asking so many (Holm, 1979).

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    found: dict[str, float] = {}
    for i, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        found[name] = min(1.0, max(p * (len(p_values) - i), *found.values(), 0.0))
    return found
