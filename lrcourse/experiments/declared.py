"""What a recorded comparison is: parts that are run, and contrasts that are read off them.

Everything that could be chosen to fit a result stands here before the run: who is compared, which
peaks are tried, how many seeds judge, and how large a difference must be to matter.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch.optim import AdamW, Optimizer

from lrcourse.schedules import OneCycle, Schedule

__all__ = ["SCALES", "AsItComes", "Contrast", "Experiment", "Listener", "Part", "Scale"]


@dataclass(frozen=True)
class Scale:
    """How large the Transformers are.

    Attributes:
        model: arguments of `GPT`, the context among them.
        batch: windows in a minibatch.
        steps: updates of a run, unless the experiment says otherwise.
        peaks: peak rates to try.
        seeds: how many judge.
        limit: runs trained at once, on a GPU.
    """

    name: str
    model: Mapping[str, Any]
    batch: int
    steps: int
    peaks: Sequence[float]
    seeds: int = 16
    limit: int | None = None

    @property
    def tokens(self) -> int:
        """Tokens in an update."""
        return self.batch * self.model["context"]


SCALES = {
    "cpu": Scale(
        "cpu", {"vocabulary": 128, "context": 32, "layers": 2, "heads": 2, "width": 32},
        batch=8, steps=1000, peaks=[0.003 * 2**i for i in range(5)],
    ),
    "gpu": Scale(
        "gpu", {"vocabulary": 256, "context": 128, "layers": 6, "heads": 6, "width": 192},
        batch=32, steps=1500, peaks=[0.0005 * 2**i for i in range(5)], seeds=4, limit=32,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Listener:
    """A rate that listens: torch's ReduceLROnPlateau, told a loss on validation data.

    Attributes:
        windows: how many windows it is told the loss of, drawn anew each time; few are noisy.
        settings: of ReduceLROnPlateau; what is not named stays at torch's default.
        every: updates between two evaluations.
    """

    windows: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    every: int = 20
    listens: ClassVar[bool] = True


@dataclass(frozen=True)
class AsItComes(OneCycle):
    """One-cycle by torch's own class, all else at its defaults: it moves the momentum as well."""


@dataclass(frozen=True)
class Part:
    """Runs that differ in schedule, peak and seed alone; each schedule is tuned by itself.

    Attributes:
        schedules: name → factor of the peak rate, or what listens.
        peaks: peak rates to try; one alone is taken as it is.
        steps: updates of each run.
        batch: windows in a minibatch.
        model: arguments of `GPT`, or of `WideNetwork`; empty for `NextCharacter`.
        optimizer: its class.
        settings: the optimizer's, `clip`, and `average`: the last share of the run, the mean of
            whose weights is judged.
        tuning: seeds to tune on.
        seeds: other seeds, to compare on.
        every: updates between two rows of a recorded run; divides 100.
        limit: bytes of text to learn from, for `NextCharacter`.
        chunk: runs trained at once, on a GPU; None for a handful, so that all cores get some.
        finetuned: the arguments of `finetuning.begin`; None begins at random, on sympy's source.
    """

    schedules: Mapping[str, Schedule | Listener]
    peaks: Sequence[float]
    steps: int
    batch: int = 64
    model: Mapping[str, Any] = field(default_factory=dict)
    optimizer: type[Optimizer] = field(default_factory=lambda: AdamW)
    settings: Mapping[str, Any] = field(default_factory=dict)
    tuning: int = 3
    seeds: int = 16
    every: int = 100
    limit: int = 2_000_000
    chunk: int | None = None
    finetuned: Mapping[str, Any] | None = None

    @property
    def transformer(self) -> bool:
        """Is it a `GPT` that it trains?"""
        return "heads" in self.model

    @property
    def told(self) -> dict[str, Any]:
        """The declaration in plain values, as a recording keeps it."""
        plain = {n: repr(s) for n, s in self.schedules.items()}
        known = {**vars(self), "schedules": plain, "optimizer": self.optimizer.__name__}
        if self.finetuned is None:  # recordings that are older than it do not name it
            del known["finetuned"]
        return known


@dataclass(frozen=True)
class Contrast:
    """A question to a recording: by how much does `a` end above `b`?

    Attributes:
        asks: what is compared, in words.
        a, b: "part/schedule"; with "@best" behind it, the run as it was when its validation loss
            was lowest, as somebody has it who stops early or keeps the best checkpoint.
        less: two more such names: their difference is taken off.
    """

    asks: str
    a: str
    b: str
    less: tuple[str, str] | None = None


@dataclass(frozen=True)
class Experiment:
    """A question, the runs that answer it, and what is read off them.

    Attributes:
        parts: its parts at a scale; its docstring is `tried`.
        contrasts: what is read off them; none for runs that a chapter reads by itself.
        asks: the question, as people ask it.
        chapter: the number of the chapter that tells it.
        source: who asked it before, with the paper's own figure.
        margin: how large a difference must be to matter, in per cent of the test loss.
        scales: the scales that it is declared for.
    """

    parts: Callable[[Scale], Mapping[str, Part]]
    contrasts: Callable[[Mapping[str, Part]], Sequence[Contrast]]
    asks: str
    chapter: int
    source: str = ""
    margin: float = 0.5
    scales: Sequence[Literal["cpu", "gpu"]] = ("cpu",)

    @property
    def tried(self) -> str:
        """On what: model, text, length. Where it holds beyond that, these runs do not say."""
        return " ".join((self.parts.__doc__ or "").split())
