"""A recording as two files: its table, and beside it where it comes from."""

import json
from pathlib import Path
from typing import Any

from lrcourse.experiments.recordings import FOLDER, FORMAT, Recording, digest_of, write_provenance
from lrcourse.files import write_whole

__all__ = ["as_written", "write_recording"]


def as_written(value: Any) -> Any:
    """`value` as it looks when it has been written to a provenance and read again."""
    return json.loads(json.dumps(value))


def write_recording(recording: Recording, name: str, scale: str, folder: Path = FOLDER) -> Path:
    """Write a recording; give the path of its table.

    Args:
        recording: what to write.
        name, scale: of the experiment; they make the names of the files.
        folder: where to, made if need be.
    """
    table = folder / f"{name}-{scale}.parquet"
    folder.mkdir(parents=True, exist_ok=True)
    with write_whole(table) as part:
        recording.frame.to_parquet(part, index=False)
    about = {**recording.about, "format": FORMAT, "table": digest_of(table)}
    write_provenance(table.with_suffix(".json"), about)
    return table
