"""Logs as people have them: TensorBoard events, CSV, JSON lines, and the Trainer's state.

Whatever the file, its rows are names with values. The names tell what is what (`words.toml` has
those that people use), and the update tells which rows belong together. What comes out is a `Log`.
"""

import csv
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from lrcourse.arguments import check_array, refuse
from lrcourse.files import reading
from lrcourse.runs import read_events
from lrcourse.schedules import FloatArray

__all__ = ["WORDS", "Log", "gather", "read_log"]

WORDS = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
"""Patterns for the names of columns, and what is said of each sign."""


@dataclass(frozen=True, eq=False)
class Log:
    """What a run has written down.

    Attributes:
        series: quantity ("rate", "loss", "validation", "gradient", "skipped", "planned", "epoch")
            → the updates at which it was written, and its values; both empty where it was not.
        names: quantity → what its column is called in the file.
        back: for each time that the updates go back: the last one before, and the one that follows.
            What is written a second time replaces the first.
    """

    series: Mapping[str, tuple[FloatArray, FloatArray]]
    names: Mapping[str, str]
    back: Sequence[tuple[float, float]]


def read_log(path: str | Path) -> Log:
    """The log in a file, or in a folder of TensorBoard events.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no log; it has no rate; what should be a number is none; its updates do
            not rise.
    """
    path = Path(path)
    if path.is_dir() or "tfevents" in path.name:
        return gather(read_events(path))
    with reading(path, "a log"):
        text = path.read_text(encoding="utf-8-sig")
        if text.lstrip().startswith("{"):  # a state with a history in it, or a line a row
            rows = json.loads("[" + re.sub(r"\}\s*\{", "},{", text) + "]")
            rows = [dict(row) for row in rows[0].get("log_history", rows)]
        else:
            between = max(",;\t", key=text.partition("\n")[0].count)
            rows = list(csv.DictReader(text.splitlines(), delimiter=between))
    return gather(rows)


def gather(rows: Iterable[Mapping[str, Any]]) -> Log:
    """The log that rows of names and values make; those of a table are `table.to_dict("records")`.

    A value that is None or "" was not written. Where no column counts updates, the epochs do, and
    where these do not tell the rows apart, the rows themselves.

    Raises:
        ValueError: as `read_log`.

    >>> log = gather([{"step": 1, "lr": 0.1, "loss": 2.3}, {"step": 2, "lr": 0.1, "loss": ""}])
    >>> log.series["rate"], log.series["loss"]
    ((array([1., 2.]), array([0.1, 0.1])), (array([1.]), array([2.3])))
    >>> gather([{"step": 1, "loss": 2.3}])
    Traceback (most recent call last):
    ValueError: what the log holds is ['step', 'loss'], expected a column with the rate, such as lr
    """
    rows = [{k: v for k, v in row.items() if v is not None and v != ""} for row in rows]
    columns = list(dict.fromkeys(str(name) for row in rows for name in row))
    names: dict[str, str] = {}
    for what, patterns in WORDS["columns"].items():
        fits = [c for p in patterns for c in columns if re.fullmatch(p, c.strip().lower())]
        names |= {what: fits[0]} if fits else {}
    if "rate" not in names:
        refuse("what the log holds", columns or "nothing", "a column with the rate, such as lr")
    clock = names.pop("update", names.get("epoch"))
    points, clocks = [], []
    for number, row in enumerate(rows):
        values = {what: _number(row, name, number) for what, name in names.items() if name in row}
        if values.keys() - {"epoch"}:
            points.append(values)
            clocks.append(_number(row, clock, number) if clock else float(number))
    falls = [i for i in range(1, len(clocks)) if clocks[i] < clocks[i - 1]]
    new = [points[i].get("epoch", 0) > points[i - 1].get("epoch", np.inf) for i in falls]
    if (falls and all(new)) or (clock == names.get("epoch") and len({*clocks}) < len(clocks)):
        clocks, falls = [float(i) for i in range(len(points))], []  # it counts within an epoch
    # What has no rate is no resume: evaluations may be written when all is done.
    falls = [a for a, b in pairwise([*falls, len(points)]) if any("rate" in p for p in points[a:b])]
    if len(falls) > max(3, len(clocks) // 20) or len({*clocks}) < 2:
        refuse(clock or "the rows", clocks[:9], "two updates at least, and that they rise")
    table: dict[float, dict[str, float]] = {}
    for i, (at, values) in enumerate(zip(clocks, points, strict=True)):
        if i in falls:
            table = {t: row for t, row in table.items() if t < at}
        table[at] = table.get(at, {}) | values
    series = {}
    for what in WORDS["columns"]:
        found = [(at, row[what]) for at, row in sorted(table.items()) if what in row]
        series[what] = np.array([t for t, _ in found]), np.array([value for _, value in found])
    check_array(names["rate"], series["rate"][1], 0)
    return Log(series, names, [(clocks[i - 1], clocks[i]) for i in falls])


def _number(row: Mapping[str, Any], name: str, number: int) -> float:
    value = row.get(name)
    try:
        return float({"True": 1, "False": 0}.get(str(value), value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        refuse(f"{name} in row {number}", value, "a number")
