"""A run's folder: what is in it, what a run can go on from, and what must be cleared away.

OUT/checkpoint.pt, checkpoint.previous.pt   the last two states of the run
OUT/tensorboard                             rate, loss and norms of every update
OUT/run.npz, run.json                       the result (`Run.load`), and how it came about
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lrcourse.checkpoints import read_checkpoint
from lrcourse.files import previous
from lrcourse.pretrain.settings import Settings

__all__ = ["Found", "find_checkpoint", "tidy_folder"]


@dataclass(frozen=True)
class Found:
    """A checkpoint to go on from, and what is wrong with a later one.

    Attributes:
        path: of the checkpoint.
        t: updates made by then.
        notes: the run's settings, by name, and its corpus, a digest of the text.
        complaint: what is wrong with the checkpoint after it; empty when there is none.
    """

    path: Path
    t: int
    notes: Mapping[str, Any]
    complaint: str = ""


def find_checkpoint(out: Path, resume: bool) -> Found | None:
    """The newest checkpoint in the run's folder that can be used; None where there is none yet.

    Raises:
        ValueError: there is a run, which must not be resumed; or there are checkpoints, of which
            none can be used.
    """
    last = out / "checkpoint.pt"
    files = [path for path in (last, previous(last)) if path.exists()]
    if not resume:
        if files or (out / "run.npz").exists():
            raise ValueError(f"{out} holds a run: go on with it (--resume), or name another --out")
        return None
    names = {setting.name for setting in fields(Settings)}
    complaints: list[str] = []
    for path in files:
        try:
            state = read_checkpoint(path)
            t, notes = state["t"], state["notes"]
            if set(notes) != {"settings", "corpus"} or set(notes["settings"]) != names:
                raise ValueError(f"{path} is not a checkpoint of this command, or of this version")
            return Found(path, t, notes, "; ".join(complaints))
        except ValueError as error:
            complaints.append(str(error))
    if complaints:
        raise ValueError("no checkpoint can be used: " + "; ".join(complaints))
    return None


def tidy_folder(out: Path, found: Found | None) -> None:
    """Clear away what a killed run left half-written, and what cannot be read.

    A bad checkpoint must not become the previous one: it would push out the good one there.
    """
    out.mkdir(parents=True, exist_ok=True)
    for part in out.glob("*.part"):
        part.unlink()
    if found and found.complaint:
        os.replace(out / "checkpoint.pt", out / "checkpoint.unusable.pt")
