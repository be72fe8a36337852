"""Sixteen broken trainings, each of them small, real, and mended beside.

A case is a class, to be read from top to bottom: what is told of it, and two short methods that
train the same network with torch's own classes, one with a mistake that people make, one without.
Neither the curves nor torch say what the mistake is. That is for you to find; the code is here to
be read afterwards, and `remedy` shows the lines to change.
"""

import difflib
import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch.nn.functional as F
from torch import Tensor
from torch.optim import SGD
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from lrcourse.data import digits
from lrcourse.models import MLP
from lrcourse.runs import Run
from lrcourse.schedules import (
    Constant,
    Cosine,
    MultiStep,
    OneCycle,
    Plateau,
    Schedule,
    Step,
    Warmup,
    values,
)
from lrcourse.training import train

__all__ = ["EPOCH", "PEAK", "STEPS", "WARDS", "Case", "Patient", "Stay"]
__all__ += ["admit", "causes", "remedy", "warm_cosine"]

EPOCH = 89
"""Updates in an epoch: 1437 digits in minibatches of 16."""

STEPS = 5 * EPOCH
"""Updates in a run."""

PEAK = 0.4
"""A good peak rate for the patient with a decay; without one it is too large to end well."""


class Patient:
    """A small network on the digits with its optimizer, SGD with momentum.

    Its chart has a line for each `optimizer.step()`, whoever calls it: the loss, and the rate in
    use. `train` trains it as the course does; for loops of another kind there are `backward` and
    the optimizer itself.
    """

    def __init__(self, seed: int, rate: float = PEAK, momentum: float = 0.9) -> None:
        self.data = digits()
        self.batches: Callable[[int], tuple[Tensor, Tensor]] = self.data.batches(16, seed)
        self.model = MLP((64, 32, 10), seed=seed)
        self.optimizer = SGD(self.model.parameters(), lr=rate, momentum=momentum)
        self.optimizer.register_step_pre_hook(self._note)
        self._losses: list[float] = []
        self._lines: list[tuple[float, float]] = []

    def train(self, schedule: Any = None, steps: int = STEPS, **settings: Any) -> Run:
        """Train with the course's loop: see `lrcourse.training.train`."""
        settings = {"progress": False} | settings
        return train(self.model, self.batches, self.optimizer, schedule, steps=steps, **settings)

    def backward(self, t: int, piece: int = 0, pieces: int = 1) -> None:
        """Leave the gradient of minibatch t in the model, or add that of one of its pieces."""
        x, y = (part.chunk(pieces)[piece] for part in self.batches(t))
        if piece == 0:
            self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y) / pieces
        loss.backward()
        self._losses.append(loss.item())

    def _note(self, *_: Any) -> None:
        self._lines.append((sum(self._losses), float(self.optimizer.param_groups[0]["lr"])))
        self._losses.clear()

    def chart(self) -> Run:
        """What `backward` and the optimizer did so far, as `train` writes it without norms."""
        loss, rate = np.array(self._lines).T
        none = np.full(len(loss), np.nan)
        return Run(loss=loss, rate=rate[:, None], gradient_norm=none, update_norm=none)


def warm_cosine(optimizer: SGD, total: int = STEPS) -> SequentialLR:
    """The plan of most patients: 40 updates up from a tenth, then a cosine to 0 at the end."""
    warm = LinearLR(optimizer, start_factor=0.1, total_iters=40)
    cosine = CosineAnnealingLR(optimizer, T_max=total - 40)
    return SequentialLR(optimizer, [warm, cosine], milestones=[40])


# ------------------------------------------------------------------- what the curves show, in code


def late(run: Run) -> float:
    """The mean loss of a run's last 60 updates."""
    return float(run.loss[-60:].mean())


def climbs(run: Run) -> int:
    """How often the rate rises from under a tenth of its highest value to over half of it."""
    share = run.rate[:, 0] / run.rate.max()
    marks = [mark for mark in np.where(share < 0.1, -1, np.where(share > 0.5, 1, 0)) if mark]
    return sum(a < b for a, b in pairwise(marks))


def same(a: np.ndarray, b: np.ndarray | float) -> bool:
    """Equal to rounding, everywhere."""
    return bool(np.allclose(a, b, rtol=1e-6, atol=1e-9))


def minus_accuracy(p: Patient) -> Callable[[Any], Mapping[str, Tensor]]:
    """Minus the share of training digits that are read right: to be low, like a loss."""
    return lambda model: {"metric": -(model(p.data.x).argmax(-1) == p.data.y).float().mean()}


def listened(run: Run, metric: str, **settings: Any) -> np.ndarray:
    """The rates that follow from what a run has heard, every 10 updates, under a plateau."""
    plateau = Plateau(factor=0.5, **settings)
    factors = [1.0, *(plateau.update(v) for v in run.evaluations[metric][1:])]
    return PEAK * np.repeat(factors, 10)[: len(run)]


# --------------------------------------------------------------------------------------- the cases


class Case(ABC):
    """A training with one mistake, and the same training without it.

    Attributes:
        report: what the owner of the run tells.
        cause: what is wrong, in words.
        look: a question that helps to find it.
        shows: the symptom in words.
        worse: how many times the mended run's loss its own is at the end, at the least.
        schedule, peak: the plan: factor of the peak rate at t, and the peak.
    """

    report: str
    cause: str
    look: str
    shows: str
    worse: float = 0.0
    schedule: Schedule
    peak: float = PEAK

    @abstractmethod
    def broken(self, seed: int) -> Run:
        """The run with the mistake."""

    @abstractmethod
    def mended(self, seed: int) -> Run:
        """The run without it."""

    def symptom(self, run: Run, well: Run) -> bool:
        """Does `run` show what this case shows, beside a well one?"""
        return bool(self._shows(run, well)) and late(run) > self.worse * late(well)

    @abstractmethod
    def _shows(self, run: Run, well: Run) -> Any: ...

    def plan(self, run: Run) -> np.ndarray:
        """The rates that `run` should have used, given what it heard."""
        return values(self.schedule, len(run), self.peak)


_USUAL = Warmup(40, 0.1) >> Cosine(STEPS - 40)


# --------------------------------------------------------------------------- when is step() called?


class Order(Case):
    """When is `step()` called: at the beginning of an epoch, or at its end?"""

    report = "A tenth of the rate every 2 epochs. Torch had something to say, and nobody listened."
    cause = "the scheduler is stepped before the optimizer: its clock is one tick ahead"
    look = "By how many updates is its rate ahead of the grey one? What lasts so long?"
    shows = "every rate comes one epoch early"
    schedule = Step(2 * EPOCH)

    def broken(self, seed: int) -> Run:
        """StepLR, stepped at the beginning of each epoch."""
        p = Patient(seed)
        scheduler = StepLR(p.optimizer, step_size=2, gamma=0.1)
        for t in range(STEPS):
            if t % EPOCH == 0:
                scheduler.step()
            p.backward(t)
            p.optimizer.step()
        return p.chart()

    def mended(self, seed: int) -> Run:
        """StepLR, stepped at the end of each epoch."""
        p = Patient(seed)
        scheduler = StepLR(p.optimizer, step_size=2, gamma=0.1)
        for t in range(STEPS):
            p.backward(t)
            p.optimizer.step()
            if (t + 1) % EPOCH == 0:
                scheduler.step()
        return p.chart()

    def _shows(self, run: Run, well: Run) -> Any:
        return same(run.rate[:-EPOCH], well.rate[EPOCH:])


class Units(Case):
    """In which unit does the scheduler count?"""

    report = "A tenth of the rate every 3 epochs."
    cause = "a number of epochs is counted in updates"
    look = "How many updates does it take until nothing is left of its rate?"
    shows = "after an epoch nothing is left of the rate, and the loss ends over 5 times higher"
    worse = 5
    schedule = Step(3 * EPOCH)

    def broken(self, seed: int) -> Run:
        """A step_size that was written for epochs."""
        p = Patient(seed)
        scheduler = StepLR(p.optimizer, step_size=3, gamma=0.1)
        return p.train(scheduler)  # which steps it once per update

    def mended(self, seed: int) -> Run:
        """The same step_size in updates."""
        p = Patient(seed)
        scheduler = StepLR(p.optimizer, step_size=3 * EPOCH, gamma=0.1)
        return p.train(scheduler)  # which steps it once per update

    def _shows(self, run: Run, well: Run) -> Any:
        return run.rate[EPOCH, 0] < 1e-9 * PEAK


class Pieces(Case):
    """How often is `step()` called, where an update takes several pieces?"""

    report = "Warmup and cosine. Memory is short: each minibatch comes in four pieces."
    cause = "the scheduler is stepped several times per update: its clock runs fast"
    look = "How many times over does its rate live through the grey one's life?"
    shows = "the rate comes back at least twice, and the loss ends over 1.5 times higher"
    worse = 1.5
    schedule = _USUAL

    def broken(self, seed: int) -> Run:
        """Four pieces of a minibatch make one update."""
        p = Patient(seed)
        scheduler = warm_cosine(p.optimizer)
        for t in range(STEPS):
            for piece in range(4):
                p.backward(t, piece, pieces=4)
                if piece == 3:
                    p.optimizer.step()
                scheduler.step()
        return p.chart()

    def mended(self, seed: int) -> Run:
        """Four pieces of a minibatch make one update, and one tick of the schedule."""
        p = Patient(seed)
        scheduler = warm_cosine(p.optimizer)
        for t in range(STEPS):
            for piece in range(4):
                p.backward(t, piece, pieces=4)
                if piece == 3:
                    p.optimizer.step()
                    scheduler.step()
        return p.chart()

    def _shows(self, run: Run, well: Run) -> Any:
        return climbs(run) >= climbs(well) + 2


class PastEnd(Case):
    """What does a cosine do past its end?"""

    report = "A cosine. It ran well last week, with larger minibatches and as many epochs."
    cause = "the run is longer than its cosine"
    look = "How often does its rate reach 0, and when?"
    shows = "the rate is 0 half way and climbs back, and the loss ends over twice as high"
    worse = 2
    schedule = Cosine(STEPS)

    def broken(self, seed: int) -> Run:
        """The batch size was halved, so the run has twice the updates; the schedule was left."""
        p = Patient(seed)
        scheduler = CosineAnnealingLR(p.optimizer, T_max=STEPS // 2)
        return p.train(scheduler)

    def mended(self, seed: int) -> Run:
        """The schedule is as long as the run."""
        p = Patient(seed)
        scheduler = CosineAnnealingLR(p.optimizer, T_max=STEPS)
        return p.train(scheduler)

    def _shows(self, run: Run, well: Run) -> Any:
        return climbs(run) == climbs(well) + 1 and abs(int(run.rate.argmin()) - STEPS / 2) < 2


# -------------------------------------------------------------------------------- seams and resumes


class Resume(Case):
    """In which order are the parts built and loaded?"""

    report = "Warmup and cosine. The machine was restarted at update 60; the weights are all right."
    cause = "the scheduler was built after the optimizer had been loaded"
    look = "From which update on is its rate wrong, and is it wrong by an amount or by a factor?"
    shows = (
        "from update 60 on the rate is off by one factor, and the loss ends over 1.5 times higher"
    )
    worse = 1.5
    schedule = _USUAL

    def broken(self, seed: int) -> Run:
        """Stopped at update 60 and resumed."""
        p = Patient(seed)
        scheduler = warm_cosine(p.optimizer)
        for t in range(STEPS):
            if t == 60:
                saved = p.optimizer.state_dict(), scheduler.state_dict()
                p.optimizer.load_state_dict(saved[0])
                scheduler = warm_cosine(p.optimizer)
                scheduler.load_state_dict(saved[1])
            p.backward(t)
            p.optimizer.step()
            scheduler.step()
        return p.chart()

    def mended(self, seed: int) -> Run:
        """Stopped at update 60 and resumed: build everything, then load everything."""
        p = Patient(seed)
        scheduler = warm_cosine(p.optimizer)
        for t in range(STEPS):
            if t == 60:
                saved = p.optimizer.state_dict(), scheduler.state_dict()
                scheduler = warm_cosine(p.optimizer)
                p.optimizer.load_state_dict(saved[0])
                scheduler.load_state_dict(saved[1])
            p.backward(t)
            p.optimizer.step()
            scheduler.step()
        return p.chart()

    def _shows(self, run: Run, well: Run) -> Any:
        return same(run.rate[:60], well.rate[:60]) and same(
            run.rate[60:-1] / well.rate[60:-1], run.rate[60] / well.rate[60]
        )


class Extend(Case):
    """What does loading bring back?"""

    report = (
        "A cosine over 240 updates. At update 150 it was stopped and resumed, to be made longer."
    )
    cause = "the new length was overwritten by the length in the checkpoint"
    look = "At which update does its rate turn? Where have you read that number?"
    shows = "the rate turns at update 240, and the loss ends over twice as high"
    worse = 2

    def broken(self, seed: int) -> Run:
        """Planned for 240 updates, stopped at 150, resumed with a T_max for the new length."""
        p = Patient(seed)
        scheduler = CosineAnnealingLR(p.optimizer, T_max=240)
        for t in range(STEPS):
            if t == 150:
                saved = p.optimizer.state_dict(), scheduler.state_dict()
                scheduler = CosineAnnealingLR(p.optimizer, T_max=STEPS)
                p.optimizer.load_state_dict(saved[0])
                scheduler.load_state_dict(saved[1])
            p.backward(t)
            p.optimizer.step()
            scheduler.step()
        return p.chart()

    def mended(self, seed: int) -> Run:
        """The same, and T_max is set once more after loading."""
        p = Patient(seed)
        scheduler = CosineAnnealingLR(p.optimizer, T_max=240)
        for t in range(STEPS):
            if t == 150:
                saved = p.optimizer.state_dict(), scheduler.state_dict()
                scheduler = CosineAnnealingLR(p.optimizer, T_max=STEPS)
                p.optimizer.load_state_dict(saved[0])
                scheduler.load_state_dict(saved[1])
                scheduler.T_max = STEPS
            p.backward(t)
            p.optimizer.step()
            scheduler.step()
        return p.chart()

    def _shows(self, run: Run, well: Run) -> Any:
        return abs(int(run.rate.argmin()) - 240) < 2 and run.rate[-1, 0] > 0.9 * PEAK

    def plan(self, run: Run) -> np.ndarray:
        """A cosine over 240 updates, carried on from update 150 by one over the whole run."""
        short, long = values(Cosine(240), len(run), PEAK), values(Cosine(STEPS), len(run))
        return np.where(np.arange(len(run)) <= 150, short, short[150] * long / long[150])


class Jump(Case):
    """Where does the warmup end, and where its part of the sequence?"""

    report = "Warmup and cosine, from a SequentialLR."
    cause = "the warmup is longer than the milestone at which it hands over"
    look = "What does its rate do between updates 39 and 40?"
    shows = "the rate more than doubles in one update"
    schedule = _USUAL

    def broken(self, seed: int) -> Run:
        """A warmup, then a cosine."""
        p = Patient(seed)
        warm = LinearLR(p.optimizer, start_factor=0.1, total_iters=120)
        cosine = CosineAnnealingLR(p.optimizer, T_max=STEPS - 40)
        return p.train(SequentialLR(p.optimizer, [warm, cosine], milestones=[40]))

    def mended(self, seed: int) -> Run:
        """A warmup as long as its milestone says, then a cosine."""
        p = Patient(seed)
        warm = LinearLR(p.optimizer, start_factor=0.1, total_iters=40)
        cosine = CosineAnnealingLR(p.optimizer, T_max=STEPS - 40)
        return p.train(SequentialLR(p.optimizer, [warm, cosine], milestones=[40]))

    def _shows(self, run: Run, well: Run) -> Any:
        return run.rate[40, 0] > 2 * run.rate[39, 0] > 0


class Tail(Case):
    """How much of the run is left to the cosine?"""

    report = "A warmup over 150 updates and a cosine, from a SequentialLR."
    cause = "the part after the warmup is as long as the whole run"
    look = "Where does its rate end?"
    shows = "the rate ends at over a fifth of its peak"
    schedule = Warmup(150, 0.1) >> Cosine(STEPS - 150)

    def broken(self, seed: int) -> Run:
        """A long warmup, then a cosine."""
        p = Patient(seed)
        warm = LinearLR(p.optimizer, start_factor=0.1, total_iters=150)
        cosine = CosineAnnealingLR(p.optimizer, T_max=STEPS)
        return p.train(SequentialLR(p.optimizer, [warm, cosine], milestones=[150]))

    def mended(self, seed: int) -> Run:
        """A long warmup, then a cosine over the rest."""
        p = Patient(seed)
        warm = LinearLR(p.optimizer, start_factor=0.1, total_iters=150)
        cosine = CosineAnnealingLR(p.optimizer, T_max=STEPS - 150)
        return p.train(SequentialLR(p.optimizer, [warm, cosine], milestones=[150]))

    def _shows(self, run: Run, well: Run) -> Any:
        return (
            same(run.rate[:150], well.rate[:150])
            and bool((np.diff(run.rate[150:, 0]) <= 0).all())
            and run.rate[-1, 0] > 0.2 * PEAK > 100 * well.rate[-1, 0]
        )


# -------------------------------------------------------------------------- who else sets the rate?


class Mode(Case):
    """Which way is better?"""

    report = "The rate listens to the training loss, every 10 updates."
    cause = "a loss is listened to as if it should be high"
    look = "What did the loss do at the time of its first cuts?"
    shows = "the rate is cut while the loss falls, and the loss ends over 1.5 times higher"
    worse = 1.5

    def broken(self, seed: int) -> Run:
        """The rate listens to the training loss, every 10 updates."""
        p = Patient(seed)
        scheduler = ReduceLROnPlateau(p.optimizer, mode="max", factor=0.5, patience=2)
        return p.train(scheduler, evaluate=p.data.score, every=10, metric="train_loss")

    def mended(self, seed: int) -> Run:
        """The rate listens to the training loss, which is to be low."""
        p = Patient(seed)
        scheduler = ReduceLROnPlateau(p.optimizer, mode="min", factor=0.5, patience=2)
        return p.train(scheduler, evaluate=p.data.score, every=10, metric="train_loss")

    def _shows(self, run: Run, well: Run) -> Any:
        return (
            run.rate[100, 0] < 0.2 * PEAK and run.loss[80:100].mean() < 0.5 * run.loss[:20].mean()
        )

    def plan(self, run: Run) -> np.ndarray:
        """A rule: which rates follow from what the run has heard."""
        return listened(run, "train_loss", patience=2)


class Sign(Case):
    """What is five per cent of a number below zero?"""

    report = (
        "The rate listens to minus the accuracy; less than five per cent counts as no progress."
    )
    cause = "a margin in per cent has the wrong sign for a negative metric"
    look = "How often was its rate cut while the loss made no progress?"
    shows = "the rate is never cut, and the loss ends over 1.5 times higher"
    worse = 1.5

    def broken(self, seed: int) -> Run:
        """The rate listens to minus the accuracy; less than five per cent is no progress."""
        p = Patient(seed)
        margin: dict[str, Any] = {"threshold": 0.05}
        scheduler = ReduceLROnPlateau(p.optimizer, "min", factor=0.5, patience=5, **margin)
        return p.train(scheduler, evaluate=minus_accuracy(p), every=10, metric="metric")

    def mended(self, seed: int) -> Run:
        """The same, and the five per cent are five points: a margin that has no sign."""
        p = Patient(seed)
        margin: dict[str, Any] = {"threshold": 0.05, "threshold_mode": "abs"}
        scheduler = ReduceLROnPlateau(p.optimizer, "min", factor=0.5, patience=5, **margin)
        return p.train(scheduler, evaluate=minus_accuracy(p), every=10, metric="metric")

    def _shows(self, run: Run, well: Run) -> Any:
        return (run.rate == PEAK).all() and len(np.unique(well.rate)) > 2

    def plan(self, run: Run) -> np.ndarray:
        """A rule: which rates follow from what the run has heard."""
        return listened(run, "metric", patience=5, threshold=0.05, threshold_mode="abs")


class Edit(Case):
    """Who has the last word on the rate?"""

    report = "LambdaLR. Somebody divided the rate by ten at update 250, by hand."
    cause = "a rate that was set by hand is overwritten by the scheduler"
    look = "For how many updates is its rate low?"
    shows = "the rate is low for one update, and the loss ends over 1.5 times higher"
    worse = 1.5
    schedule = MultiStep([250])

    def broken(self, seed: int) -> Run:
        """Somebody divides the rate by ten at update 250, by hand."""
        p = Patient(seed)
        scheduler = LambdaLR(p.optimizer, Constant())
        for t in range(STEPS):
            if t == 250:
                p.optimizer.param_groups[0]["lr"] *= 0.1
            p.backward(t)
            p.optimizer.step()
            scheduler.step()
        return p.chart()

    def mended(self, seed: int) -> Run:
        """The cut at update 250 is part of the plan."""
        p = Patient(seed)
        scheduler = LambdaLR(p.optimizer, MultiStep([250]))
        for t in range(STEPS):
            p.backward(t)
            p.optimizer.step()
            scheduler.step()
        return p.chart()

    def _shows(self, run: Run, well: Run) -> Any:
        off = np.flatnonzero(run.rate[:, 0] != PEAK).tolist()
        return off == [250]


class Cycle(Case):
    """Whose rate is the peak, the optimizer's or the scheduler's?"""

    report = "OneCycleLR, on an optimizer with the tuned rate."
    cause = "the scheduler ignores the optimizer's rate and brings its own"
    look = "It has the right shape. What is its highest value?"
    shows = "right shape, under a tenth of the height, and the loss ends over 5 times higher"
    worse = 5
    schedule = OneCycle(STEPS)

    def broken(self, seed: int) -> Run:
        """Up and down once, with an optimizer whose rate was tuned."""
        p = Patient(seed)
        scheduler = OneCycleLR(p.optimizer, max_lr=0.01, total_steps=STEPS, cycle_momentum=False)
        return p.train(scheduler)

    def mended(self, seed: int) -> Run:
        """Up and down once, and the tuned rate is told to the scheduler."""
        p = Patient(seed)
        scheduler = OneCycleLR(p.optimizer, max_lr=PEAK, total_steps=STEPS, cycle_momentum=False)
        return p.train(scheduler)

    def _shows(self, run: Run, well: Run) -> Any:
        return (
            same(run.rate / run.rate.max(), well.rate / well.rate.max())
            and run.rate.max() < 0.1 * PEAK
        )


# ---------------------------------------------------------------- the plan itself is not a good one


class Large(Case):
    """A peak four times the usual one."""

    report = "Warmup and cosine."
    cause = "the peak is too large"
    look = (
        "Did the loss stay below its first value? When did it go wrong: at once, or on the way up?"
    )
    shows = "the loss goes above its first value, and ends above 1 nat"
    schedule = _USUAL

    def broken(self, seed: int) -> Run:
        """A plan like the others, from another peak."""
        p = Patient(seed, rate=4 * PEAK)
        return p.train(warm_cosine(p.optimizer))

    def mended(self, seed: int) -> Run:
        """The usual peak."""
        p = Patient(seed, rate=PEAK)
        return p.train(warm_cosine(p.optimizer))

    def _shows(self, run: Run, well: Run) -> Any:
        return run.loss[10:80].mean() > 1.2 * run.loss[0] and late(run) > 1


class Small(Case):
    """A peak a hundredth of the usual one."""

    report = "Warmup and cosine."
    cause = "the peak is too small"
    look = (
        "The loss falls without a jump or a floor. By which factor is its highest rate off "
        "the grey one's?"
    )
    shows = "the loss never jumps, and ends above 1 nat"
    schedule = _USUAL

    def broken(self, seed: int) -> Run:
        """A plan like the others, from another peak."""
        p = Patient(seed, rate=PEAK / 100)
        return p.train(warm_cosine(p.optimizer))

    def mended(self, seed: int) -> Run:
        """The usual peak."""
        p = Patient(seed, rate=PEAK)
        return p.train(warm_cosine(p.optimizer))

    def _shows(self, run: Run, well: Run) -> Any:
        return run.rate.max() < 0.1 * PEAK and late(run) > 1 and run.loss.max() < 1.2 * run.loss[0]


class Stall(Case):
    """A plan without a decay."""

    report = "A warmup, and then the peak that the tuning found."
    cause = "the rate does not come down: the loss stays on the noise floor"
    look = (
        "The losses go together for about 100 updates. What does the grey rate do after its "
        "peak, and what does this one do?"
    )
    shows = "alike for 100 updates; the loss ends over twice as high"
    worse = 2
    schedule = _USUAL
    peak = 0.5

    def broken(self, seed: int) -> Run:
        """A warmup, and then the peak rate."""
        p = Patient(seed, rate=0.5)
        warm = LinearLR(p.optimizer, start_factor=0.1, total_iters=40)
        return p.train(warm)

    def mended(self, seed: int) -> Run:
        """A warmup, and then a decay."""
        p = Patient(seed, rate=0.5)
        warm = LinearLR(p.optimizer, start_factor=0.1, total_iters=40)
        cosine = CosineAnnealingLR(p.optimizer, T_max=STEPS - 40)
        return p.train(SequentialLR(p.optimizer, [warm, cosine], milestones=[40]))

    def _shows(self, run: Run, well: Run) -> Any:
        return same(run.rate[41:], 0.5) and run.loss[:100].mean() < 2 * well.loss[:100].mean()


class Sharp(Case):
    """A plan without a warmup, at a rate that needs one."""

    report = "A large batch and a large rate, the one that the grey run ends with."
    cause = "the peak comes too soon: a warmup is missing"
    look = "Both use the same rate from update 200 on. When is this one lost?"
    shows = "lost within the first 40 updates, and for good"
    worse = 100
    schedule = Warmup(200)
    peak = 24.0

    def broken(self, seed: int) -> Run:
        """The same 256 digits in every update, no momentum, and a large rate that stays."""
        p = Patient(seed, rate=24.0, momentum=0.0)
        p.batches = lambda t: (p.data.x[:256], p.data.y[:256])
        return p.train(LambdaLR(p.optimizer, Constant()))

    def mended(self, seed: int) -> Run:
        """The same rate after a warmup over 200 updates."""
        p = Patient(seed, rate=24.0, momentum=0.0)
        p.batches = lambda t: (p.data.x[:256], p.data.y[:256])
        return p.train(LambdaLR(p.optimizer, Warmup(200)))

    def _shows(self, run: Run, well: Run) -> Any:
        return same(run.rate[-200:], well.rate[-200:]) and run.loss[5:40].mean() > 0.9 * np.log(10)


# --------------------------------------------------------------------------------------- the wards

_EATEN = "the scheduler had been stepped through for a plot before it was used"

WARDS: Mapping[str, tuple[tuple[Case, ...], tuple[str, ...]]] = {
    "clock": ((Order(), Units(), Pieces(), PastEnd()), (_EATEN, Resume.cause)),
    "seams": ((Resume(), Extend(), Jump(), Tail()), (_EATEN, Pieces.cause)),
    "hands": ((Mode(), Sign(), Edit(), Cycle()), (Large.cause, Units.cause)),
    "plan": ((Large(), Small(), Stall(), Sharp()), (Order.cause, "one minibatch is damaged")),
}
"""Four groups: the cases, and two causes that none of them has."""


def causes(ward: str) -> tuple[str, ...]:
    """The causes to choose from in a ward, in alphabetical order."""
    cases, others = WARDS[ward]
    return tuple(sorted([*(case.cause for case in cases), *others]))


@dataclass(frozen=True, eq=False)
class Stay:
    """What `admit` saw: the broken run, the mended one, and what torch said of the former."""

    broken: Run
    well: Run
    said: tuple[str, ...]

    def curves(self, well: bool = False) -> dict[str, np.ndarray]:
        """The rate and the loss, a mean of 20 of it, of the broken run or of the mended one."""
        run = self.well if well else self.broken
        loss = pd.Series(run.loss).rolling(20, min_periods=1).mean().to_numpy()
        return {"learning rate": run.rate[:, 0], "loss (nats)": loss}


def admit(case: Case, seed: int) -> Stay:
    """Run both trainings of a case; no warning of torch's reaches the screen."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        broken = case.broken(seed)
    said = tuple(str(w.message).split(". ")[0] for w in caught if "lr_scheduler" in str(w.message))
    return Stay(broken, case.mended(seed), said)


def remedy(case: Case) -> str:
    """The broken code, with `-` before each line to take out and `+` before each to put in.

    >>> print(remedy(Units()))
      p = Patient(seed)
    - scheduler = StepLR(p.optimizer, step_size=3, gamma=0.1)
    + scheduler = StepLR(p.optimizer, step_size=3 * EPOCH, gamma=0.1)
      return p.train(scheduler)  # which steps it once per update
    """
    # The first two lines are the function's name and its docstring, and all stand in a class.
    a, b = (
        [line[8:] for line in inspect.getsource(method).splitlines()[2:]]
        for method in (case.broken, case.mended)
    )
    return "\n".join(line for line in difflib.ndiff(a, b) if not line.startswith("?"))
