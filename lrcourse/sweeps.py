"""Many training runs at once: schedule × peak rate × seed × any optimizer setting.

The weights of all runs stand in one tensor, a row for each run. Small models, and all on a GPU, are
trained together by `torch.func.vmap`, so that sixty-four of them cost little more than a few; on a
CPU larger ones are called one after the other, see `stacks`. Either way each run does what
`training.train` would do with the real `torch.optim` class, the same minibatches per seed included.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from joblib import Parallel, delayed
from torch import Tensor, nn
from torch.func import vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.dropout import _DropoutNd as _Dropout
from torch.optim import SGD, Optimizer

from lrcourse.arguments import Count, Positive, Share, check_argument, refuse
from lrcourse.data import minibatch
from lrcourse.files import Cache, fingerprint
from lrcourse.runs import log_sweep, lost
from lrcourse.schedules import Constant
from lrcourse.training import factor, one_number, progress_bar

__all__ = ["as_planned", "final", "stacks", "sweep"]

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
    cache: str | Path | None = None,
    log: str | Path | None = None,
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
        optimizer: torch.optim.SGD, RMSprop, Adam or AdamW, or schedulefree.AdamWScheduleFree (which
            is evaluated at its average, as in its evaluation mode).
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
        cache: a folder that keeps each chunk when it is finished, so that an interrupted sweep,
            called again, goes on where it stopped. A chunk is known by its rates, settings, first
            weights and minibatches, and by the losses at the start, not by the code they come from.
        log: a folder for TensorBoard events: one run of it for each of these, with its
            hyperparameters.
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
        ValueError: an argument is empty, out of range, or not one the optimizer knows, or a file
            of the cache is damaged.
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
        found = dict(_finished(job, parts, None if cache is None else Cache(cache)))
    tables = [_named(found[i], part) for i, part in enumerate(parts)]
    frame = pd.concat(tables, ignore_index=True).astype({"diverged_at": "Int64"})
    if log is not None:
        try:
            log_sweep(frame, log, ["schedule", "peak", "seed", *axes])
        except OSError as error:  # the runs are made: they must not be lost with their log
            warnings.warn(f"the log in {log} could not be written: {error}", stacklevel=2)
    return frame


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


def _distinct(name: str, values: Iterable[Any], kind: Any = None) -> list[Any]:
    found = list(values)
    if not found or len(set(found)) != len(found):
        refuse(name, found, "at least one value, and none of them twice")
    for value in found:
        check_argument(name, value, kind)
    return found


def _finished(
    job: "_Job", parts: list[list["_One"]], cache: Cache | None
) -> Iterator[tuple[int, pd.DataFrame]]:
    """Number and table of each chunk: first what the cache holds, then the others as they end."""
    todo = dict(enumerate(parts))
    if cache is not None:
        seen: dict[int, list[Any]] = {}
        names = {i: job.fingerprint(part, seen) for i, part in todo.items()}
        for i, name in names.items():
            table = cache.get(name)
            if table is not None:
                del todo[i]
                yield i, table
    work = Parallel(return_as="generator_unordered")
    for i, table in work(delayed(job)(i, part) for i, part in todo.items()):
        if cache is not None:
            cache.put(names[i], table)
        yield i, table


def _named(table: pd.DataFrame, runs: list["_One"]) -> pd.DataFrame:
    """The table of a chunk with what each run is in front, in place of its number."""
    mine = [runs[i] for i in table["run"]]
    what = [{"schedule": r.schedule, "peak": r.peak, "seed": r.seed, **r.settings} for r in mine]
    return pd.concat([pd.DataFrame(what), table.drop(columns="run")], axis=1)


def _axes(optimizer: type[Optimizer], settings: Mapping[str, Any]) -> dict[str, list[Any]]:
    if _kind(optimizer) not in _UPDATES:
        known = ", ".join(kind.partition(".")[2] for kind in _UPDATES)
        refuse("optimizer", optimizer, f"one of {known}")
    defaults = _UPDATES[_kind(optimizer)].defaults
    for name in settings:
        if name not in defaults:
            known = ", ".join(defaults)
            raise ValueError(f"{name} is not a setting of {optimizer.__name__} here; {known} are")
    axes = {n: v if isinstance(v, list) else [v] for n, v in settings.items()}
    for name, values in axes.items():
        if not values:
            refuse(name, values, "at least one value")
    return axes


def _kind(optimizer: type[Optimizer]) -> str:
    """Package and name: an optimizer is known by them, so that none need be there to import."""
    return f"{optimizer.__module__.partition('.')[0]}.{optimizer.__qualname__}"


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

    def __call__(self, i: int, runs: list[_One]) -> tuple[int, pd.DataFrame]:
        with self.attention():  # again, for chunks that run in another process
            return i, self._train(runs)

    def attention(self) -> AbstractContextManager[None]:
        """The kernels for attention. vmap has no rule for a CPU's fused one, called flash there."""
        known = [SDPBackend.MATH, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]
        return sdpa_kernel(known) if self.stacked else nullcontext()

    def fingerprint(self, runs: list[_One], seen: dict[int, list[Any]]) -> str:
        """A name for what the chunk computes; `seen` keeps what is known of each seed."""
        for seed in {run.seed for run in runs} - seen.keys():
            with _SEEDING:
                model = self.model(seed).train()
            draw = self.batches(seed)
            x, y = draw(0)
            with torch.no_grad():
                start = {"loss": self.loss(model(x), y)}
                start |= self.evaluate(model.eval()) if self.evaluate else {}
            seen[seed] = [*model.parameters(), *model.buffers(), x, y]
            seen[seed] += [p.requires_grad for p in model.parameters()]
            seen[seed] += [*draw(self.steps // 2), *draw(self.steps - 1)]
            # Another processor may round these in another way.
            seen[seed] += [f"{name} {float(value):.5g}" for name, value in start.items()]
        kind = f"{self.optimizer.__module__}.{self.optimizer.__qualname__}"
        parts: list[Any] = [torch.__version__, Path(__file__).read_text(encoding="utf-8"), kind]
        parts += [self.steps, self.every, self.first, self.clip, self.bf16, self.stacked]
        factors = {run.schedule: self._factors(run.schedule) for run in runs}
        for run in runs:
            parts += [run.peak, run.settings, factors[run.schedule], *seen[run.seed]]
        return fingerprint(parts)

    def _factors(self, name: str) -> np.ndarray:
        return np.array([factor(self.schedules[name], t) for t in range(self.steps)])

    def _train(self, runs: list[_One]) -> pd.DataFrame:
        seeds = sorted({run.seed for run in runs})
        with _SEEDING:
            made = {seed: self.model(seed) for seed in seeds}
        models = [made[run.seed] for run in runs]
        _refuse_model(models[0].train())
        draws = {seed: self.batches(seed) for seed in seeds}
        factors = {name: self._factors(name) for name in {run.schedule for run in runs}}
        rates = np.array([run.peak * factors[run.schedule] for run in runs])

        drawn = [minibatch(draw, 0) for draw in draws.values()]
        places = np.array([seeds.index(run.seed) for run in runs])
        used = _used(models[0], self.loss, *drawn[places[0]])
        stack = _Stack(self, models, places, used)
        kind = _UPDATES[_kind(self.optimizer)]
        update = kind(stack.weights, rates, [run.settings for run in runs])
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
                losses[alive, since : t + 1] = now = _read(torch.stack(unread, 1))
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
                columns |= {"rate": rates[alive, t], "gradient_norm": _read(norms)}
                columns |= {"update_ratio": _read(stack.change(before))}
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


def _refuse_model(model: nn.Module) -> None:
    """Refuse what cannot be trained in a stack as it would be alone."""
    for name, part in model.named_modules():
        dropout = part.p if isinstance(part, _Dropout) else getattr(part, "dropout", 0)
        for met, what in (
            (isinstance(part, nn.RNNBase), "recurrent layer"),
            (isinstance(dropout, int | float) and dropout > 0, "dropout"),
            (getattr(part, "track_running_stats", False), "buffers that change"),
        ):
            if met:
                refuse("model", part, f"no {what}, as {name} has: use training.train")
    if not any(p.requires_grad for p in model.parameters()):
        refuse("model", type(model).__name__, "some parameters with requires_grad")


def _used(model: nn.Module, loss: Callable[..., Tensor], x: Tensor, y: Tensor) -> list[str]:
    """Names of the weights that the loss depends on; a buffer that forward changes is refused."""
    tried = deepcopy(model)
    weights = {name: p for name, p in tried.named_parameters() if p.requires_grad}
    value = one_number(loss(tried(x), y))
    for (name, before), after in zip(model.named_buffers(), tried.buffers(), strict=True):
        if not torch.equal(before, after):
            refuse("model", type(model).__name__, f"no buffer that forward changes, as {name} is")
    gradients = torch.autograd.grad(value, [*weights.values()], allow_unused=True)
    return [name for name, g in zip(weights, gradients, strict=True) if g is not None]


def _read(values: Tensor) -> np.ndarray:
    """`values` from their device: here alone the loop waits for it. (Not every one has float64.)"""
    return values.detach().cpu().double().numpy()


class _Stack:
    """The same module many times, once for each run.

    Attributes:
        weights: all that a run trains in one row, shape (runs, weights).
        gradient: of each run's loss by them, likewise.
        mean: the mean of all that `average` was given, likewise; without a row before.
    """

    def __init__(self, job: _Job, models: list[nn.Module], places: np.ndarray, used: list[str]):
        self.job, self.base, self.places = job, models[0], places
        parts = [{**dict(m.named_parameters()), **dict(m.named_buffers())} for m in models]
        # Frozen weights stand with the buffers, and so do those that no gradient reaches: they
        # differ by seed, and no update changes them.
        others = [name for name in parts[0] if name not in used]
        self.shapes = [parts[0][name].shape for name in used]
        rows = [torch.cat([part[name].detach().flatten() for name in used]) for part in parts]
        self.weights = torch.stack(rows)
        self.fixed = [torch.stack([part[name].detach() for part in parts]) for name in others]
        self.idle = [i for i, name in enumerate(others) if parts[0][name].requires_grad]
        # Where the module keeps each of them; weights that are tied stand in several places.
        number = {id(parts[0][name]): i for i, name in enumerate([*used, *others])}
        homes: list[dict[str, Any]] = []
        for module in self.base.modules():
            homes += [module._parameters, module._buffers]
        self.slots = [(h, k, number[id(v)]) for h in homes for k, v in h.items() if v is not None]
        self.gradient, self.mean = torch.empty_like(self.weights), self.weights[:0]
        self.bf16 = torch.autocast(self.weights.device.type, torch.bfloat16) if job.bf16 else None
        self._lay_out()

    def _lay_out(self) -> None:
        """Make what is handed to the module: views of all rows at once, or of each by itself."""
        self.seeds = torch.from_numpy(self.places).to(self.weights.device)
        rows: Iterable[Any] = [slice(None)] if self.job.stacked else range(len(self.places))
        leaves = [[v.detach().requires_grad_() for v in self._views(self.weights[r])] for r in rows]
        fixed = [[tensor[r] for tensor in self.fixed] for r in rows]
        gradients = [self._views(self.gradient[r]) for r in rows]
        self.parts = [*zip(leaves, fixed, gradients, strict=True)]

    def _views(self, rows: Tensor) -> list[Tensor]:
        """The weights in `rows`, (…, weights), each in its shape."""
        parts = rows.split([shape.numel() for shape in self.shapes], -1)
        return [p.view(p.shape[:-1] + s) for p, s in zip(parts, self.shapes, strict=True)]

    def _run(self, weights: list[Tensor], fixed: list[Tensor], x: Tensor) -> Tensor:
        """The module's output, with these in the places of its own."""
        given = [*weights, *fixed]
        for home, name, i in self.slots:
            home[name] = given[i]
        if self.bf16 is None:
            return self.base(x)
        with self.bf16:
            return self.base(x).float()

    def _loss(self, weights: list[Tensor], fixed: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        return one_number(self.job.loss(self._run(weights, fixed, x), y))

    def _losses(self, weights: list[Tensor], fixed: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        """The loss of one run, or those of a stack, shape (runs,)."""
        if not self.job.stacked:
            return self._loss(weights, fixed, x, y)
        if self.job.loss is not F.cross_entropy or y.is_floating_point() or y.dim() < 2:
            return vmap(self._loss)(weights, fixed, x, y)
        # vmap takes cross-entropy to pieces, and a CPU then spends as long on them as on a layer.
        # Of all runs' examples at once it is whole.
        out, count = vmap(self._run)(weights, fixed, x), (y != -100).flatten(1).sum(1)
        each = F.cross_entropy(out.flatten(0, 1), y.flatten(0, 1), reduction="none")
        return each.view(len(y), -1).sum(1) / count

    def losses_and_gradients(self, drawn: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Losses of shape (runs,) on the minibatch of each seed; leaves the gradients."""
        batches = [drawn[i] for i in self.places]
        if self.job.stacked:  # what a seed draws is gathered once, and then goes to its runs
            x, y = (
                torch.stack(one).index_select(0, self.seeds) for one in zip(*drawn, strict=True)
            )
            batches = [(x, y)]
        found = []
        for (weights, fixed, gradients), (x, y) in zip(self.parts, batches, strict=True):
            losses = self._losses(weights, fixed, x, y)
            # A run's loss depends on its own weights alone, so the gradient of the sum is all the
            # gradients side by side; a lost run's NaN stays in its own row.
            torch._foreach_copy_(gradients, torch.autograd.grad(losses.sum(), weights))
            found.append(losses.detach())
        return torch.stack(found).flatten()

    def change(self, before: Tensor) -> Tensor:
        """‖weights − before‖ / ‖weights‖ of each run, shape (runs,)."""
        whole = torch.cat([self.weights, *(self.fixed[i].flatten(1) for i in self.idle)], 1)
        return (self.weights - before).norm(dim=1) / whole.norm(dim=1)

    def average(self, weights: Tensor, count: int) -> None:
        """Take `weights` into `mean`, the plain mean of all `count` that were taken in."""
        self.mean = self.mean.lerp_(weights, 1 / count) if count > 1 else weights.clone()

    def evaluate(
        self, evaluate: Callable[..., Mapping[str, Tensor]], weights: Tensor
    ) -> dict[str, np.ndarray]:
        if not len(weights):
            return {}

        def one(row: Tensor, fixed: list[Tensor]) -> dict[str, Tensor]:
            views = self._views(row)
            values = evaluate(lambda x: self._run(views, fixed, x))
            return {name: torch.as_tensor(value) for name, value in values.items()}

        self.base.eval()
        with torch.no_grad():
            if self.job.stacked:
                values = vmap(one, chunk_size=64)(weights, self.fixed)
            else:
                each = [one(row, part[1]) for row, part in zip(weights, self.parts, strict=True)]
                values = {name: torch.stack([v[name] for v in each]) for name in each[0]}
        self.base.train()
        return {name: _read(value) for name, value in values.items()}

    def keep(self, rows: Tensor) -> None:
        self.weights, self.gradient = self.weights[rows], self.gradient[rows]
        self.mean = self.mean[rows] if len(self.mean) else self.mean
        self.fixed = [tensor[rows] for tensor in self.fixed]
        self.places = self.places[rows.numpy()]
        self._lay_out()


class _Update:
    """An optimizer over the weights of many runs, (runs, weights), each with settings of its own.

    All that depends on them and on t alone is computed beforehand: no update waits for a number.

    Attributes:
        defaults: what it can be told, with torch's defaults.
        buffers: how many averages of the weights' size it keeps.
    """

    defaults: ClassVar[dict[str, Any]] = {}
    buffers = 1

    def __init__(self, weights: Tensor, rates: np.ndarray, settings: list[dict[str, Any]]):
        given = {
            name: np.array([one.get(name, value) for one in settings], dtype=float)[:, np.newaxis]
            for name, value in self.defaults.items()
        }
        # A row for each update, or one for all; in it a number for each run.
        self.numbers = {
            name: torch.from_numpy(values.T.copy()).to(weights.dtype).to(weights.device)[..., None]
            for name, values in self.plan(rates, given).items()
        }
        self.state = [torch.zeros_like(weights) for _ in range(self.buffers)]

    def plan(self, rates: np.ndarray, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The numbers that `step` needs, of shape (runs, updates) or (runs, 1).

        Args:
            rates: of shape (runs, updates).
            given: the settings, (runs, 1) each, and (runs, 1, 2) for betas.
        """
        raise NotImplementedError

    def step(self, w: Tensor, g: Tensor, n: dict[str, Tensor]) -> None:
        """Change the weights in place; the gradient may be used up."""
        raise NotImplementedError

    def __call__(self, weights: Tensor, gradient: Tensor, t: int) -> None:
        self.step(weights, gradient, {n: v[t % len(v)] for n, v in self.numbers.items()})

    def answers(self, weights: Tensor) -> Tensor:
        """The weights to evaluate, where they are not those that gradients are taken at."""
        return weights

    def keep(self, rows: Tensor) -> None:
        self.numbers = {name: values[:, rows] for name, values in self.numbers.items()}
        self.state = [one[rows] for one in self.state]


class _SGD(_Update):
    defaults: ClassVar = {"momentum": 0.0, "weight_decay": 0.0}

    def plan(self, rates: np.ndarray, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"rate": -rates} | {name: v for name, v in given.items() if v.any()}

    def step(self, w: Tensor, g: Tensor, n: dict[str, Tensor]) -> None:
        if "weight_decay" in n:
            g.addcmul_(w, n["weight_decay"])
        if "momentum" in n:
            g = torch.addcmul(g, self.state[0], n["momentum"], out=self.state[0])
        w.addcmul_(g, n["rate"])


class _RMSprop(_Update):
    defaults: ClassVar = {"alpha": 0.99, "eps": 1e-8}

    def plan(self, rates: np.ndarray, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"rate": -rates, "share": 1 - given["alpha"], "eps": given["eps"]}

    def step(self, w: Tensor, g: Tensor, n: dict[str, Tensor]) -> None:
        square = self.state[0].lerp_(g * g, n["share"])
        w.addcmul_(g.div_(square.sqrt().add_(n["eps"])), n["rate"])


class _Adam(_Update):
    defaults: ClassVar = {"betas": (0.9, 0.999), "eps": 1e-8}
    buffers = 2

    def plan(self, rates: np.ndarray, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        beta1, beta2 = np.moveaxis(given["betas"], -1, 0)
        t = np.arange(1, rates.shape[1] + 1)
        # Both sides of mean / (√square / root + eps) times root: one call less.
        root = np.sqrt(1 - beta2**t)
        numbers = {"share": 1 - beta1, "share2": 1 - beta2, "eps": given["eps"] * root}
        numbers |= {"rate": -rates * root / (1 - beta1**t)}
        if "weight_decay" in given:
            numbers["kept"] = 1 - rates * given["weight_decay"]
        return numbers

    def step(self, w: Tensor, g: Tensor, n: dict[str, Tensor]) -> None:
        mean, square = self.state
        if "kept" in n:
            w.mul_(n["kept"])
        mean.lerp_(g, n["share"])
        square.lerp_(g.square_(), n["share2"])
        scale = torch.sqrt(square, out=g).add_(n["eps"])
        w.addcmul_(torch.div(mean, scale, out=g), n["rate"])


class _AdamW(_Adam):
    defaults: ClassVar = {**_Adam.defaults, "weight_decay": 0.01}


class _ScheduleFree(_Update):
    """Gradients at y, the weights; a walk z; the walk's average x, which is the answer."""

    defaults: ClassVar = {**_Adam.defaults, "weight_decay": 0.0}
    buffers = 3

    def __init__(self, weights: Tensor, rates: np.ndarray, settings: list[dict[str, Any]]):
        super().__init__(weights, rates, settings)
        for start in self.state[:2]:  # z and x
            start.copy_(weights)

    def plan(self, rates: np.ndarray, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        beta1, beta2 = np.moveaxis(given["betas"], -1, 0)
        root = np.sqrt(1 - beta2 ** np.arange(1, rates.shape[1] + 1))
        largest = np.maximum.accumulate(rates, axis=1) ** 2
        total = largest.cumsum(axis=1)
        numbers = {"beta1": beta1, "share": largest / np.where(total > 0, total, 1)}
        numbers |= {"share2": 1 - beta2, "eps": given["eps"] * root, "rate": -rates * root}
        return numbers | {"decay": -rates * given["weight_decay"]}

    def step(self, w: Tensor, g: Tensor, n: dict[str, Tensor]) -> None:
        z, x, square = self.state
        square.lerp_(g * g, n["share2"])
        z.addcmul_(g.div_(square.sqrt().add_(n["eps"])), n["rate"])
        z.addcmul_(w, n["decay"])
        x.lerp_(z, n["share"])
        torch.lerp(z, x, n["beta1"], out=w)

    def answers(self, weights: Tensor) -> Tensor:
        return self.state[1]


_UPDATES: dict[str, type[_Update]] = {
    "torch.SGD": _SGD,
    "torch.RMSprop": _RMSprop,
    "torch.Adam": _Adam,
    "torch.AdamW": _AdamW,
    "schedulefree.AdamWScheduleFree": _ScheduleFree,
}
