"""docs/loops: each chapter's loop to paste is a program that needs nothing of this course."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from told_again import TOLD_AGAIN

from tools.notebooks import LOOPS, NOTEBOOKS, loop_of, read_source

# Their loops train a model of the course.
WITHOUT_A_FILE = {"00_start_here", "01_gradient_descent", "02_too_large_too_small", "04_steps"}

# Run in a process of its own, without this course and with each warning an error: all loops one
# after the other, because to import torch takes longer than most of them. It prints, as JSON, what
# each of them printed, or the error that it ended in.
ALONE = """
import contextlib, io, json, runpy, sys, traceback
sys.modules["lrcourse"] = None
said = {}
for path in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            runpy.run_path(path, run_name="__main__")
            said[path] = ["printed", out.getvalue()]
        except BaseException:
            said[path] = ["failed", traceback.format_exc()]
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> dict[str, list[str]]:
    """By loop: "printed" and what, or "failed" and why."""
    paths = [str(path) for path in sorted(LOOPS.glob("*.py"))]
    command = [sys.executable, "-W", "error", "-c", ALONE, *paths]
    folder = tmp_path_factory.mktemp("alone")
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert (run.returncode, run.stderr) == (0, "")
    return {Path(path).stem: what for path, what in json.loads(run.stdout).items()}


def test_each_chapter_has_its_file_and_no_other_lies_there():
    files = {path.stem for path in LOOPS.glob("*.py")}
    assert files == TOLD_AGAIN - WITHOUT_A_FILE


@pytest.mark.parametrize("name", sorted(TOLD_AGAIN - WITHOUT_A_FILE))
def test_a_loop_is_the_one_in_the_chapter(name: str):
    made = loop_of(read_source(NOTEBOOKS / "source" / f"{name}.md"), name)
    assert (LOOPS / f"{name}.py").read_text(encoding="utf-8") == made
    assert f"../docs/loops/{name}.py" in (NOTEBOOKS / "source" / f"{name}.md").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TOLD_AGAIN - WITHOUT_A_FILE))
def test_a_loop_runs_alone_and_warns_of_nothing(name: str, said):
    how, what = said[name]
    assert how == "printed", what
    assert what, "it says which rates its updates used"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("13_transformer", {"source.encode()": "source.encode()[:9_000]"}, "8 updates, highest"),
        (
            "13_transformer",
            {"source.encode()": "source.encode()[:9_000]", "= len(loader), max": "= 30, max"},
            "30 updates, highest rate 0.0100, last 3.4e-04",
        ),
        ("14_llm_era", {"32_000": "3_200"}, "400 updates of trunk, 100 down"),
    ],
)
def test_a_loop_makes_its_updates_however_little_the_data(name, changes, told, tmp_path: Path):
    text = (LOOPS / f"{name}.py").read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    run = subprocess.run(
        [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert told in run.stdout, run.stderr
