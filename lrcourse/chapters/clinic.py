"""Sixteen broken trainings, each of them small, real, and mended beside.

A case is data: what the owner reports, what is wrong, and a script of a few lines. Of these, lines
that begin with `-` belong to the broken training alone, lines with `+` to the mended one, and what
is shown is what is run. All train the same small network, with torch's own classes. What a run
leaves is a log: a table with a row for each minibatch, as anybody's own loop can write it.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from textwrap import dedent
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, amp
from torch.nn import utils
from torch.optim import SGD, lr_scheduler
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from lrcourse import plots
from lrcourse.arguments import check_argument, whole_number
from lrcourse.data import digits
from lrcourse.evidence import measured
from lrcourse.models import MLP

__all__ = ["BEDS", "CASES", "EPOCH", "PEAK", "STEPS", "Case", "Patient"]
__all__ += ["examine", "log_of", "warm_cosine"]

EPOCH = 89
"""Minibatches in an epoch: 1437 digits, 16 at a time."""

STEPS = 5 * EPOCH
"""Minibatches in a run."""

PEAK = 0.4
"""A good peak rate for the patient with a decay; without one it is too large to end well."""


class Patient:
    """A small network on the digits with its optimizer, SGD with momentum, and its log.

    `rows` has an entry for each minibatch: its loss, the rate in use, the norm of the gradient, and
    whether no update was made of it.
    """

    def __init__(self, seed: int, rate: float = PEAK, momentum: float = 0.9) -> None:
        self.batches: Callable[[int], tuple[Tensor, Tensor]] = digits().batches(16, seed)
        self.model = MLP((64, 32, 10), seed=seed)
        self.optimizer = SGD(self.model.parameters(), lr=rate, momentum=momentum)
        self.optimizer.register_step_pre_hook(self._made)
        self.rows: list[dict[str, float]] = []

    @property
    def rate(self) -> float:
        """What stands in the optimizer now."""
        return float(self.optimizer.param_groups[0]["lr"])

    def backward(self, t: int, piece: int = 0, pieces: int = 1, scaler: Any = None) -> None:
        """Leave the gradient of minibatch t in the model, or add that of one of its pieces.

        With a GradScaler the forward pass computes in float16, and the gradient is scaled.
        """
        x, y = (part.chunk(pieces)[piece] for part in self.batches(t))
        if piece == 0:
            self.optimizer.zero_grad()
            self.rows.append({"loss": 0.0, "rate": self.rate, "skipped": True})
        with torch.autocast("cpu", torch.float16, enabled=scaler is not None):
            loss = F.cross_entropy(self.model(x).float(), y) / pieces
        (loss if scaler is None else scaler.scale(loss)).backward()
        scale = 1.0 if scaler is None else scaler.get_scale()
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        self.rows[-1]["gradient_norm"] = utils.get_total_norm(gradients).item() / scale
        self.rows[-1]["loss"] += loss.item()

    def _made(self, *_: Any) -> None:
        self.rows[-1] |= {"rate": self.rate, "skipped": False}

    def update(self, t: int) -> None:
        """One update with minibatch t."""
        self.backward(t)
        self.optimizer.step()

    def train(self, scheduler: Any) -> None:
        """All updates, and one call of the scheduler after each."""
        for t in range(STEPS):
            self.update(t)
            scheduler.step()


def warm_cosine(optimizer: SGD) -> SequentialLR:
    """The plan of most patients: 40 updates up from a tenth, then a cosine to 0 at the end."""
    warm = LinearLR(optimizer, start_factor=0.1, total_iters=40)
    cosine = CosineAnnealingLR(optimizer, T_max=STEPS - 40)
    return SequentialLR(optimizer, [warm, cosine], milestones=[40])


@dataclass(frozen=True)
class Case:
    """A training with one fault.

    Attributes:
        report: what the owner of the run tells.
        cause: what is wrong.
        shows: how its curves differ from those of the mended run.
        script: the training; `p` is a `Patient`. A line that begins with `-` is the fault, one with
            `+` mends it.
    """

    report: str
    cause: str
    shows: str
    script: str

    @property
    def lines(self) -> list[str]:
        """The lines of the script, each with its mark."""
        return dedent(self.script).strip("\n").rstrip().splitlines()

    def program(self, mended: bool) -> str:
        """The script without the lines of the other training.

        >>> CASES["small"].program(mended=True)
        'p = Patient(seed, rate=PEAK)\\np.train(warm_cosine(p.optimizer))'
        """
        other = "-" if mended else "+"
        return "\n".join(line[2:] for line in self.lines if not line.startswith(other))


CASES: Mapping[str, Case] = {
    "order": Case(
        report="A tenth of the rate every two epochs. PyTorch said something, and all went well.",
        cause="the scheduler is stepped before the optimizer: it is one call ahead",
        shows="each cut comes an epoch early",
        script="""
              scheduler = StepLR(p.optimizer, step_size=2, gamma=0.1)
              for t in range(STEPS):
            -     if t % EPOCH == 0:
            -         scheduler.step()
                  p.update(t)
            +     if (t + 1) % EPOCH == 0:
            +         scheduler.step()
        """,
    ),
    "unit": Case(
        report="A tenth of the rate every three epochs. The loss hardly moves.",
        cause="a number of epochs is counted in updates",
        shows="within the first twenty updates nothing is left of the rate",
        script="""
            - scheduler = StepLR(p.optimizer, step_size=3, gamma=0.1)
            + scheduler = StepLR(p.optimizer, step_size=3 * EPOCH, gamma=0.1)
              p.train(scheduler)  # steps it once per update
        """,
    ),
    "pieces": Case(
        report="Warmup, cosine. Each minibatch comes in four pieces. The loss goes up and down.",
        cause="the scheduler is stepped once per piece: its clock runs four times too fast",
        shows="the rate goes up and down three times, and the loss with it",
        script="""
              scheduler = warm_cosine(p.optimizer)
              for t in range(STEPS):
                  for piece in range(4):
                      p.backward(t, piece, pieces=4)
            -         scheduler.step()
                  p.optimizer.step()
            +     scheduler.step()
        """,
    ),
    "past": Case(
        report="A cosine. The batch was halved, the epochs stayed. Late in the run it gets worse.",
        cause="the run is longer than its cosine",
        shows="the rate is 0 half way and climbs back to its peak",
        script="""
            - scheduler = CosineAnnealingLR(p.optimizer, T_max=STEPS // 2)
            + scheduler = CosineAnnealingLR(p.optimizer, T_max=STEPS)
              p.train(scheduler)
        """,
    ),
    "resume": Case(
        report="Warmup, cosine. A restart at update 60: since then the loss falls even faster.",
        cause="the scheduler was built after the optimizer had been loaded",
        shows="from update 60 on each rate is about a tenth of the plan",
        script="""
              scheduler = warm_cosine(p.optimizer)
              for t in range(STEPS):
                  if t == 60:  # the restart
                      saved = p.optimizer.state_dict(), scheduler.state_dict()
            +         scheduler = warm_cosine(p.optimizer)
                      p.optimizer.load_state_dict(saved[0])
            -         scheduler = warm_cosine(p.optimizer)
                      scheduler.load_state_dict(saved[1])
                  p.update(t)
                  scheduler.step()
        """,
    ),
    "jump": Case(
        report="A warmup over 40 updates, then a cosine. The loss has a bump where they meet.",
        cause="the warmup is longer than the milestone at which it hands over",
        shows="at update 40 the rate more than doubles at once",
        script="""
            - warm = LinearLR(p.optimizer, start_factor=0.1, total_iters=120)
            + warm = LinearLR(p.optimizer, start_factor=0.1, total_iters=40)
              cosine = CosineAnnealingLR(p.optimizer, T_max=STEPS - 40)
              p.train(SequentialLR(p.optimizer, [warm, cosine], milestones=[40]))
        """,
    ),
    "tail": Case(
        report="A warmup over 150 updates, then a cosine. It trembles to the very end.",
        cause="the part after the warmup is as long as the whole run",
        shows="the rate ends at a quarter of its peak",
        script="""
              warm = LinearLR(p.optimizer, start_factor=0.1, total_iters=150)
            - cosine = CosineAnnealingLR(p.optimizer, T_max=STEPS)
            + cosine = CosineAnnealingLR(p.optimizer, T_max=STEPS - 150)
              p.train(SequentialLR(p.optimizer, [warm, cosine], milestones=[150]))
        """,
    ),
    "hand": Case(
        report="The loss trembled, so at update 250 I divided the rate by ten. It did not help.",
        cause="a rate that was set by hand is overwritten by the scheduler",
        shows="the rate is low for a single update",
        script="""
            - scheduler = LambdaLR(p.optimizer, lambda t: 1.0)
            + scheduler = LambdaLR(p.optimizer, lambda t: 1.0 if t < 250 else 0.1)
              for t in range(STEPS):
            -     if t == 250:
            -         p.optimizer.param_groups[0]["lr"] *= 0.1
                  p.update(t)
                  scheduler.step()
        """,
    ),
    "cycle": Case(
        report="OneCycleLR, and an optimizer with the tuned rate of 0.4. It learns, but slowly.",
        cause="the scheduler ignores the optimizer's rate and brings its own",
        shows="the rate has the right shape at a fortieth of the height",
        script="""
            - scheduler = OneCycleLR(p.optimizer, 0.01, total_steps=STEPS)
            + scheduler = OneCycleLR(p.optimizer, PEAK, total_steps=STEPS)
              p.train(scheduler)
        """,
    ),
    "large": Case(
        report="Warmup, cosine. The loss shot up, came down again, and has been flat ever since.",
        cause="the peak is too large",
        shows="the rate is eight times as high, and the loss shoots up and ends where guessing is",
        script="""
            - p = Patient(seed, rate=8 * PEAK)
            + p = Patient(seed, rate=PEAK)
              p.train(warm_cosine(p.optimizer))
        """,
    ),
    "small": Case(
        report="Warmup, cosine. A beautifully smooth curve, which does not get anywhere.",
        cause="the peak is too small",
        shows="the rate is a hundred times lower, and the loss falls without trembling",
        script="""
            - p = Patient(seed, rate=PEAK / 100)
            + p = Patient(seed, rate=PEAK)
              p.train(warm_cosine(p.optimizer))
        """,
    ),
    "stall": Case(
        report="A warmup, then the tuned peak. The first epochs went well; then it got no better.",
        cause="the rate does not come down, so the noise of the minibatches stays",
        shows="the losses are alike at first; then the one whose rate stays up trembles above",
        script="""
              p = Patient(seed, rate=0.5)
            - p.train(LinearLR(p.optimizer, start_factor=0.1, total_iters=40))
            + p.train(warm_cosine(p.optimizer))
        """,
    ),
    "sharp": Case(
        report="The same 256 images in each update, at a high rate. It was lost in ten updates.",
        cause="the peak comes too soon: a warmup is missing",
        shows="lost at once at a rate that the other run bears later on",
        script="""
              p, whole = Patient(seed, rate=24.0, momentum=0.0), digits()
              p.batches = lambda t: (whole.x[:256], whole.y[:256])
            - p.train(LambdaLR(p.optimizer, lambda t: 1.0))
            + p.train(LambdaLR(p.optimizer, lambda t: min(1.0, (t + 1) / 200)))
        """,
    ),
    "skipped": Case(
        report="16 bits. PyTorch warns that the scheduler comes first. In my loop it comes last.",
        cause="the scheduler also counts updates that the GradScaler has left out",
        shows="the first minibatches make no update, and the rate moves on without them",
        script="""
              scheduler, scaler = warm_cosine(p.optimizer), GradScaler("cpu", init_scale=2.0**32)
              for t in range(STEPS):
                  p.backward(t, scaler=scaler)
                  scaler.step(p.optimizer)  # makes no update where a gradient is inf
                  before = scaler.get_scale()
                  scaler.update()  # and then halves the scale
            -     scheduler.step()
            +     if scaler.get_scale() >= before:
            +         scheduler.step()
        """,
    ),
    "bad": Case(
        report="All was well until the third epoch. Then, at a single moment, it was lost.",
        cause="one minibatch is damaged, and nothing limits its gradient",
        shows="at update 250 one gradient is far longer than all before, and the loss stays high",
        script="""
              clean = p.batches
              p.batches = lambda t: (clean(t)[0] + (10.0 if t == 250 else 0.0), clean(t)[1])
              scheduler = warm_cosine(p.optimizer)
              for t in range(STEPS):
                  p.backward(t)
            +     clip_grad_norm_(p.model.parameters(), 5.0)
                  p.optimizer.step()
                  scheduler.step()
        """,
    ),
    "slipped": Case(
        report="We have rewritten how data are read. Since then the loss is flat, from the start.",
        cause="the labels do not belong to the images: they have slipped by one row",
        shows="the rate is the plan and gradients flow, and yet the loss stays where guessing is",
        script="""
              p, clean = Patient(seed, rate=0.1), digits().batches(16, seed)
            - p.batches = lambda t: (clean(t)[0], clean(t)[1].roll(1))
              p.train(warm_cosine(p.optimizer))
        """,
    ),
}
"""Name → case."""

LEFT_OUT = "minibatches left\nout so far"
"""The label of a curve that is drawn only where some were left out."""

AS_PLANNED = {"large", "small", "stall", "sharp"}
"""Where the fault is the plan itself: the rates used are those planned."""

BEDS = (
    *("resume", "skipped", "small", "past", "jump", "bad", "unit", "hand"),
    *("order", "stall", "cycle", "sharp", "pieces", "slipped", "tail", "large"),
)
"""Who lies where: the names of the cases in the order of their numbers, from 1 on."""


@cache
def _trained(name: str, seed: int, mended: bool) -> pd.DataFrame:
    names: dict[str, Any] = vars(lr_scheduler) | vars(amp) | vars(utils) | globals()
    names |= {"seed": seed, "p": Patient(seed)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch says of the order stands in the reports
        exec(CASES[name].program(mended), names)
    return pd.DataFrame(names["p"].rows)


def log_of(name: str, seed: int, mended: bool = False) -> pd.DataFrame:
    """The log of one training: a row for each minibatch.

    Args:
        name: of the case, one of `CASES`.
        seed: of first weights and minibatches.
        mended: the training without its fault.

    Returns:
        Columns `loss` (nats), `rate`, `planned` (what the rate should have been), `gradient_norm`
        and `skipped` (no update was made). `log.to_csv(path)` writes it to a file.

    Raises:
        ValueError: there is no such case.

    >>> log_of("unit", seed=0).loc[[2, 3, 6], ["rate", "planned"]].round(3).values.tolist()
    [[0.4, 0.4], [0.04, 0.4], [0.004, 0.4]]
    """
    check_argument("name", name, Literal[tuple(CASES)])
    log = _trained(name, seed, mended)
    right = log if name in AS_PLANNED else _trained(name, 0, True)  # no seed changes the plan
    plan = right["rate"][~right["skipped"]].to_numpy()
    made = (~log["skipped"]).cumsum() - ~log["skipped"]  # updates before each minibatch
    return log.assign(planned=plan[np.minimum(made, len(plan) - 1)])


def examine(number: int, seed: int = 0, told: bool = False) -> plots.Picture:
    """One patient: print what the owner reports, and draw the log.

    Args:
        number: of the case, 1 … 16.
        seed: of its first weights and minibatches.
        told: print the cause and the lines to change instead, and draw the mended run in grey.

    Raises:
        ValueError: there is no case of that number.
    """
    check_argument("number", number, whole_number(1, len(CASES)))
    name = BEDS[number - 1]
    case, log, x, grey = CASES[name], log_of(name, seed), "minibatch", None
    alt = f"Rate, loss and length of the gradient of case {number}."
    if log["skipped"].any():
        alt += " Below them, a count of the minibatches that made no update."
    if told:
        print(f"Case {number}: {case.cause}.", "", *case.lines, sep="\n")
        title, x = case.shows[0].upper() + case.shows[1:], f"{x} (grey: the mended run)"
        alt, grey = f"{alt} Beside the mended run: {case.shows}.", _curves(log_of(name, seed, True))
    else:
        made = measured(minibatches=len(log), updates=(~log["skipped"]).sum())
        print(f"Case {number}: “{case.report}” {made}")
        title = f"Case {number}: what is wrong, and where do you see it?"
    columns, behind = {"": _curves(log)}, {"": grey} if grey else None
    rows = [row for row in columns[""] if row not in ("learning rate", LEFT_OUT)]
    return plots.charts(columns, grey=behind, x=x, log=rows, title=title, alt=alt)


def _curves(log: pd.DataFrame) -> dict[str, np.ndarray]:
    """What is drawn of a log; where minibatches were left out, their number, too."""
    finite = log.replace(np.inf, np.nan)
    curves = {
        "learning rate": finite["rate"].to_numpy(),
        "loss (nats)\nmean of 10": finite["loss"].rolling(10, min_periods=1).mean().to_numpy(),
        "gradient norm,\nlargest of 10": finite["gradient_norm"]
        .clip(lower=1e-4)
        .rolling(10, min_periods=1)
        .max()
        .to_numpy(),
    }
    left_out = {LEFT_OUT: log["skipped"].cumsum().to_numpy()} if log["skipped"].any() else {}
    return curves | left_out
