"""Files that are whole or not there: how everything of the course reaches the disk.

`write_whole` is the one writer, and `reading` the one wording for what cannot be read.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

__all__ = ["ROOT", "fingerprint", "previous", "reading", "refuse_other_format", "write_whole"]

ROOT = Path(__file__).resolve().parents[1]
"""The folder of the course: what holds notebooks, data and docs."""


@contextmanager
def write_whole(path: str | Path, keep: bool = False) -> Iterator[Path]:
    """Give a path beside `path` to write to, and put it in place only when all went well.

    By then it has reached the disk, so that a power cut, too, leaves the old file or the new one.
    With `keep` what stood at `path` stays as `previous(path)`.
    """
    file = Path(path)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        yield part
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _to_disk(part)
    if keep and file.exists():
        # A second name for the old file, so that none of these steps leaves `path` empty.
        old = part.with_suffix(".old.part")
        old.unlink(missing_ok=True)
        try:
            os.link(file, old)
        except OSError:  # a file system without hard links
            shutil.copyfile(file, old)
            _to_disk(old)
        os.replace(old, previous(file))
        old.unlink(missing_ok=True)  # it stays where both were names of one file already
    os.replace(part, file)
    if os.name != "nt":  # where a folder cannot be opened
        _to_disk(file.parent)


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def previous(path: str | Path) -> Path:
    """Where `write_whole(path, keep=True)` keeps what stood there before.

    >>> previous("run/checkpoint.pt").name
    'checkpoint.previous.pt'
    """
    file = Path(path)
    return file.with_name(f"{file.stem}.previous{file.suffix}")


@contextmanager
def reading(path: str | Path, what: str) -> Iterator[None]:
    """Whatever goes wrong in reading a file becomes one sentence, but for its absence.

    Args:
        path: the file.
        what: it should be, with its article: "a checkpoint".

    Raises:
        ValueError: in place of any other error.
        FileNotFoundError: there is no such file.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        why = (str(error) or repr(error)).splitlines()[0]
        raise ValueError(f"{path} is not {what}, or is damaged: {why}") from error


def refuse_other_format(path: str | Path, version: object, known: int) -> None:
    """Raise a ValueError unless a file's `version` is the known one."""
    if version != known:
        raise ValueError(f"{path} has format {version}, this course reads {known}")


def fingerprint(parts: Iterable[object]) -> str:
    """A short name for these values, in this order: numbers, text, arrays or tensors.

    >>> fingerprint([1, "a", np.zeros(2)]) == fingerprint([1, "a", np.zeros(2)])
    True
    >>> fingerprint([1, "a", np.zeros(2)]) == fingerprint([1, "a", np.zeros((2, 1))])
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        if hasattr(part, "detach"):  # a tensor; to import torch for its name takes seconds
            part = part.detach().cpu().numpy()
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype} {part.shape} ".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(f"{part!r}\n".encode())
    return digest.hexdigest()[:24]
