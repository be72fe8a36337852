"""Schedules compared by the rules: each at its own best peak rate, seed by seed.

A comparison at one shared rate says which schedule that rate suits, and one seed says what chance
did. So `compare` first tunes the peak of each schedule on some seeds, and then trains each at its
own best peak with other seeds, the same ones for all.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from torch import Tensor, nn

from lrcourse.evidence import Difference, above
from lrcourse.sweeps import best, final, sweep

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` measured.

    Attributes:
        grid: the tuning runs, one row a run, for `plots.u_curve`.
        best: by schedule, from the grid: peak, mean, se, optimum (see `sweeps.best`).
        ends: what each schedule reached at its optimum: a row a seed, a column a schedule.
    """

    grid: pd.DataFrame
    best: pd.DataFrame
    ends: pd.DataFrame

    def difference(self, a: str, b: str) -> Difference:
        """By how many per cent `a` ends above `b`, seed by seed: mean ± standard error."""
        for name in (a, b):
            if name not in self.ends:
                raise ValueError(f"no schedule is called {name!r}; {', '.join(self.ends)} are")
        return above(self.ends[a], self.ends[b])


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
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    for name, number, least in (("tuning", tuning, 1), ("pairs", pairs, 2)):
        if not least <= number <= 500:
            raise ValueError(f"{name} must be {least} … 500, got {number}")
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

    def at_optimum(name: str) -> Callable[[int], float]:
        peak = float(found.loc[name, "optimum"])
        return lambda t: peak * schedules[name](t)

    ends = final(
        sweep(
            model,
            batches,
            peaks=[1.0],
            seeds=range(first + 500, first + 500 + pairs),
            schedules={name: at_optimum(name) for name in schedules},
            **known,
        )
    )
    lost = ends.loc[ends["diverged_at"].notna(), "schedule"].unique()
    if len(lost):
        raise ValueError(f"runs of {', '.join(lost)} diverged at the tuned peak: use more tuning")
    table = ends.pivot(index="seed", columns="schedule", values=value)
    return Comparison(grid, found, table[list(schedules)])
