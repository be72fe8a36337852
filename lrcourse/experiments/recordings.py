"""Recorded experiments: a tidy table and where it comes from, side by side under data/recordings.

A recording is two files: `NAME-SCALE.parquet`, one row a run and evaluation, and `NAME-SCALE.json`,
its provenance. Chapters use `read_recording`, which prefers what a GPU recorded.
"""

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lrcourse.files import ROOT, Cache, reading, refuse_other_format, write_whole

__all__ = ["FOLDER", "Recording"]
__all__ += ["provenance", "read_recording", "write_provenance", "write_recording"]

FOLDER = ROOT / "data" / "recordings"
"""Where the course keeps its recordings."""

_SCALES = ("gpu", "cpu")  # the larger one first: that is the one to show
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Recording:
    """What an experiment measured, and where, when and how.

    Attributes:
        frame: the runs, tidy, as `sweeps.sweep` gives them.
        about: the provenance, as `provenance` gives it.
    """

    frame: pd.DataFrame
    about: Mapping[str, Any]

    @property
    def caption(self) -> str:
        """Scale, device and date in one line, to stand on a figure."""
        return "recorded: {scale} scale, {device}, {date:.10}".format(**self.about)


def provenance(**about: Any) -> dict[str, Any]:
    """`about`, and with it: date (UTC), versions, commit, and a digest of the package's source.

    The commit is None outside a git checkout, and `changed` says whether tracked files differ from
    it; the digest tells the code apart in either case.
    """
    code = hashlib.sha256()
    for path in sorted((ROOT / "lrcourse").rglob("*.py")):
        code.update(path.read_bytes())
    return {
        **about,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.platform(terse=True),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "pandas": pd.__version__,
        },
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "code": code.hexdigest()[:16],
        "format": _FORMAT,
    }


def _git(*command: str) -> str | None:
    try:
        done = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def write_provenance(path: Path, about: Mapping[str, Any]) -> None:
    """Write `about` to `path` as JSON, whole or not at all."""
    with write_whole(path) as part:
        part.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def write_recording(recording: Recording, name: str, scale: str, folder: Path = FOLDER) -> Path:
    """Write a recording; give the path of its table.

    Args:
        recording: what to write.
        name, scale: of the experiment; they make the names of the files.
        folder: where to, made if need be.
    """
    table = folder / f"{name}-{scale}.parquet"
    Cache(folder).put(table.stem, recording.frame)
    write_provenance(table.with_suffix(".json"), {**recording.about, "table": _digest(table)})
    return table


def read_recording(name: str, scale: str | None = None, folder: Path = FOLDER) -> Recording:
    """Read a recording: that of `scale`, or else the GPU's where there is one.

    Raises:
        FileNotFoundError: nothing is recorded under this name; says with which command it can be.
        ValueError: a file is damaged, foreign or of a newer format, or the two do not belong
            together.
    """
    scales = _SCALES if scale is None else (scale,)
    tables = [folder / f"{name}-{s}.parquet" for s in scales]
    table = next((path for path in tables if path.exists()), None)
    if table is None:
        raise FileNotFoundError(
            f"no recording of {name!r} in {folder.name}: python -m lrcourse.experiments run {name}"
        )
    with reading(table.with_suffix(".json"), "the provenance of a recording"):
        about = json.loads(table.with_suffix(".json").read_text(encoding="utf-8"))
        version, digest = about["format"], about["table"]
    refuse_other_format(table.with_suffix(".json"), version, _FORMAT)
    if digest != _digest(table):
        raise ValueError(f"{table.name} is damaged, or not the table its provenance speaks of")
    return Recording(pd.read_parquet(table), about)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
