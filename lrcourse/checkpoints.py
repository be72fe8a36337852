"""Checkpoints: the state of a training run in a file, to go on from after an interruption.

A checkpoint is written whole or not at all, the one before it stays (`files.previous` names it),
and reading one never runs code that it holds. So it may hold tensors and plain values alone:
NumPy's numbers become Python's on the way, and what could not be read back is refused at once.

Beside the state there is what the run was *made* of: optimizer and schedule as they were built.
Whoever resumes builds them anew, and `differences` tells whether they are the same.
"""

import math
import zipfile
from collections.abc import Iterator, Mapping
from copy import copy
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrcourse.arguments import refuse
from lrcourse.files import reading, refuse_other_format, write_whole

__all__ = ["differences", "plain", "read_checkpoint", "write_checkpoint"]

_FORMAT = 2
_PARTS = {"t", "made", "model", "optimizer", "schedule", "rows", "evaluated", "random", "notes"}


def plain(value: Any, name: str = "state") -> Any:
    """`value` with Python's numbers in place of NumPy's, and tensors in place of its arrays.

    Args:
        value: tensors, numbers, texts, None, and dicts, lists, tuples and sets of such.
        name: what an error calls it.

    Raises:
        ValueError: it holds something else, which a checkpoint could not give back.

    >>> plain({"lr": np.float64(0.1), "betas": (np.float32(0.5), 1)})
    {'lr': 0.1, 'betas': (0.5, 1)}
    """
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        made = copy(value)  # an OrderedDict or a Counter stays one
        for key, part in value.items():
            made[key] = plain(part, f"{name}[{key!r}]")
        return made
    if isinstance(value, list | tuple | set) and type(value) is not torch.Size:
        return type(value)(plain(part, name) for part in value)
    known = (Tensor, Number, str, bytes, torch.Size, torch.dtype, torch.device, type(None))
    if not isinstance(value, known):
        refuse(name, value, "a tensor, a number, a text, or lists and dicts of such")
    return value


def differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """What is not the same in two plain values, part by part: "T_max was 40, and is 80".

    Rows of numbers (tensors: what a schedule gives, update by update) are compared as far as both
    go, so that a run can be made longer.

    >>> [*differences({"gamma": 0.1, "milestones": [20]}, {"gamma": 0.1, "milestones": [30]})]
    ['milestones[0] was 20, and is 30']
    """
    if isinstance(old, Tensor) and isinstance(new, Tensor):
        shorter = slice(None) if old.ndim == 0 else slice(min(len(old), len(new)))
        old, new = old[shorter].tolist(), new[shorter].tolist()
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            where = f"{name}[{key!r}]" if name else str(key)
            yield from differences(old.get(key), new.get(key), where)
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from differences(a, b, f"{name}[{i}]")
    elif isinstance(old, float) and isinstance(new, float):  # another machine may round otherwise
        if not math.isclose(old, new, rel_tol=1e-9) and not (math.isnan(old) and math.isnan(new)):
            yield f"{name} was {old!r}, and is {new!r}"
    elif type(old) is not type(new) or old != new:
        yield f"{name} was {old!r}, and is {new!r}"


def write_checkpoint(path: str | Path, t: int, state: Mapping[str, Any]) -> None:
    """Write the state of a run that has made t updates, beside the checkpoint before it.

    Args:
        path: the file.
        t: updates made.
        state: made, model, optimizer, schedule, rows and evaluated, as `training.train` has them,
            and notes. The state of torch's random numbers is added.

    Raises:
        ValueError: the state holds what could not be read back.
        OSError: the file could not be written; the one before it stands as it was.
    """
    state = {"format": _FORMAT, "t": t, "random": torch.get_rng_state(), **state}
    state = {name: plain(part, name) for name, part in state.items()}
    try:
        with write_whole(path, keep=True) as part:
            torch.save(state, part)
    except (OSError, RuntimeError) as error:  # torch's writer tells of a full disk as the latter
        why = (str(error) or repr(error)).splitlines()[0]
        raise OSError(
            f"the checkpoint {path} could not be written (is the disk full?): {why}"
        ) from error


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
    refuse_other_format(path, version, _FORMAT)
    if missing := sorted(_PARTS - state.keys()):
        raise ValueError(f"{path} is not a checkpoint, or is damaged: no {', '.join(missing)}")
    return state
