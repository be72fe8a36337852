"""Recorded experiments: a tidy table and where it comes from, side by side under data/recordings.

A recording is two files: `NAME-SCALE.parquet`, one row a run and evaluation, and `NAME-SCALE.json`,
its provenance, part by part. Chapters use `read_recording`, which prefers what a GPU recorded.
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

from lrcourse.evidence import Difference, Finding, paired
from lrcourse.experiments.declared import Contrast
from lrcourse.files import ROOT, reading, refuse_other_format, write_whole
from lrcourse.sweeps import final

__all__ = ["FOLDER", "FORMAT", "Recording"]
__all__ += ["digest_of", "provenance", "read_recording", "write_provenance"]

FOLDER = ROOT / "data" / "recordings"
"""Where the course keeps its recordings."""

_SCALES = ("gpu", "cpu")  # the larger one first: that is the one to show
FORMAT = 2
_CODE = ("lrcourse", "tools/record")  # what the runs of a recording are made by


@dataclass(frozen=True, eq=False)
class Recording:
    """What an experiment measured, and where, when and how.

    Attributes:
        frame: rows of all runs: part, phase ("tuning" or "compared"), schedule, peak, seed, step,
            rate, loss (mean over the minibatches since the row before), validation_loss, test_loss
            and diverged_at.
        about: the provenance: experiment, scale, question, contrasts, and of each part how it was
            declared and run.
    """

    frame: pd.DataFrame
    about: Mapping[str, Any]

    @property
    def caption(self) -> str:
        """Scale, device and date in one line, to stand on a figure."""
        last = max(self.about["parts"].values(), key=lambda part: part["date"])
        return f"recorded: {self.about['scale']} scale, {last['device']}, {last['date']:.10}"

    def rows(self, phase: str, part: str = "one") -> pd.DataFrame:
        """All rows of one part's runs, "tuning" or "compared"."""
        mine = (self.frame["part"] == part) & (self.frame["phase"] == phase)
        return self.frame[mine].drop(columns=["part", "phase"]).reset_index(drop=True)

    def outcome(self, name: str) -> pd.Series:
        """The test loss of each seed: of "part/schedule" at its end, or with "@best" behind it
        when the validation loss was lowest.

        Raises:
            KeyError: nothing of that name was recorded.
        """
        part, _, schedule = name.removesuffix("@best").partition("/")
        rows = self.rows("compared", part)
        rows = rows[rows["schedule"] == schedule]
        if rows.empty:
            raise KeyError(f"no runs of {name!r} are recorded")
        if name.endswith("@best"):
            rows = rows.loc[rows.groupby("seed")["validation_loss"].idxmin()]
        else:
            rows = final(rows)
        return rows.set_index("seed")["test_loss"]

    def ends(self, part: str = "one") -> pd.DataFrame:
        """What each schedule of a part reached: a row a seed, a column a schedule."""
        names = self.about["parts"][part]["declared"]["schedules"]
        return pd.DataFrame({name: self.outcome(f"{part}/{name}") for name in names})

    def findings(self) -> list[Finding]:
        """What the declared contrasts came to, in their order."""
        return [self._found(Contrast(**told)) for told in self.about["contrasts"]]

    def finding(self, asks: str) -> Finding:
        """One of `findings`, by what it asks.

        Raises:
            KeyError: no contrast asks that.
        """
        declared = {told["asks"]: Contrast(**told) for told in self.about["contrasts"]}
        if asks not in declared:
            raise KeyError(f"{asks!r} is not asked here; {'; '.join(declared)} are")
        return self._found(declared[asks])

    def _found(self, contrast: Contrast) -> Finding:
        def gaps(a: str, b: str) -> pd.DataFrame:
            first, second = self.outcome(a), self.outcome(b)
            return pd.DataFrame({"%": 100 * (first / second - 1), "nats": first - second})

        found = gaps(contrast.a, contrast.b)
        if contrast.less is not None:
            found = found - gaps(*contrast.less)
        found = found.dropna()  # seeds that only one side has
        per_cent, nats = (paired(found[unit], np.zeros(len(found))) for unit in ("%", "nats"))
        return Finding(contrast.asks, per_cent, self.about["margin"], nats=nats)

    def updates_saved(self, a: str, b: str) -> Difference | None:
        """How much sooner `b` is as low as `a` ends, in per cent of its updates, seed by seed.

        Read off the curve of b, at its first row that is as low: so it saves this at least, and a
        run of b that was planned to end there would save more. None where some run never gets so
        low, or where there are fewer than ten rows to read.
        """
        part, _, schedule = b.partition("/")
        rows = self.rows("compared", part)
        curves = rows[rows["schedule"] == schedule].pivot(
            index="step", columns="seed", values="test_loss"
        )
        targets = self.outcome(a)
        low = curves[targets.index.intersection(curves.columns)] <= targets
        if len(curves) < 10 or not low.any().all():
            return None
        return paired(100 - 100 * low.idxmax() / curves.index.max(), np.zeros(low.shape[1]))


def provenance(**about: Any) -> dict[str, Any]:
    """`about`, and with it: date (UTC), versions, commit, and a digest of the code: the package's,
    and that of what records with it.

    The commit is None outside a git checkout, and `changed` says whether the code or the pins
    differ from it; the digest tells the code apart in either case.
    """
    code = hashlib.sha256()
    for folder in _CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
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
        "changed": bool(_git("status", "--porcelain", "--", *_CODE, "constraints.txt")),
        "code": code.hexdigest()[:16],
        "format": FORMAT,
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
        part.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_recording(name: str, scale: str | None = None, folder: Path = FOLDER) -> Recording:
    """Read a recording: that of `scale`, or else the GPU's where there is one.

    Raises:
        FileNotFoundError: nothing is recorded under this name; says with which command it is made.
        ValueError: a file is damaged, foreign or of a newer format, or the two do not belong
            together.
    """
    scales = _SCALES if scale is None else (scale,)
    tables = [folder / f"{name}-{s}.parquet" for s in scales]
    table = next((path for path in tables if path.exists()), None)
    if table is None:
        raise FileNotFoundError(
            f"no recording of {name!r} in {folder.name}: in a checkout of the course, "
            f"python -m tools.record run {name} makes it"
        )
    with reading(table.with_suffix(".json"), "the provenance of a recording"):
        about = json.loads(table.with_suffix(".json").read_text(encoding="utf-8"))
        version, digest = about["format"], about["table"]
    refuse_other_format(table.with_suffix(".json"), version, FORMAT)
    if digest != digest_of(table):
        raise ValueError(f"{table.name} is damaged, or not the table its provenance speaks of")
    return Recording(pd.read_parquet(table), about)


def digest_of(path: Path) -> str:
    """What a provenance knows its table by."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
