"""What a training run did, update by update: written down as it goes, kept, and shown.

A `Recorder` stands beside the loop of `training.train`, and a `Run` is what it has in the end.
`train` can also leave TensorBoard events, for `tensorboard --logdir` to show.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from lrcourse.arguments import refuse
from lrcourse.files import reading, refuse_other_format, write_whole

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["LOST", "Recorder", "Run", "lost", "read_events"]

LOST = 1e3
"""A run has diverged when its loss is not finite, or above this many times its first loss."""

_FORMAT = 2
_ARRAYS = ("loss", "rate", "gradient_norm", "update_norm", "evaluated_at")


def lost(loss: float, first: float) -> bool:
    """Whether a run has diverged: see `LOST`.

    A first loss may be negative, as that of a density can be: then its size counts. One of nearly
    nothing says nothing of the scale: then 1 stands for it.

    Args:
        loss: of one update.
        first: of the first update.

    >>> lost(5.0, 2.0), lost(5e3, 2.0), lost(math.nan, 2.0), lost(3.0, -4.0), lost(3.0, 0.0)
    (False, True, True, False, False)
    """
    size = abs(first)
    return not (math.isfinite(loss) and loss <= LOST * (size if size >= 1e-3 else 1.0))


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

    def save(self, path: str | Path) -> None:
        """Write the run to `path` (NumPy's npz, no pickle), whole or not at all."""
        arrays: dict[str, Any] = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {f"evaluations/{name}": values for name, values in self.evaluations.items()}
        arrays |= {"diverged_at": -1 if self.diverged_at is None else self.diverged_at}
        arrays |= {"stepped": np.array(self.stepped, dtype=str), "format": _FORMAT}
        with write_whole(path) as part, part.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @staticmethod
    def load(path: str | Path) -> "Run":
        """Read a run written by `save`.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, foreign, or of another format.
        """
        with reading(path, "a saved run"):
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            version, end = int(arrays["format"]), int(arrays["diverged_at"])
            kept = {name: arrays[name] for name in _ARRAYS}
            named = [name.partition("/") for name in arrays]
            evaluations = {name: arrays[a + b + name] for a, b, name in named if b}
            stepped = tuple(arrays["stepped"].tolist())
        refuse_other_format(path, version, _FORMAT)
        ends = {"diverged_at": None if end < 0 else end, "stepped": stepped}
        return Run(**kept, evaluations=evaluations, **ends)  # type: ignore[arg-type]


class Recorder:
    """Writes down each update of a training loop, which calls its methods in this order::

        record.is_lost(t, loss)       # before the update; True ends the run
        record.gradient(norm)         # before clipping, where it is known
        record.before_update()
        optimizer.step()
        record.after_update()

    Args:
        steps: updates in the run.
        optimizer: its rates are read before each update, and its parameters around it.
        norms: measure how far the parameters move, which costs a copy of them per update.
    """

    def __init__(self, steps: int, optimizer: Optimizer, norms: bool = True) -> None:
        self.optimizer = optimizer
        self.evaluated: list[tuple[int, dict[str, float]]] = []
        self.diverged_at: int | None = None
        # A row an update: loss, norm of the gradient, norm of the update, the rate of each group.
        self._rows = np.full((steps, 3 + len(optimizer.param_groups)), np.nan)
        self._t = -1
        self._weights = [p.detach() for group in optimizer.param_groups for p in group["params"]]
        self._before = [torch.empty_like(w) for w in self._weights] if norms else []
        self._writer: SummaryWriter | None = None

    def is_lost(self, t: int, loss: float) -> bool:
        """Write down the loss before update t; whether the run has diverged."""
        self._t, self._rows[t, 0] = t, loss
        if not lost(loss, self._rows[0, 0]):
            return False
        self.diverged_at = t
        return True

    def gradient(self, norm: float) -> None:
        """Write down the norm of the gradient."""
        self._rows[self._t, 1] = norm

    def before_update(self) -> None:
        """Write down the rates in use, and remember where the weights are."""
        self._rows[self._t, 3:] = [group["lr"] for group in self.optimizer.param_groups]
        if self._before:
            torch._foreach_copy_(self._before, self._weights)

    def after_update(self) -> None:
        """Measure how far the weights moved, and show the update where events are written."""
        row = self._rows[self._t]
        if self._before:
            torch._foreach_sub_(self._before, self._weights)
            row[2] = get_total_norm(self._before).item()
        if self._writer is not None:
            names = ("loss", "gradient_norm", "update_norm", "rate")
            with np.errstate(all="ignore"):  # of weights that are all 0, or no longer finite
                ratio = row[2] / get_total_norm(self._weights).item()
            figures = dict(zip(names, row, strict=False)) | {"update_ratio": ratio}
            _show(self._writer, figures, self._t)

    def evaluation(self, t: int, values: dict[str, float]) -> None:
        """Write down what was measured when t updates had been made."""
        self.evaluated.append((t, values))
        if self._writer is not None:
            _show(self._writer, values, t)

    def run(self, stepped: tuple[str, ...] = ()) -> Run:
        """What was written down so far, as a `Run`; `stepped` is for its attribute."""
        made = self._rows[: self._t + 1]
        metrics = list(self.evaluated[0][1]) if self.evaluated else []
        return Run(
            loss=made[:, 0],
            rate=made[:, 3:],
            gradient_norm=made[:, 1],
            update_norm=made[:, 2],
            evaluated_at=np.array([t for t, _ in self.evaluated], dtype=np.int64),
            evaluations={n: np.array([values[n] for _, values in self.evaluated]) for n in metrics},
            diverged_at=self.diverged_at,
            stepped=stepped,
        )

    # What a checkpoint keeps of it.

    def state_dict(self, t: int) -> dict[str, Any]:
        """What was written down of the first t updates."""
        if self._writer is not None:
            self._writer.flush()  # what came before a checkpoint is not logged again after it
        return {"rows": torch.from_numpy(self._rows[:t]), "evaluated": self.evaluated}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where another recorder was."""
        t = len(state["rows"])
        self._rows[:t], self._t = state["rows"].numpy(), t - 1
        self.evaluated = [(int(at), dict(values)) for at, values in state["evaluated"]]

    # TensorBoard events, where they are asked for.

    def open(self, log: str | Path, resumed_at: int | None) -> None:
        """Write events to a folder; those that it holds of a resumed run's updates are hidden."""
        from torch.utils.tensorboard import SummaryWriter  # slow to import, seldom needed

        self._writer = SummaryWriter(log, purge_step=resumed_at)
        if self.evaluated and self.evaluated[-1][0] == resumed_at:
            _show(self._writer, self.evaluated[-1][1], resumed_at)  # it was hidden with the others

    def close(self) -> None:
        """Write the last events."""
        if self._writer is not None:
            self._writer.close()


# ------------------------------------------------------------------------------ TensorBoard events


def _show(to: "SummaryWriter", figures: Mapping[str, float], step: int) -> None:
    """Write each figure that is a number under its name."""
    for name, value in figures.items():
        if not np.isnan(value):
            to.add_scalar(name, value, step)


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """What TensorBoard's events hold, in the order of time: rows of a step and one figure.

    Args:
        path: a folder of them, or one such file.

    Raises:
        ValueError: in this folder lie none.
        ImportError: there is no tensorboard to read them.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    runs = {str(file.parent) for file in path.rglob("*tfevents*")}
    if path.is_dir() and str(path) not in runs:
        refuse("the folder", str(path), f"one with events, such as {min(runs, default='runs/1')}")
    # 0: all points and not a sample; and those, too, that a resumed run has written once more.
    events = EventAccumulator(str(path), size_guidance={"scalars": 0}, purge_orphaned_data=False)
    events.Reload()
    points = [(e, tag) for tag in events.Tags()["scalars"] for e in events.Scalars(tag)]
    for event, tag in sorted(points, key=lambda point: (point[0].wall_time, point[0].step)):
        yield {"global_step": event.step, tag: event.value}
