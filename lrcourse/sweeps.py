"""Many training runs at once: schedule × peak rate × seed × any optimizer setting.

The weights of all runs stand in one tensor, a row for each run. Small models, and all on a GPU, are
trained together by `torch.func.vmap`, so that sixty-four of them cost little more than a few; on a
CPU larger ones are called one after the other, see `stacks`. Either way each run does what
`training.train` would do with the real `torch.optim` class, the same minibatches per seed included.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import product
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from joblib import Parallel, delayed
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import SGD, Optimizer

from lrcourse.arguments import Count, Positive, Share, check_argument, refuse
from lrcourse.data import minibatch
from lrcourse.runs import lost
from lrcourse.schedules import Constant
from lrcourse.stacking.optimizers import FLAT_OPTIMIZERS, kind_of
from lrcourse.stacking.stack import Stack, read_out, refuse_unstackable, used_weights
from lrcourse.training import factors, progress_bar

__all__ = ["final", "stacks", "sweep"]

# Weights that are trained at once, unless `chunk` says otherwise: with their gradients and averages
# they just fit into a processor's cache, and twice as many already take longer per run.
_STACKED = 600_000

# Weights of a model up to which a CPU trains a stack faster than one model after the other.
_SMALL = 80_000

# Updates whose losses may wait on the device, so that it need not wait for whoever reads them.
_UNREAD = 20

# Seeding a model goes through torch's one global random state: chunks in threads take turns.
_SEEDING = Lock()


def sweep(
    model: Callable[[int], nn.Module],
    batches: Callable[[int], Callable[[int], tuple[Tensor, Tensor]]],
    *,
    peaks: Iterable[float] | Mapping[str, Iterable[float]],
    seeds: Iterable[int],
    steps: int,
    schedules: Mapping[str, Callable[[int], float]] | None = None,
    optimizer: type[Optimizer] = SGD,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    evaluate: Callable[[Callable[[Tensor], Tensor]], Mapping[str, Tensor]] | None = None,
    every: int | None = None,
    average: float = 0.0,
    clip: float | None = None,
    bf16: bool = False,
    stacked: bool | None = None,
    chunk: int | None = None,
    progress: bool = True,
    **settings: Any,
) -> pd.DataFrame:
    """Train every combination and return one tidy frame.

    Args:
        model: seed → a fresh module. Frozen weights (without requires_grad) stay as they are. What
            cannot be stacked is refused: buffers that change (BatchNorm), dropout, recurrence.
            Training happens on the device its weights are on; batches must come on the same.
        batches: seed → (t → (x, y)): runs of one seed see the same minibatches.
        peaks: peak learning rates: for all schedules, or name of the schedule → its own.
        seeds: seeds, handed to `model` and `batches`.
        steps: updates in each run.
        schedules: name → factor of the peak rate at t; without, a constant rate.
        optimizer: torch.optim.SGD, RMSprop, Adam or AdamW; Muon, for the matrices of nn.Linear,
            with AdamW for all other weights, both at one rate (`match_rms_adamw`); or
            schedulefree.AdamWScheduleFree (evaluated at its average, as in its evaluation mode).
        loss: (output, y) → scalar.
        evaluate: model → name → scalar, as for `training.train`; every `every` updates.
        every: updates between two rows of a run; without, a twentieth of `steps`.
        average: a share of the run, 0 … 1: the mean of the weights that the updates of this last
            share leave is evaluated too, in columns named `averaged_…`, missing before it begins.
        clip: largest norm of each run's whole gradient; None does not clip.
        bf16: compute in bfloat16 where autocast can; the weights stay as they are.
        stacked: train the runs of a chunk together, or one after the other; without, as `stacks`
            finds faster.
        chunk: runs in a chunk; without, as many as a processor's cache holds. Chunks go through
            joblib, so under `joblib.parallel_config` they run on any backend it knows, a Dask
            cluster among them; where a worker is lost, its chunk is trained anew.
        progress: show a progress bar for each chunk.
        **settings: the optimizer's other arguments by torch's names (momentum, betas, …); a list
            of values is one more axis of the grid.

    Returns:
        A row for each run and each `every` updates: schedule, peak, seed, settings, step (updates
        made), rate, gradient_norm (before clipping) and update_ratio (‖change‖ / ‖weights‖) of the
        last of them, loss (mean over the minibatches since the row before), what `evaluate` gave,
        and diverged_at: the update whose loss was not finite or above `LOST`
        times the first (that update was not made), missing for runs that lived. From there on a
        lost run's figures are missing; the others never notice.

    Raises:
        ValueError: an argument is empty, out of range, or not one the optimizer knows.
    """
    axes = _axes(optimizer, settings)
    named = {"constant": Constant()} if schedules is None else dict(schedules)
    seeds = _distinct("seeds", seeds)
    if not named:
        refuse("schedules", schedules, "at least one schedule")
    if not isinstance(peaks, Mapping):
        peaks = dict.fromkeys(named, tuple(peaks))
    if peaks.keys() != named.keys():
        refuse("peaks", [*peaks], f"the names of schedules: {', '.join(named)}")
    grid = {name: _distinct("peaks", peaks[name], Positive) for name in named}
    every = max(1, steps // 20) if every is None else every
    with _SEEDING:
        one = model(seeds[0])
    stacked = stacks(one) if stacked is None else stacked
    if chunk is None:
        chunk = max(1, _STACKED // max(1, _weights(one)))
    for name, number in (("steps", steps), ("every", every), ("chunk", chunk)):
        check_argument(name, number, Count)
    check_argument("average", average, Share)
    check_argument("clip", clip, Positive | None)
    first = steps - round(average * steps)

    runs = [
        _One(schedule, float(peak), seed, dict(zip(axes, values, strict=True)))
        for schedule in named
        for values, peak, seed in product(product(*axes.values()), grid[schedule], seeds)
    ]
    job = _Job(
        model, batches, named, steps, optimizer, loss, evaluate, every, first, clip, bf16, stacked,
        progress,
    )  # fmt: skip
    parts = [runs[i : i + chunk] for i in range(0, len(runs), chunk)]
    # Which kernels may be used is one setting for all threads: chunks in threads find it made here.
    with job.attention():
        found = Parallel()(delayed(job)(part) for part in parts)
    tables = [_named(table, part) for table, part in zip(found, parts, strict=True)]
    return pd.concat(tables, ignore_index=True).astype({"diverged_at": "Int64"})


def stacks(model: nn.Module) -> bool:
    """Whether `sweep` trains runs of `model` together, where it is not told: what is faster.

    A stack saves the time that Python needs for each call. That is most of it for a small model,
    and for any on a GPU; a CPU that works on larger weights gains nothing.

    >>> stacks(nn.Linear(64, 10)), stacks(nn.Linear(1000, 1000))
    (True, False)
    """
    return _weights(model) <= _SMALL or any(p.device.type != "cpu" for p in model.parameters())


def _weights(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def final(frame: pd.DataFrame) -> pd.DataFrame:
    """The last row of each run of a sweep: one row a run."""
    return frame[frame["step"] == frame["step"].max()].reset_index(drop=True)


def _distinct(name: str, values: Iterable[Any], kind: Any = None) -> list[Any]:
    found = list(values)
    if not found or len(set(found)) != len(found):
        refuse(name, found, "at least one value, and none of them twice")
    for value in found:
        check_argument(name, value, kind)
    return found


def _named(table: pd.DataFrame, runs: list["_One"]) -> pd.DataFrame:
    """The table of a chunk with what each run is in front, in place of its number."""
    mine = [runs[i] for i in table["run"]]
    what = [{"schedule": r.schedule, "peak": r.peak, "seed": r.seed, **r.settings} for r in mine]
    return pd.concat([pd.DataFrame(what), table.drop(columns="run")], axis=1)


def _axes(optimizer: type[Optimizer], settings: Mapping[str, Any]) -> dict[str, list[Any]]:
    if kind_of(optimizer) not in FLAT_OPTIMIZERS:
        known = ", ".join(kind.partition(".")[2] for kind in FLAT_OPTIMIZERS)
        refuse("optimizer", optimizer, f"one of {known}")
    defaults = FLAT_OPTIMIZERS[kind_of(optimizer)].defaults
    for name in settings:
        if name not in defaults:
            known = ", ".join(defaults)
            raise ValueError(f"{name} is not a setting of {optimizer.__name__} here; {known} are")
    axes = {n: v if isinstance(v, list) else [v] for n, v in settings.items()}
    for name, values in axes.items():
        if not values:
            refuse(name, values, "at least one value")
    return axes


@dataclass(frozen=True)
class _One:
    """One run of the grid."""

    schedule: str
    peak: float
    seed: int
    settings: dict[str, Any]


@dataclass(frozen=True, eq=False)  # by identity: joblib's Dask backend wants to hash it
class _Job:
    """All that the runs of a chunk share; called with the chunk, here or on another machine."""

    model: Callable[[int], nn.Module]
    batches: Callable[[int], Callable[[int], tuple[Tensor, Tensor]]]
    schedules: Mapping[str, Callable[[int], float]]
    steps: int
    optimizer: type[Optimizer]
    loss: Callable[[Tensor, Tensor], Tensor]
    evaluate: Callable[[Callable[[Tensor], Tensor]], Mapping[str, Tensor]] | None
    every: int
    first: int
    clip: float | None
    bf16: bool
    stacked: bool
    progress: bool

    def __call__(self, runs: list[_One]) -> pd.DataFrame:
        with self.attention():  # again, for chunks that run in another process
            return self._train(runs)

    def attention(self) -> AbstractContextManager[None]:
        """The kernels for attention. vmap has no rule for a CPU's fused one, called flash there."""
        known = [SDPBackend.MATH, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]
        return sdpa_kernel(known) if self.stacked else nullcontext()

    def _train(self, runs: list[_One]) -> pd.DataFrame:
        seeds = sorted({run.seed for run in runs})
        with _SEEDING:
            made = {seed: self.model(seed) for seed in seeds}
        models = [made[run.seed] for run in runs]
        refuse_unstackable(models[0].train())
        draws = {seed: self.batches(seed) for seed in seeds}
        plans = {n: factors(self.schedules[n], self.steps) for n in {run.schedule for run in runs}}
        rates = np.array([run.peak * plans[run.schedule] for run in runs])

        drawn = [minibatch(draw, 0) for draw in draws.values()]
        places = np.array([seeds.index(run.seed) for run in runs])
        used = used_weights(models[0], self.loss, *drawn[places[0]])
        stack = Stack(models, used, places, self.loss, self.stacked, self.bf16)
        kind = FLAT_OPTIMIZERS[kind_of(self.optimizer)]
        update = kind(stack.weights, rates, [run.settings for run in runs], stack.layout)
        losses = np.full((len(runs), self.steps), np.nan)
        unread: list[Tensor] = []  # the losses that are still on the device
        diverged = np.full(len(runs), -1)
        alive = np.arange(len(runs))  # the runs still in the stack, in its order
        ends: list[int] = []  # updates made at each row
        empty = np.full((-(-self.steps // self.every), len(runs)), np.nan)
        table = {n: empty.copy() for n in ("loss", "rate", "gradient_norm", "update_ratio")}
        for t in progress_bar(range(self.steps), self.progress):
            if t > 0:
                drawn = [minibatch(draw, t) for draw in draws.values()]
            unread.append(stack.losses_and_gradients(drawn))
            row = (t + 1) % self.every == 0 or t + 1 == self.steps
            if row or len(unread) == _UNREAD:
                since = t + 1 - len(unread)
                losses[alive, since : t + 1] = now = read_out(torch.stack(unread, 1))
                unread = []
                pairs = zip(now.tolist(), losses[alive, 0].tolist(), strict=True)
                gone = np.array([[lost(one, first) for one in some] for some, first in pairs])
                if gone.any():
                    ended = gone.any(axis=1)
                    diverged[alive[ended]] = since + gone[ended].argmax(axis=1)
                    alive, keep = alive[~ended], torch.from_numpy(np.flatnonzero(~ended))
                    stack.keep(keep)
                    update.keep(keep)
                if not len(alive):
                    ends.append(self.steps)
                    break
            before = stack.weights.clone() if row else stack.weights
            norms = stack.gradient.norm(dim=1) if row or self.clip is not None else before
            if self.clip is not None:  # as clip_grad_norm_ does
                stack.gradient.mul_((self.clip / (norms + 1e-6)).clamp(max=1).unsqueeze(1))
            update(stack.weights, stack.gradient, t)
            answers = update.answers(stack.weights)
            if t >= self.first:
                stack.average(answers, t + 1 - self.first)
            if row:
                since = t // self.every * self.every
                columns = {"loss": losses[alive, since : t + 1].mean(axis=1)}
                columns |= {"rate": rates[alive, t], "gradient_norm": read_out(norms)}
                columns |= {"update_ratio": read_out(stack.change(before))}
                if self.evaluate is not None:
                    columns |= stack.evaluate(self.evaluate, answers)
                    averaged = stack.evaluate(self.evaluate, stack.mean)
                    columns |= {f"averaged_{name}": values for name, values in averaged.items()}
                for name, values in columns.items():  # of lost runs: nothing
                    table.setdefault(name, empty.copy())[len(ends), alive] = values
                ends.append(t + 1)
        frame = pd.DataFrame({name: values[: len(ends)].ravel() for name, values in table.items()})
        frame.insert(0, "run", np.tile(np.arange(len(runs)), len(ends)))
        frame.insert(1, "step", np.repeat(ends, len(runs)))
        frame["diverged_at"] = pd.array(diverged, dtype="Int64")[frame["run"]]
        return frame.assign(diverged_at=frame["diverged_at"].mask(frame["diverged_at"] < 0))
