"""Sixteen broken trainings, each of them small, real, and mended beside.

A case is data, in `clinic.toml`: what the owner reports, what is wrong, and a script of a few
lines. Of these, lines that begin with `-` belong to the broken training alone, lines with `+` to
the mended one, and what is shown is what is run. All train the same small network, with torch's own
classes. What a run leaves is a log: a table with a row for each minibatch, as anybody's own loop
can write it.
"""

import tomllib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
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
        return self.script.splitlines()

    def program(self, mended: bool) -> str:
        """The script without the lines of the other training.

        >>> CASES["small"].program(mended=True)
        'p = Patient(seed, rate=PEAK)\\np.train(warm_cosine(p.optimizer))'
        """
        other = "-" if mended else "+"
        return "\n".join(line[2:] for line in self.lines if not line.startswith(other))


CASES: Mapping[str, Case] = {
    name: Case(**told)
    for name, told in tomllib.loads(
        Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    ).items()
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
