"""Many training runs at once: schedule × peak rate × seed × any optimizer setting.

The weights of all runs are stacked and `torch.func.vmap` trains them together, so that sixty-four
small models cost little more than a few. Each run does what `training.train` would do with the
real `torch.optim` class, the same minibatches per seed included.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from schedulefree import AdamWScheduleFree  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.dropout import _DropoutNd as _Dropout
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from lrcourse.arguments import Count, Positive, Share, check_argument, refuse
from lrcourse.data import minibatch
from lrcourse.files import Cache, fingerprint
from lrcourse.runs import log_sweep, lost
from lrcourse.schedules import Constant
from lrcourse.training import factor, one_number, progress_bar

__all__ = ["as_planned", "final", "sweep"]

# Weights that are stacked at once, unless `chunk` says otherwise: with their gradients and averages
# they just fit into a processor's cache, and twice as many already take longer per run.
_STACKED = 600_000

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
        chunk: runs trained at once; without, as many as a processor's cache holds. Chunks go
            through joblib, so under `joblib.parallel_config` they run on any backend it knows,
            a Dask cluster among them; where a worker is lost, its chunk is trained anew.
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
    if chunk is None:
        with _SEEDING:
            weights = sum(p.numel() for p in model(seeds[0]).parameters())
        chunk = max(1, _STACKED // max(1, weights))
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
        model, batches, named, steps, optimizer, loss, evaluate, every, first, clip, bf16, progress
    )
    parts = [runs[i : i + chunk] for i in range(0, len(runs), chunk)]
    # vmap has no rule for the fused attention kernels: it would take the runs one by one. Which
    # kernels may be used is one setting for all threads: chunks in threads find it made here.
    with sdpa_kernel(SDPBackend.MATH):
        found = dict(_finished(job, parts, None if cache is None else Cache(cache)))
    tables = [_named(found[i], part) for i, part in enumerate(parts)]
    frame = pd.concat(tables, ignore_index=True).astype({"diverged_at": "Int64"})
    if log is not None:
        try:
            log_sweep(frame, log, ["schedule", "peak", "seed", *axes])
        except OSError as error:  # the runs are made: they must not be lost with their log
            warnings.warn(f"the log in {log} could not be written: {error}", stacklevel=2)
    return frame


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
    if optimizer not in _UPDATES:
        refuse("optimizer", optimizer, f"one of {', '.join(kind.__name__ for kind in _UPDATES)}")
    for name in settings:
        if name not in _UPDATES[optimizer].defaults:
            known = ", ".join(_UPDATES[optimizer].defaults)
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
    progress: bool

    def __call__(self, i: int, runs: list[_One]) -> tuple[int, pd.DataFrame]:
        with sdpa_kernel(SDPBackend.MATH):  # again, for chunks that run in another process
            return i, self._train(runs)

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
        parts += [self.steps, self.every, self.first, self.clip, self.bf16]
        factors = {run.schedule: self._factors(run.schedule) for run in runs}
        for run in runs:
            parts += [run.peak, run.settings, factors[run.schedule], *seen[run.seed]]
        return fingerprint(parts)

    def _factors(self, name: str) -> np.ndarray:
        return np.array([factor(self.schedules[name], t) for t in range(self.steps)])

    def _train(self, runs: list[_One]) -> pd.DataFrame:
        seeds = sorted({run.seed for run in runs})
        with _SEEDING:
            models = {seed: self.model(seed) for seed in seeds}
        base = models[seeds[0]].train()
        _refuse_model(base)
        batches = {seed: self.batches(seed) for seed in seeds}
        factors = {name: self._factors(name) for name in {run.schedule for run in runs}}
        rates = np.array([run.peak * factors[run.schedule] for run in runs])

        stack = _Stack(base, [models[run.seed] for run in runs], self.loss, self.bf16)
        update = _UPDATES[self.optimizer](stack.weights, [run.settings for run in runs])
        losses = np.full((len(runs), self.steps), np.nan)
        diverged = np.full(len(runs), -1)
        alive = np.arange(len(runs))  # the runs still in the stack, in its order
        rows: list[pd.DataFrame] = []
        for t in progress_bar(range(self.steps), self.progress):
            drawn = {seed: minibatch(batches[seed], t) for seed in seeds}
            if t == 0:
                _refuse_changing_buffers(base, drawn[seeds[0]][0])
            x = torch.stack([drawn[runs[i].seed][0] for i in alive])
            y = torch.stack([drawn[runs[i].seed][1] for i in alive])
            now = stack.losses_and_gradients(x, y)
            losses[alive, t] = now
            firsts = losses[alive, 0].tolist()
            gone = np.array([*map(lost, now.tolist(), firsts)], dtype=bool)
            if gone.any():
                diverged[alive[gone]] = t
                keep = torch.from_numpy(np.flatnonzero(~gone))
                alive = alive[~gone]
                stack.keep(keep)
                update.keep(keep, stack.weights)
            row = (t + 1) % self.every == 0 or t + 1 == self.steps or not len(alive)
            before = stack.copy() if row else []
            if len(alive):
                norms = stack.gradient_norms() if row or self.clip is not None else torch.empty(0)
                if self.clip is not None:
                    stack.clip(self.clip, norms)
                update(rates[alive, t], t)
                if t >= self.first:
                    stack.average(update.answers())
            if row:
                since = t // self.every * self.every
                columns = {"loss": losses[alive, since : t + 1].mean(axis=1)}
                columns |= {"rate": rates[alive, t]}
                if len(alive):
                    moved = {"gradient_norm": norms, "update_ratio": stack.change(before)}
                    columns |= {name: value.double().cpu().numpy() for name, value in moved.items()}
                if self.evaluate is not None:
                    columns |= stack.evaluate(self.evaluate, update.answers())
                    averaged = stack.evaluate(self.evaluate, stack.mean)
                    columns |= {f"averaged_{name}": values for name, values in averaged.items()}
                table = pd.DataFrame(columns, index=alive).reindex(range(len(runs)))
                table.insert(0, "step", t + 1 if len(alive) else self.steps)
                rows.append(table.rename_axis("run").reset_index())  # of lost runs: nothing
            if not len(alive):
                break
        frame = pd.concat(rows, ignore_index=True)
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


def _refuse_changing_buffers(model: nn.Module, x: Tensor) -> None:
    tried = deepcopy(model)
    with torch.no_grad():
        tried(x)
    for (name, before), after in zip(model.named_buffers(), tried.buffers(), strict=True):
        if not torch.equal(before, after):
            refuse("model", type(model).__name__, f"no buffer that forward changes, as {name} is")


def _norms(stacks: Iterable[Tensor]) -> Tensor:
    """The norm of each run over all tensors, whose first dimension is the runs."""
    return torch.stack([x.flatten(1).norm(dim=1) for x in stacks]).norm(dim=0)


class _Stack:
    """The same module many times: each parameter stacked along a first dimension of runs."""

    def __init__(
        self, base: nn.Module, models: list[nn.Module], loss: Callable[..., Tensor], bf16: bool
    ):
        self.base = base
        parts = [{**dict(m.named_parameters()), **dict(m.named_buffers())} for m in models]
        stacked = {name: torch.stack([p[name].detach() for p in parts]) for name in parts[0]}
        # Frozen weights stand with the buffers: they differ by seed, and no update changes them.
        self.weights = {n: stacked[n] for n, p in base.named_parameters() if p.requires_grad}
        self.buffers = {n: stacked[n] for n in stacked if n not in self.weights}

        device = next(iter(self.weights.values())).device.type

        def run(weights: Any, buffers: Any, x: Tensor) -> Tensor:
            with torch.autocast(device, torch.bfloat16, enabled=bf16):
                out = functional_call(base, (weights, buffers), (x,))
            return out.float() if bf16 else out

        def one(weights: Any, buffers: Any, x: Tensor, y: Tensor) -> Tensor:
            return one_number(loss(run(weights, buffers, x), y))

        self._run, self._losses = run, vmap(one)
        self.mean: dict[str, Tensor] = {}
        self.averaged = 0

    def losses_and_gradients(self, x: Tensor, y: Tensor) -> np.ndarray:
        """Losses of shape (runs,); leaves each weight's gradient in its `.grad`."""
        for weight in self.weights.values():
            weight.requires_grad_(True)
            weight.grad = None
        losses = self._losses(self.weights, self.buffers, x, y)
        # A run's loss depends on its own weights alone, so the gradient of the sum is all the
        # gradients side by side; a lost run's NaN stays in its own row.
        losses.sum().backward()
        return losses.detach().double().cpu().numpy()

    def gradient_norms(self) -> Tensor:
        """The norm of each run's whole gradient, shape (runs,)."""
        return _norms(w.grad for w in self.weights.values() if w.grad is not None)

    def clip(self, largest: float, norms: Tensor) -> None:
        """Scale each run's gradient to a norm of at most `largest`, as clip_grad_norm_ does."""
        shares = (largest / (norms + 1e-6)).clamp(max=1)
        for weight in self.weights.values():
            if weight.grad is not None:
                weight.grad.mul_(shares.view(-1, *[1] * (weight.dim() - 1)))

    def copy(self) -> list[Tensor]:
        return [weight.detach().clone() for weight in self.weights.values()]

    def change(self, before: list[Tensor]) -> Tensor:
        """‖weights − before‖ / ‖weights‖ of each run, shape (runs,)."""
        after = [weight.detach() for weight in self.weights.values()]
        moved = _norms(a - b for a, b in zip(after, before, strict=True))
        return moved / _norms(after)

    def average(self, weights: dict[str, Tensor]) -> None:
        """Take `weights` into `mean`, the plain mean of all that were taken in."""
        self.averaged += 1
        if self.averaged == 1:
            self.mean = {name: weight.detach().clone() for name, weight in weights.items()}
        for name, mean in self.mean.items():
            mean.lerp_(weights[name].detach(), 1 / self.averaged)

    def evaluate(
        self, evaluate: Callable[..., Mapping[str, Tensor]], weights: dict[str, Tensor]
    ) -> dict[str, np.ndarray]:
        if not weights or not len(next(iter(weights.values()))):
            return {}

        def one(weights: Any, buffers: Any) -> dict[str, Tensor]:
            values = evaluate(lambda x: self._run(weights, buffers, x))
            return {name: torch.as_tensor(value) for name, value in values.items()}

        self.base.eval()
        with torch.no_grad():
            values = vmap(one, chunk_size=64)(weights, self.buffers)
        self.base.train()
        return {name: value.double().cpu().numpy() for name, value in values.items()}

    def keep(self, rows: Tensor) -> None:
        for name, weight in self.weights.items():
            kept = weight.detach()[rows]
            kept.grad = None if weight.grad is None else weight.grad[rows]
            self.weights[name] = kept
        self.buffers = {name: buffer[rows] for name, buffer in self.buffers.items()}
        self.mean = {name: mean[rows] for name, mean in self.mean.items()}


class _Update:
    """An optimizer over stacked weights; settings are vectors with one entry a run.

    Attributes:
        defaults: what it can be told, with torch's defaults.
        buffers: how many averages of the weights' size it keeps.
    """

    defaults: ClassVar[dict[str, Any]] = {}
    buffers = 1

    def __init__(self, weights: dict[str, Tensor], settings: list[dict[str, Any]]):
        self.weights = weights
        self.settings: dict[str, np.ndarray] = {
            name: np.array([one.get(name, value) for one in settings], dtype=float)
            for name, value in self.defaults.items()
        }
        self.state: list[dict[str, Tensor]] = [
            {name: torch.zeros_like(weight) for name, weight in weights.items()}
            for _ in range(self.buffers)
        ]

    def keep(self, rows: Tensor, weights: dict[str, Tensor]) -> None:
        self.weights = weights
        self.settings = {name: v[rows.numpy()] for name, v in self.settings.items()}
        self.state = [{name: v[rows] for name, v in state.items()} for state in self.state]

    def __call__(self, rates: np.ndarray, t: int) -> None:
        with torch.no_grad():
            for name, weight in self.weights.items():
                if weight.grad is not None:
                    self.step(name, weight.detach(), weight.grad, rates, t)

    def step(self, name: str, w: Tensor, g: Tensor, rates: np.ndarray, t: int) -> None:
        raise NotImplementedError

    def answers(self) -> dict[str, Tensor]:
        """The weights to evaluate, where they are not those that gradients are taken at."""
        return self.weights

    @staticmethod
    def column(values: np.ndarray, like: Tensor) -> Tensor:
        """One value a run, shaped to multiply `like`, whose first dimension is the runs."""
        shaped = torch.from_numpy(values).to(like.device, like.dtype)
        return shaped.view(-1, *[1] * (like.dim() - 1))


class _SGD(_Update):
    defaults: ClassVar = {"momentum": 0.0, "weight_decay": 0.0}

    def step(self, name: str, w: Tensor, g: Tensor, rates: np.ndarray, t: int) -> None:
        s = self.settings
        if s["weight_decay"].any():
            g = g + self.column(s["weight_decay"], w) * w
        if s["momentum"].any():
            g = self.state[0][name].mul_(self.column(s["momentum"], w)).add_(g)
        w.addcmul_(g, self.column(-rates, w))


class _RMSprop(_Update):
    defaults: ClassVar = {"alpha": 0.99, "eps": 1e-8}

    def step(self, name: str, w: Tensor, g: Tensor, rates: np.ndarray, t: int) -> None:
        s, square = self.settings, self.state[0][name]
        square.mul_(self.column(s["alpha"], w)).addcmul_(g * g, self.column(1 - s["alpha"], w))
        scale = square.sqrt().add_(self.column(s["eps"], w))
        w.addcdiv_(g * self.column(-rates, w), scale)


class _Adam(_Update):
    defaults: ClassVar = {"betas": (0.9, 0.999), "eps": 1e-8}
    buffers = 2

    def step(self, name: str, w: Tensor, g: Tensor, rates: np.ndarray, t: int) -> None:
        s, (mean, square) = self.settings, (state[name] for state in self.state)
        beta1, beta2 = s["betas"].T
        if "weight_decay" in s:
            w.mul_(self.column(1 - rates * s["weight_decay"], w))
        mean.lerp_(g, self.column(1 - beta1, w))
        square.mul_(self.column(beta2, w)).addcmul_(g * g, self.column(1 - beta2, w))
        size = self.column(-rates / (1 - beta1 ** (t + 1)), w)
        root = self.column(np.sqrt(1 - beta2 ** (t + 1)), w)
        w.addcdiv_(mean * size, (square.sqrt() / root).add_(self.column(s["eps"], w)))


class _AdamW(_Adam):
    defaults: ClassVar = {**_Adam.defaults, "weight_decay": 0.01}


class _ScheduleFree(_Update):
    """Gradients at y, the weights; a walk z; the walk's average x, which is the answer."""

    defaults: ClassVar = {**_Adam.defaults, "weight_decay": 0.0}
    buffers = 3

    def __init__(self, weights: dict[str, Tensor], settings: list[dict[str, Any]]):
        super().__init__(weights, settings)
        for start in self.state[:2]:  # z and x
            for name, weight in weights.items():
                start[name].copy_(weight)
        self.settings |= {name: np.zeros(len(settings)) for name in ("largest", "total", "share")}

    def __call__(self, rates: np.ndarray, t: int) -> None:
        s = self.settings
        s["largest"] = np.maximum(s["largest"], rates)
        s["total"] = s["total"] + s["largest"] ** 2
        s["share"] = s["largest"] ** 2 / np.where(s["total"] > 0, s["total"], 1)
        super().__call__(rates, t)

    def step(self, name: str, w: Tensor, g: Tensor, rates: np.ndarray, t: int) -> None:
        s, (z, x, square) = self.settings, (state[name] for state in self.state)
        beta1, beta2 = s["betas"].T
        square.mul_(self.column(beta2, w)).addcmul_(g * g, self.column(1 - beta2, w))
        root = self.column(np.sqrt(1 - beta2 ** (t + 1)), w)
        change = g / square.sqrt().div_(root).add_(self.column(s["eps"], w))
        if s["weight_decay"].any():
            change.addcmul_(w, self.column(s["weight_decay"], w))
        z.addcmul_(change, self.column(-rates, w))
        x.lerp_(z, self.column(s["share"], w))
        torch.lerp(z, x, self.column(beta1, w), out=w)

    def answers(self) -> dict[str, Tensor]:
        return self.state[1]


_UPDATES: dict[type[Optimizer], type[_Update]] = {
    SGD: _SGD,
    RMSprop: _RMSprop,
    Adam: _Adam,
    AdamW: _AdamW,
    AdamWScheduleFree: _ScheduleFree,
}
