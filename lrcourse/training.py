"""The one training loop: every chapter that trains a model trains it here.

Read `train` from top to bottom. What stands beside it is small: a `Clock` moves the rate, a
`runs.Recorder` writes down each update, with the rate that the optimizer really used, and
`checkpoints` keeps the run's state in a file.
"""

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_, get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, LambdaLR, LRScheduler, ReduceLROnPlateau
from tqdm.auto import tqdm

from lrcourse.arguments import Count, Factor, Positive, check_argument, refuse
from lrcourse.checkpoints import differences, plain, read_checkpoint, write_checkpoint
from lrcourse.data import minibatch
from lrcourse.runs import Recorder, Run
from lrcourse.schedules import Schedule

__all__ = ["Clock", "factor", "factors", "processes", "progress_bar", "train"]


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
        optimizer: on the model's parameters; its rates are the peaks when `schedule` is a function,
            and stand in it again when the run has ended.
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
        resume: a file that `checkpoint` wrote: go on from there, with all built as it was for that
            run, and as many steps or more. The result equals, bit for bit on one machine, that of
            a run that was never interrupted. (Random numbers that a model draws on a GPU, for
            dropout say, are not part of the state.)
        replan: resume with another schedule or other peaks than the checkpoint was made with: a
            function of t, which goes on at the update reached with the rate that it has there.
        notes: plain values to keep in each checkpoint, for `checkpoints.read_checkpoint`.
        log: a folder for TensorBoard events: loss, rate, norms, evaluations, and the update ratio:
            the update's norm over that of all weights. A resumed run hides what was logged there
            for the updates that it makes again.
        progress: show a progress bar.

    Returns:
        The run, from update 0 on, also when it was resumed. It ends early when the loss is not
        finite or exceeds `LOST` times the first one, and says so in `diverged_at`.

    Raises:
        ValueError: an argument cannot be used: it is out of range, a scheduler belongs to another
            optimizer or the optimizer to another model, a schedule gives what is no factor, a
            metric is missing, unknown or without use, or anything is not as it was when the
            checkpoint was made.
        FileNotFoundError: there is no file to resume from.
        OSError: a checkpoint cannot be written.
    """
    check_argument("steps", steps, Count)
    check_argument("every", every, Count)
    check_argument("clip", clip, Positive | None)
    if not callable(batches):
        refuse("batches", batches, "a function of t that gives (x, y), as data.Minibatches is")
    bare = model.module if isinstance(model, DistributedDataParallel) else model
    refuse_optimizer(optimizer, bare)
    clock = Clock(schedule, optimizer, steps, metric, listens=evaluate is not None)
    if replan and (resume is None or not clock.is_function):
        refuse("replan", replan, "a checkpoint to resume, and a schedule that is a function of t")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    device = parameters[0].device
    rank, count = processes()
    if rank > 0:  # the first process alone writes files and shows the bar
        checkpoint, log, progress = None, None, False
    record = Recorder(steps, optimizer, norms)
    made = {}
    if checkpoint is not None or resume is not None:
        made = {"schedule": clock.made(), "optimizer": _made(optimizer, bare)}

    def precision() -> AbstractContextManager[Any]:
        return torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()

    def assess(t: int) -> None:
        """Measure the model after t updates, unless a checkpoint has brought the values."""
        if evaluate is not None and not (record.evaluated and record.evaluated[-1][0] == t):
            with precision():
                values = _evaluate(bare, evaluate, device)
            record.evaluation(t, values)
            clock.hear(values, counts=t > 0 and t % every == 0)

    def save(t: int) -> None:
        if checkpoint is not None:
            parts = {"model": bare, "optimizer": optimizer, "schedule": clock}
            state = {name: part.state_dict() for name, part in parts.items()}
            state |= {"made": made, "notes": dict(notes or {})}
            write_checkpoint(checkpoint, t, state | record.state_dict(t))

    start = 0
    if resume is not None:
        start = _resume(resume, made, (bare, optimizer, clock, record), steps, replan)
    if resume is None or replan:
        save(start)
    model.train()
    try:
        if log is not None:
            record.open(log, None if resume is None else start)
        for t in progress_bar(range(start, steps), progress):
            # Every so often: how good is the model, and a checkpoint to come back to.
            if t % every == 0:
                assess(t)
                if t > start:
                    save(t)

            # Forward: the loss of this minibatch. A run whose loss has run away ends here.
            x, y = minibatch(batches, t)
            with precision():
                out = model(x)
            value = one_number(loss(out.float() if bf16 else out, y))
            if record.is_lost(t, value.item() if count == 1 else _mean(value, device)):
                break

            # Backward: the gradient, of this minibatch alone, and shortened where it is too long.
            optimizer.zero_grad()
            value.backward()
            if clip is not None:
                record.gradient(clip_grad_norm_(parameters, clip).item())
            elif norms:
                gradients = [p.grad for p in parameters if p.grad is not None]
                record.gradient(get_total_norm(gradients).item())

            # The update, at the rate that stands in the optimizer now: this is what is recorded.
            record.before_update()
            optimizer.step()
            record.after_update()

            # Only then the clock: it sets the rate of the next update.
            clock.tick()
        else:
            assess(steps)
            save(steps)
    finally:
        clock.release()
        record.close()
    return record.run(clock.stepped)


class Clock:
    """Moves the rate: by a function of t, by a torch scheduler, or as a plateau that listens.

    Args:
        schedule: as for `train`; the rates stay where it is None.
        optimizer: whose rates are moved. Building a clock already sets those of the first update.
        steps: updates for which a function is asked beforehand, so that it is refused at once.
        metric: the name of the value that a ReduceLROnPlateau hears.
        listens: whether there will be values to hear.

    Raises:
        ValueError: the scheduler is built on another optimizer; a function gives what is no factor;
            a ReduceLROnPlateau lacks a metric, or a metric is given without one.
    """

    def __init__(
        self,
        schedule: Callable[[int], float] | LRScheduler | None,
        optimizer: Optimizer,
        steps: int,
        metric: str | None = None,
        listens: bool = False,
    ) -> None:
        if isinstance(schedule, LRScheduler) and schedule.optimizer is not optimizer:
            refuse("schedule", schedule, "one built on the optimizer given, not on another one")
        if not (schedule is None or isinstance(schedule, LRScheduler) or callable(schedule)):
            refuse("schedule", schedule, "a function of t, a torch scheduler or None")
        self.plateau = schedule if isinstance(schedule, ReduceLROnPlateau) else None
        if self.plateau and (metric is None or not listens):
            why = "the name of a value of evaluate, for ReduceLROnPlateau to listen to"
            refuse("metric", metric, why if listens else f"{why}, and evaluate")
        if metric is not None and not self.plateau:
            refuse("metric", metric, "None: it is for ReduceLROnPlateau alone")
        self.optimizer, self.metric = optimizer, metric
        self.is_function = not (schedule is None or isinstance(schedule, LRScheduler))
        self.peaks = [group["lr"] for group in optimizer.param_groups]
        self.factors = np.ones(steps)
        self.scheduler = schedule if isinstance(schedule, LRScheduler) else None
        if schedule is not None and not isinstance(schedule, LRScheduler):
            self.factors = factors(schedule, steps)  # what is no factor is refused at once
            for group in optimizer.param_groups:  # the peaks are what stands there now; without
                group["initial_lr"] = group["lr"]  # this, LambdaLR takes those of an earlier run
            # Asked again at its time: what it gives may depend on what was heard meanwhile. After
            # the last update there is nothing left to ask for.
            self.scheduler = LambdaLR(optimizer, lambda t: factor(schedule, min(t, steps - 1)))

    def tick(self) -> None:
        """An update has been made: on to the rate of the next one."""
        if self.scheduler is not None and not self.plateau:
            self.scheduler.step()

    def hear(self, values: Mapping[str, float], counts: bool) -> None:
        """The model has been evaluated; a plateau listens where that `counts`.

        Raises:
            ValueError: there is no value of the metric's name.
        """
        if self.plateau and self.metric not in values:
            refuse("metric", self.metric, f"one of {', '.join(values)}")
        if self.plateau and counts:
            self.plateau.step(values[str(self.metric)])

    def release(self) -> None:
        """Put the peaks back into the optimizer, where they were the user's and no scheduler's."""
        if self.is_function:
            for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
                group["lr"] = peak

    @property
    def stepped(self) -> tuple[str, ...]:
        """Names of the torch classes that are stepped: see `Run`."""
        return () if self.is_function else _classes(self.scheduler)

    def made(self) -> dict[str, Any]:
        """How the schedule was made, in plain values, and what its functions give in a run."""
        if self.scheduler is not None and not self.is_function:
            settings = _settings(self.scheduler, len(self.factors))
            return {"kind": type(self.scheduler).__name__, **settings}
        kind = "a function of t" if self.is_function else "none"
        return plain({"kind": kind, "peak": self.peaks, "factor": self.factors}, "schedule")

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule is. A function of t has no state but t, which is safe to store."""
        return {} if self.scheduler is None or self.is_function else self.scheduler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any], t: int) -> None:
        """Go on after t updates. The optimizer's own state must have been loaded before."""
        # A scheduler multiplied the rates when it was built, and the optimizer's state has put
        # them right since. In the other order they would stay wrong.
        if self.is_function:
            plan: Any = self.scheduler
            for group, peak in zip(self.optimizer.param_groups, plan.base_lrs, strict=True):
                # The checkpoint's may be those of another plan.
                group["initial_lr"], group["lr"] = peak, peak * plan.lr_lambdas[0](t)
            plan.last_epoch = plan._step_count = t
            plan._last_lr = [group["lr"] for group in self.optimizer.param_groups]
        elif self.scheduler is not None:
            self.scheduler.load_state_dict(dict(state))


def factor(schedule: Callable[[int], float], t: int) -> float:
    """`schedule(t)` as a plain number.

    Raises:
        ValueError: it is no finite number of 0 or more: below 0, an update would climb.

    >>> factor(lambda t: 1 - t / 4, 5)
    Traceback (most recent call last):
    ValueError: schedule(5) is -0.25, expected a finite number >= 0
    """
    value = schedule(t)
    if isinstance(value, float) and 0 <= value < np.inf:
        return float(value)
    value = value.item() if isinstance(value, Tensor | np.ndarray | np.generic) else value
    check_argument(f"schedule({t})", value, Factor)
    return float(value)


def factors(schedule: Callable[[int], float], steps: int) -> np.ndarray:
    """What a schedule gives the first `steps` updates, each as by `factor`."""
    if isinstance(schedule, Schedule):  # all at once
        return schedule(np.arange(steps))
    return np.array([factor(schedule, t) for t in range(steps)])


def _settings(scheduler: Any, steps: int) -> dict[str, Any]:
    """How a torch scheduler was made: its state before its first step, and what its functions give.

    Loading a state silently replaces all of it: milestones, T_max, base rates. So a run that was
    meant to become longer by a new T_max would not, and a checkpoint that was made with other
    settings is refused instead. Functions are no part of the state: what they give stands for them.
    """
    state = {k: v for k, v in scheduler.state_dict().items() if k != "_schedulers"}
    functions = getattr(scheduler, "lr_lambdas", None) or []
    if isinstance(scheduler, CyclicLR):
        functions = [lambda t: scheduler.scale_fn(t + 1)]
    given = [torch.tensor([float(f(t)) for t in range(steps)]) for f in functions]
    parts = [_settings(part, steps) for part in getattr(scheduler, "_schedulers", ())]
    return {**deepcopy(plain(state, "schedule")), "function": given, "part": parts}


def _classes(scheduler: LRScheduler | None) -> tuple[str, ...]:
    if scheduler is None:
        return ()
    parts = getattr(scheduler, "_schedulers", ())
    return (type(scheduler).__name__, *(name for part in parts for name in _classes(part)))


def refuse_optimizer(optimizer: Optimizer, model: nn.Module) -> None:
    """Refuse an optimizer that would train nothing of the model, or that `train` cannot step.

    Raises:
        ValueError: it holds parameters that are not the model's, or none that can change, or its
            step() asks for a closure.
    """
    kind = type(optimizer).__name__
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        refuse("optimizer", kind, "one whose step() needs no closure")
    mine = {id(p) for p in model.parameters()}
    held = [p for group in optimizer.param_groups for p in group["params"]]
    if not all(id(p) in mine for p in held):
        expected = "one of this model's (was the model made again, or copied, after it?)"
        refuse("optimizer", f"{kind} of other parameters", expected)
    if not any(p.requires_grad for p in held):
        refuse("optimizer", f"{kind} of frozen parameters", "some with requires_grad")


def _made(optimizer: Optimizer, model: nn.Module) -> dict[str, Any]:
    """How an optimizer was made, in plain values: class, and settings and names of each group."""
    names = {id(p): name for name, p in model.named_parameters()}
    groups = [
        {**group, "params": [names[id(p)] for p in group["params"]]}
        for group in optimizer.param_groups
    ]
    return {"kind": type(optimizer).__name__, "group": deepcopy(plain(groups, "optimizer"))}


def _resume(
    path: str | Path,
    made: Mapping[str, Any],
    parts: tuple[nn.Module, Optimizer, Clock, Recorder],
    steps: int,
    replan: bool,
) -> int:
    """Put the parts into the state that a checkpoint holds; the number of updates made.

    Refuses to go on with anything that was made otherwise than for the checkpoint: loading would
    put the old settings in place of the new ones, in silence. With `replan` the schedule and the
    rates may be others.
    """
    state = read_checkpoint(path)
    if state["t"] > steps:
        refuse("steps", steps, f"at least the {state['t']} updates that {path} has made")
    for name in ("optimizer",) if replan else ("schedule", "optimizer"):
        found = [*differences(state["made"][name], made[name])]
        if replan:
            found = [one for one in found if "['lr']" not in one and "['initial_lr']" not in one]
        if found:
            told = "; ".join(found[:3])
            raise ValueError(f"{name} must be the one that {path} was made with: {told}")
    model, optimizer, clock, record = parts
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise ValueError(f"model must be the one that {path} was made with: {why}") from error
    optimizer.load_state_dict(state["optimizer"])
    clock.load_state_dict(state["schedule"], state["t"])
    record.load_state_dict(state)
    torch.set_rng_state(state["random"])
    return state["t"]


def one_number(loss: Any) -> Tensor:
    """`loss`, which must be a tensor of one number.

    Raises:
        ValueError: it is something else: a loss for each example, say.
    """
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        got = tuple(loss.shape) if isinstance(loss, Tensor) else loss
        refuse("loss", got, "a tensor of one number: the mean over the minibatch, say")
    return loss


def progress_bar(updates: range, shown: bool) -> Iterable[int]:
    """`updates` with a progress bar, or without.

    TQDM_DISABLE in the environment hides every bar: tqdm's own switch, which its bar for notebooks
    ignores.
    """
    if not shown or os.environ.get("TQDM_DISABLE"):
        return updates
    return tqdm(updates, initial=updates.start, total=updates.stop, leave=False)


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
