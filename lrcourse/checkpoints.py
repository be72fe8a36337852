"""Checkpoints: the state of a training run in a file, to go on from after an interruption.

A checkpoint is written whole or not at all, the one before it stays (`files.previous` names it),
and reading one never runs code that it holds.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lrcourse.files import FORMAT, reading, refuse_other_format, write_whole

__all__ = ["checkpointed", "read_checkpoint", "write_checkpoint"]

_PARTS = {"t", "model", "optimizer", "plan", "rows", "evaluated", "random"}


def write_checkpoint(path: str | Path, t: int, state: Mapping[str, Any]) -> None:
    """Write the state of a run that has made t updates, beside the checkpoint before it.

    Args:
        path: the file.
        t: updates made.
        state: model, optimizer, plan, rows and evaluated, as `training.train` has them, and notes:
            plain values and tensors. The state of torch's random numbers is added.
    """
    state = {"format": FORMAT, "t": t, "random": torch.get_rng_state(), **state}
    with write_whole(path, keep=True) as part:
        torch.save(state, part)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The state that `write_checkpoint` wrote, tensors on the CPU.

    Raises:
        ValueError: the file is damaged, foreign, or of a newer format.
        FileNotFoundError: there is no such file.
    """
    with reading(path, "a checkpoint"):
        with zipfile.ZipFile(path) as parts:  # torch.load would not notice a changed byte
            if bad := parts.testzip():
                raise ValueError(f"{bad} is not what was written")
        # Never unpickles code; and the process that saved it may have had another device.
        state = torch.load(path, weights_only=True, map_location="cpu")
        version = state["format"]
    refuse_other_format(path, version)
    if missing := sorted(_PARTS - state.keys()):
        raise ValueError(f"{path} is not a checkpoint, or is damaged: no {', '.join(missing)}")
    return state


def checkpointed(path: str | Path) -> tuple[int, dict[str, Any]]:
    """What a checkpoint of `train` holds: the updates made, and the `notes` given.

    Raises:
        ValueError, FileNotFoundError: as `read_checkpoint`.
    """
    state = read_checkpoint(path)
    return state["t"], state.get("notes", {})
