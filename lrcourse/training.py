"""The one training loop: every chapter that trains a model trains it here.

At each update it writes down the learning rate that the optimizer really used, so that a chapter
can assert what others assume: planned rate == recorded rate.
"""

import json
import math
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_, get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau
from tqdm.auto import tqdm

from lrcourse import events
from lrcourse.files import write_whole

__all__ = ["LOST", "Run", "checkpointed", "processes", "train"]

LOST = 1e3
"""A run has diverged when its loss is not finite, or above this many times its first loss."""

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Run:
    """What a training run did, update by update.

    Attributes:
        loss: minibatch loss before update t, shape (updates,).
        rate: learning rate used by update t, shape (updates, parameter groups).
        gradient_norm: ‖gradient‖ over all parameters before clipping, shape (updates,); NaN when
            norms were not asked for.
        update_norm: ‖change of the parameters‖ made by update t, likewise.
        evaluated_at: updates made before each evaluation, shape (evaluations,).
        evaluations: name → values, shape (evaluations,).
        diverged_at: the update whose loss ended the run (that update was not made), or None.
        stepped: names of the torch scheduler classes that were stepped, parts of a SequentialLR or
            ChainedScheduler included; empty when the schedule was a function of t, or none.
    """

    loss: np.ndarray
    rate: np.ndarray
    gradient_norm: np.ndarray
    update_norm: np.ndarray
    evaluated_at: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    evaluations: Mapping[str, np.ndarray] = field(default_factory=dict)
    diverged_at: int | None = None
    stepped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.loss)

    def __repr__(self) -> str:
        end = "" if self.diverged_at is None else f", diverged at {self.diverged_at}"
        return f"<Run of {len(self)} updates{end}>"

    def to_frame(self) -> pd.DataFrame:
        """One row an update: step, loss, rate (rate_1, … for further groups), norms, evaluations.

        An evaluation made after n updates stands in the row of update n; the one after the last
        update has no such row and gets one of its own.
        """
        frame = pd.DataFrame({"step": np.arange(len(self)), "loss": self.loss})
        for group in range(self.rate.shape[1]):
            frame["rate" if group == 0 else f"rate_{group}"] = self.rate[:, group]
        frame["gradient_norm"], frame["update_norm"] = self.gradient_norm, self.update_norm
        if len(self.evaluated_at):
            measured = pd.DataFrame({"step": self.evaluated_at, **self.evaluations})
            frame = frame.merge(measured, on="step", how="outer")
        return frame

    def save(self, path: str | Path) -> None:
        """Write the run to `path` (NumPy's npz, no pickle), whole or not at all."""
        about = {
            "format": _FORMAT,
            "diverged_at": self.diverged_at,
            "stepped": self.stepped,
            "names": [*self.evaluations],
        }
        arrays = {f"evaluation_{i}": v for i, v in enumerate(self.evaluations.values())}
        for name in ("loss", "rate", "gradient_norm", "update_norm", "evaluated_at"):
            arrays[name] = getattr(self, name)
        with write_whole(path) as part, part.open("wb") as file:
            np.savez_compressed(file, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]

    @staticmethod
    def load(path: str | Path) -> "Run":
        """Read a run written by `save`.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, foreign, or of a newer format.
        """
        with _reading(path, "a saved run"):
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            about = json.loads(str(arrays.pop("about")))
            version, names = about["format"], about["names"]
            evaluations = {n: arrays.pop(f"evaluation_{i}") for i, n in enumerate(names)}
            ends = {"diverged_at": about["diverged_at"], "stepped": tuple(about["stepped"])}
        _refuse_other_format(path, version)
        return Run(**arrays, evaluations=evaluations, **ends)


@contextmanager
def _reading(path: str | Path, what: str) -> Iterator[None]:
    """Whatever goes wrong in reading a file becomes one sentence, but for its absence."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        why = (str(error) or repr(error)).splitlines()[0]
        raise ValueError(f"{path} is not {what}, or is damaged: {why}") from error


def _refuse_other_format(path: str | Path, version: object) -> None:
    if version != _FORMAT:
        raise ValueError(f"{path} has format {version}, this course reads {_FORMAT}")


def train(
    model: nn.Module,
    batches: Callable[[int], tuple[Tensor, Tensor]],
    optimizer: Optimizer,
    schedule: Callable[[int], float] | LRScheduler | None = None,
    *,
    steps: int,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    metric: str | None = None,
    clip: float | None = None,
    norms: bool = True,
    bf16: bool = False,
    evaluate: Callable[[nn.Module], Mapping[str, Tensor]] | None = None,
    every: int = 100,
    checkpoint: str | Path | None = None,
    resume: str | Path | None = None,
    replan: bool = False,
    notes: Mapping[str, Any] | None = None,
    log: str | Path | None = None,
    progress: bool = True,
) -> Run:
    """Train `model` for `steps` updates and record each of them.

    Under torch.distributed every process calls this with its own share of each minibatch and a
    DistributedDataParallel model. The losses and evaluations written down are then means over the
    processes, the same on each, so that all agree on a divergence; the first process alone writes
    files and shows the bar.

    Args:
        model: trained in place.
        batches: t → (x, y), the minibatch of update t = 0, 1, …
        optimizer: on the model's parameters; its rates are the peaks when `schedule` is a function.
        schedule: a function of t that gives the factor of the peak rate (any `lrcourse.schedules`
            value), or a torch scheduler built on this very optimizer; None keeps the rates.
            `step()` is called once per update, after the optimizer's; that of a ReduceLROnPlateau
            once per evaluation.
        steps: updates to make in all, ≥ 1.
        loss: (model(x), y) → scalar.
        metric: which of the values of `evaluate` a ReduceLROnPlateau is stepped with: after every
            `every` updates.
        clip: largest norm of the whole gradient; None does not clip.
        norms: record gradient and update norms (costs a copy of the parameters per update).
        bf16: compute in bfloat16 where autocast can, evaluations too; the weights stay as they are
            and the loss is taken of float32.
        evaluate: model → name → scalar; called without gradients, in evaluation mode, before the
            first update, after every `every` updates and at the end; with the model that a
            DistributedDataParallel wraps.
        every: updates between evaluations, and between checkpoints.
        checkpoint: a file to write the run's state to, before the first update, after every `every`
            updates and at the end; whole or not at all. The one before stays: `previous` names it.
        resume: a file that `checkpoint` wrote: go on from there. The result equals, bit for bit on
            one machine, that of a run that was never interrupted. (Random numbers that a model
            draws on a GPU, for dropout say, are not part of the state.)
        replan: resume with another schedule or other peaks than the checkpoint was made with: a
            function of t, which goes on at the update reached with the rate that it has there.
        notes: plain values to keep in each checkpoint; `checkpointed` gives them back.
        log: a folder for TensorBoard events: loss, rate, norms, evaluations, and the update ratio:
            the update's norm over that of all weights. A resumed run hides what was logged there
            for the updates that it makes again.
        progress: show a progress bar.

    Returns:
        The run, from update 0 on, also when it was resumed. It ends early when the loss is not
        finite or exceeds `LOST` times the first one, and says so in `diverged_at`.

    Raises:
        ValueError: an argument is out of range, a scheduler belongs to another optimizer, or the
            checkpoint does not fit, or a metric is missing, unknown, or without use.
        FileNotFoundError: there is no file to resume from.
    """
    for name, number in (("steps", steps), ("every", every)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {number!r}")
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be above 0, got {clip!r}")
    scheduler = _scheduler(schedule, optimizer)
    plateau = scheduler if isinstance(scheduler, ReduceLROnPlateau) else None
    if plateau and (metric is None or evaluate is None):
        raise ValueError(
            "metric must name a value of evaluate for ReduceLROnPlateau to listen to, "
            f"got metric={metric!r}" + (" and no evaluate" if evaluate is None else "")
        )
    if metric is not None and not plateau:
        raise ValueError(f"metric is for ReduceLROnPlateau alone, got {metric!r}")
    if replan and (resume is None or schedule is None or scheduler is schedule):
        raise ValueError("replan needs a checkpoint to resume, and a schedule that is a function")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    rows = np.full((steps, 3 + len(optimizer.param_groups)), np.nan)
    evaluated: list[tuple[int, dict[str, float]]] = []
    start, diverged_at = 0, None
    device = parameters[0].device
    weights = [p.detach() for p in parameters]
    moved = [torch.empty_like(w) for w in weights] if norms else []
    inner = model.module if isinstance(model, DistributedDataParallel) else model
    if processes()[0] > 0:
        checkpoint, log, progress = None, None, False

    def autocast() -> Any:
        return torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()

    def save(t: int) -> None:
        if checkpoint is None:
            return
        if writer is not None:
            writer.flush()  # what came before the checkpoint is not logged again after it
        _save(checkpoint, t, inner, optimizer, schedule, scheduler, rows, evaluated, notes)

    def assess(t: int) -> None:
        if evaluate is not None and not (evaluated and evaluated[-1][0] == t):
            with autocast():
                values = _evaluate(inner, evaluate, device)
            evaluated.append((t, values))
            if plateau and metric not in values:
                raise ValueError(f"metric must be one of {', '.join(values)}, got {metric!r}")
            if plateau and t > 0 and t % every == 0:
                plateau.step(values[str(metric)])
            show(values, t)

    def show(figures: Mapping[str, float], t: int) -> None:
        if writer is not None:
            events.show(writer, figures, t)

    writer = None
    if resume is not None:
        start, evaluated = _restore(resume, inner, optimizer, schedule, scheduler, rows, replan)
    if resume is None or replan:
        save(start)
    model.train()
    try:
        if log is not None:
            writer = events.writer(log, None if resume is None else start)
        if evaluated and evaluated[-1][0] == start:
            show(evaluated[-1][1], start)  # it was hidden with all that follows the checkpoint
        for t in bar(range(start, steps), progress):
            if t % every == 0:
                assess(t)
                if t > start:
                    save(t)
            x, y = batches(t)
            optimizer.zero_grad()
            with autocast():
                out = model(x)
            value = loss(out.float() if bf16 else out, y)
            rows[t, 0] = _mean(value.detach(), device)
            if not math.isfinite(rows[t, 0]) or rows[t, 0] > LOST * rows[0, 0]:
                diverged_at = t
                break
            value.backward()
            if clip is not None:
                rows[t, 1] = clip_grad_norm_(parameters, clip).item()
            elif norms:
                rows[t, 1] = get_total_norm(
                    [p.grad for p in parameters if p.grad is not None]
                ).item()
            rows[t, 3:] = [group["lr"] for group in optimizer.param_groups]
            if norms:
                torch._foreach_copy_(moved, weights)
            optimizer.step()
            if norms:
                torch._foreach_sub_(moved, weights)
                rows[t, 2] = get_total_norm(moved).item()
            if scheduler is not None and not plateau:
                scheduler.step()
            if writer is not None:
                names = ("loss", "gradient_norm", "update_norm", "rate")
                with np.errstate(all="ignore"):  # of weights that are all 0, or no longer finite
                    ratio = rows[t, 2] / get_total_norm(weights).item()
                show(dict(zip(names, rows[t], strict=False)) | {"update_ratio": ratio}, t)
        else:
            assess(steps)
            save(steps)
    finally:
        if writer is not None:
            writer.close()

    made = rows[: steps if diverged_at is None else diverged_at + 1]
    metrics = list(evaluated[0][1]) if evaluated else []
    return Run(
        loss=made[:, 0],
        rate=made[:, 3:],
        gradient_norm=made[:, 1],
        update_norm=made[:, 2],
        evaluated_at=np.array([t for t, _ in evaluated], dtype=np.int64),
        evaluations={name: np.array([values[name] for _, values in evaluated]) for name in metrics},
        diverged_at=diverged_at,
        stepped=_classes(scheduler) if schedule is scheduler else (),
    )


def bar(updates: range, shown: bool) -> Iterable[int]:
    """`updates` with a progress bar, or without.

    TQDM_DISABLE in the environment hides every bar: tqdm's own switch, which its bar for notebooks
    ignores.
    """
    if not shown or os.environ.get("TQDM_DISABLE"):
        return updates
    return tqdm(updates, initial=updates.start, total=updates.stop, leave=False)


def _scheduler(schedule: Any, optimizer: Optimizer) -> LRScheduler | None:
    if schedule is None:
        return None
    if isinstance(schedule, LRScheduler):
        if schedule.optimizer is not optimizer:
            raise ValueError("schedule must be built on the optimizer given, not on another one")
        return schedule
    if not callable(schedule):
        raise ValueError(
            f"schedule must be a function of t, a torch scheduler or None, got {schedule!r}"
        )
    return LambdaLR(optimizer, schedule)


def _classes(scheduler: LRScheduler | None) -> tuple[str, ...]:
    if scheduler is None:
        return ()
    parts = getattr(scheduler, "_schedulers", ())
    return (type(scheduler).__name__, *(name for part in parts for name in _classes(part)))


def processes() -> tuple[int, int]:
    """This process's number and how many there are: (0, 1) outside torch.distributed."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def _mean(value: Tensor | float, device: torch.device) -> float:
    """`value`; of several processes the mean of theirs, the same on each."""
    _, count = processes()
    if count == 1:
        return float(value)
    total = torch.tensor(float(value), dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return total.item() / count


def _evaluate(
    model: nn.Module, evaluate: Callable[..., Mapping[str, Tensor]], device: torch.device
) -> dict[str, float]:
    model.eval()
    with torch.no_grad():
        values = {name: _mean(value, device) for name, value in evaluate(model).items()}
    model.train()
    return values


def _plan(schedule: Any, scheduler: LRScheduler | None, optimizer: Optimizer) -> dict[str, Any]:
    """What a checkpoint says of the schedule: enough to refuse another one, and to go on.

    A function of t has no state but t, which makes it safe to store: its name and peaks will do.
    """
    if scheduler is None:
        return {"kind": "none", "settings": [float(g["lr"]) for g in optimizer.param_groups]}
    if schedule is scheduler:
        state = scheduler.state_dict()
        return {"kind": type(scheduler).__name__, "settings": _settings(state), "state": state}
    name = type(schedule).__name__ if " at 0x" in repr(schedule) else repr(schedule)
    return {"kind": name, "settings": [float(rate) for rate in scheduler.base_lrs]}


def _settings(state: Mapping[str, Any]) -> dict[str, Any]:
    """What a torch scheduler's state holds beside its clock: T_max, milestones, base rates, …

    Loading a state silently replaces all of it, so that a run that was meant to become longer by a
    new T_max would not. A checkpoint with other settings is refused instead.
    """
    clock = {"last_epoch", "T_cur", "T_i", "best", "num_bad_epochs", "cooldown_counter"}
    kept = {k: v for k, v in state.items() if k not in clock and not k.startswith("_")}
    return kept | {"parts": [_settings(part) for part in state.get("_schedulers", [])]}


def _save(
    path: str | Path,
    t: int,
    model: nn.Module,
    optimizer: Optimizer,
    schedule: Any,
    scheduler: LRScheduler | None,
    rows: np.ndarray,
    evaluated: list[tuple[int, dict[str, float]]],
    notes: Mapping[str, Any] | None,
) -> None:
    state = {
        "format": _FORMAT,
        "t": t,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "plan": _plan(schedule, scheduler, optimizer),
        "rows": torch.from_numpy(rows[:t]),
        "evaluated": evaluated,
        "random": torch.get_rng_state(),
        "notes": dict(notes or {}),
    }
    with write_whole(path, keep=True) as part:
        torch.save(state, part)


def _load(path: str | Path) -> dict[str, Any]:
    with _reading(path, "a checkpoint"):
        with zipfile.ZipFile(path) as parts:  # torch.load would not notice a changed byte
            if bad := parts.testzip():
                raise ValueError(f"{bad} is not what was written")
        # Never unpickles code; and the process that saved it may have had another device.
        state = torch.load(path, weights_only=True, map_location="cpu")
        version = state["format"]
    _refuse_other_format(path, version)
    wanted = {"t", "model", "optimizer", "plan", "rows", "evaluated", "random"}
    if missing := sorted(wanted - state.keys()):
        raise ValueError(f"{path} is not a checkpoint, or is damaged: no {', '.join(missing)}")
    return state


def checkpointed(path: str | Path) -> tuple[int, dict[str, Any]]:
    """What a checkpoint of `train` holds: the updates made, and the `notes` given.

    Raises:
        ValueError: the file is damaged, foreign, or of a newer format.
        FileNotFoundError: there is no such file.
    """
    state = _load(path)
    return state["t"], state.get("notes", {})


def _restore(
    path: str | Path,
    model: nn.Module,
    optimizer: Optimizer,
    schedule: Any,
    scheduler: LRScheduler | None,
    rows: np.ndarray,
    replan: bool,
) -> tuple[int, list[tuple[int, dict[str, float]]]]:
    state = _load(path)
    t, plan = state["t"], state["plan"]
    if t > len(rows):
        raise ValueError(f"steps must be at least the {t} updates {path} has made, got {len(rows)}")
    mine = _plan(schedule, scheduler, optimizer)
    for what in ("kind", "settings"):
        if plan.get(what) != mine.get(what) and not replan:
            raise ValueError(
                f"schedule must be the one that {path} was made with: "
                f"{what} {plan.get(what)}, got {mine.get(what)}"
            )
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise ValueError(f"model must be the one that {path} was made with: {why}") from error
    optimizer.load_state_dict(state["optimizer"])
    # The scheduler is built by now: its constructor multiplied the rates, and the optimizer's
    # state has just put them right again. In the other order they would stay wrong.
    if scheduler is not None and schedule is scheduler:
        scheduler.load_state_dict(plan["state"])
    elif scheduler is not None:
        for group, peak in zip(optimizer.param_groups, scheduler.base_lrs, strict=True):
            group["initial_lr"], group["lr"] = peak, peak * schedule(t)  # another plan's, perhaps
        scheduler.last_epoch = scheduler._step_count = t
        scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]
    rows[:t] = state["rows"].numpy()
    torch.set_rng_state(state["random"])
    return t, [(int(at), dict(values)) for at, values in state["evaluated"]]
