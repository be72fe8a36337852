"""What a pretraining run is: its settings, each of them a flag of the command."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lrcourse.arguments import Count, Positive, Steps, check_argument, refuse
from lrcourse.models import GPT
from lrcourse.schedules import PLANS, Schedule, plan

__all__ = ["CHANGEABLE", "Settings", "merge_settings", "spelled"]

CHANGEABLE = ("schedule", "peak", "warmup", "cooldown", "steps")
"""The settings that `--resume changed` may change."""


def spelled(name: str) -> str:
    """A setting's name as the command line spells it.

    >>> spelled("batch_size")
    'batch-size'
    """
    return name.replace("_", "-")


def _flag(default: Any, about: str, **how: Any) -> Any:
    """A field, and how argparse reads it: `help`, and `type` where the default does not tell."""
    if default is False:
        how["action"] = "store_true"
    elif default is not None:
        how["type"], about = type(default), f"{about} (default: {default})"
    return field(default=default, metadata={**how, "help": about})


@dataclass(frozen=True)
class Settings:
    """What a run is: each field is a flag, and equal settings on one machine give equal runs."""

    schedule: str = _flag("wsd", "the plan for the rate", choices=PLANS)
    peak: float = _flag(3e-3, "peak learning rate")
    warmup: int | None = _flag(
        None, "updates on the way up to the peak (default: a twentieth of the steps)", type=int
    )
    cooldown: int | None = _flag(
        None, "updates on the way down of wsd (default: a fifth of the steps)", type=int
    )
    steps: int = _flag(1000, "updates in all")
    batch_size: int = _flag(32, "windows of text in an update, over all processes")
    context: int = _flag(64, "tokens in a window")
    layers: int = _flag(2, "Transformer blocks")
    heads: int = _flag(2, "attention heads")
    width: int = _flag(64, "entries in a token's vector")
    vocabulary: int = _flag(256, "tokens: bytes up to 256, byte pairs from 257 to 2048")
    post_ln: bool = _flag(False, "normalise after each sum, as in 2017, instead of before")
    qk_norm: bool = _flag(False, "normalise queries and keys")
    seed: int = _flag(0, "of the first weights and the batches")
    corpus: str | None = _flag(
        None, "a text file or folder to learn (default: the source of sympy)", type=str
    )

    def __post_init__(self) -> None:
        check_argument("peak", self.peak, Positive)
        check_argument("batch-size", self.batch_size, Count)
        check_argument("seed", self.seed, Steps)
        if self.cooldown is not None and self.schedule != "wsd":
            refuse("cooldown", self.cooldown, "none: it is for wsd alone")
        if self.warmup is None:  # from here on a number, which another horizon does not change
            object.__setattr__(self, "warmup", max(1, self.steps // 20))
        if self.cooldown is None and self.schedule == "wsd":
            object.__setattr__(self, "cooldown", self.steps // 5)
        self.plan()

    def plan(self) -> Schedule:
        """The schedule; ValueError when a name or length is out of range."""
        return plan(self.schedule, self.steps, warmup=self.warmup or 0, cooldown=self.cooldown or 0)

    def model(self) -> GPT:
        """The model with its first weights; ValueError when a size is out of range."""
        names = ("vocabulary", "context", "layers", "heads", "width", "post_ln", "qk_norm", "seed")
        return GPT(**{name: getattr(self, name) for name in names})


def merge_settings(
    old: Settings, asked: Mapping[str, Any], changed: bool
) -> tuple[Settings, dict[str, tuple[Any, Any]]]:
    """The settings of a run that goes on, and name → (old, new) for what differs.

    Args:
        old: the settings that the run has had so far.
        asked: those that were given anew, by name.
        changed: whether another plan is accepted.

    Raises:
        ValueError: a setting that must stay as it is, or one that is out of range.

    >>> merge_settings(Settings(steps=100), {"steps": 200}, changed=True)[1]
    {'steps': (100, 200)}
    """
    if asked.get("schedule", old.schedule) != "wsd":
        asked = {"cooldown": None, **asked}
    new = replace(old, **asked)
    before, now = asdict(old), asdict(new)
    before["corpus"] = now["corpus"]  # a path; what counts is the text
    changes = {name: (before[name], now[name]) for name in now if before[name] != now[name]}
    for name, (was, wanted) in changes.items():
        mend = ": `--resume changed` accepts another plan" if name in CHANGEABLE else ""
        if not (mend and changed):
            refuse(spelled(name), wanted, f"{was}, as when the run began{mend}")
    return new, changes
