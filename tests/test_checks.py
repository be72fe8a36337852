"""The queue of `course.py test`: everything is run, told and counted, and nothing outlives it."""

import time
from pathlib import Path

import psutil
import pytest

from tools import checks, jobs, notebooks
from tools.jobs import Job

ROOT = Path(__file__).resolve().parents[1]


def python(code: str, stage: str = "stage", seconds: float = 1, part: str = "") -> Job:
    """A job that runs some Python; it fails when that raises."""
    return Job(stage, ("timeit", "-n1", "-r1", code), seconds, part)


def test_all_are_run_the_longest_first_and_each_is_told_whole(monkeypatch):
    monkeypatch.setattr(jobs, "AT_ONCE", 1)
    todo = [python("print('a')", seconds=1), python("1 / 0", seconds=3)]
    todo += [python("import sys; print('ü'); print('!', file=sys.stderr)", seconds=2)]
    told: list[jobs.Result] = []
    results = jobs.run_jobs(todo, told.append)
    assert results == told
    assert [result.job for result in told] == [todo[1], todo[2], todo[0]]
    assert [result.status for result in told] == [1, 0, 0]
    assert {"ü", "!"} <= set(told[1].said.splitlines())
    assert all(result.seconds > 0 for result in results)


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 1), (6, 3), (16, 8)])
def test_each_job_gets_its_share_of_the_cores(cores: int, threads: int, monkeypatch):
    monkeypatch.setattr(jobs.joblib, "cpu_count", lambda: cores)
    asks = "import os; print('threads', os.environ['OMP_NUM_THREADS'])"
    for result in jobs.run_jobs([python(asks), python(asks)], lambda result: None):
        assert f"threads {threads}" in result.said.splitlines()


def test_nothing_runs_on_after_an_interruption(monkeypatch):
    monkeypatch.setattr(jobs.joblib, "cpu_count", lambda: 2)
    monkeypatch.setattr(jobs, "GRACE", 0.2)

    def interrupt(result: jobs.Result) -> None:
        raise KeyboardInterrupt

    begin, sleep = time.monotonic(), "import time; time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        jobs.run_jobs([python(sleep), python("pass"), python(sleep)], interrupt)
    assert time.monotonic() - begin < 30
    children = psutil.Process().children(recursive=True)
    assert not [child for child in children if "timeit" in child.cmdline()]


def test_a_failure_is_named_and_the_table_sums_stages(capsys):
    good, bad = python("pass", "good"), python("1 / 0", "bad", part="07")
    assert checks.check_course([good]) == 0
    assert capsys.readouterr().out.endswith("\nEvery check passed.\n")
    assert checks.check_course([bad, good, python("2 / 1", "bad", part="08")]) == 1
    said = capsys.readouterr().out
    assert "ZeroDivisionError" in said
    assert said.endswith("\nFailed: bad: 07.\n")
    rows = [line.split() for line in said[said.index("\nstage ") :].splitlines()]
    assert [row[:3] for row in rows if row[:1] in (["good"], ["bad"])] == [
        ["bad", "2", "FAILED"],
        ["good", "1", "ok"],
    ]


def test_each_chapter_is_run_twice_and_fast_runs_none():
    numbers = {path.name[:2] for path in (ROOT / "notebooks").glob("*.ipynb")}
    everything, fast = checks.plan_jobs(), checks.plan_jobs(fast=True)
    for command in ("verify", "compare"):
        mine = [job for job in everything if job.command[:2] == ("tools.notebooks", command)]
        assert {job.command[-1] for job in mine} == numbers and len(mine) == len(numbers)
    assert {job.name for job in everything} > {job.name for job in fast}
    modules = {"ruff", "mypy", "pytest", "tools.record"}
    assert {job.command[0] for job in fast} == modules
    assert not any("tests/browser" in job.command for job in fast)


def test_the_jobs_of_chapters_do_what_their_names_say(monkeypatch):
    done: list[tuple[str, str, int | None]] = []

    def verify(path: Path, seed: int) -> None:
        done.append(("seed", path.name[:2], seed))

    def compare(path: Path) -> None:
        done.append(("stored", path.name[:2], None))

    def run_here(jobs: list[Job], tell: object) -> list:
        assert [notebooks.main(job.command[1:]) for job in jobs] == [0] * len(jobs)
        return []

    monkeypatch.setattr(notebooks, "verify", verify)
    monkeypatch.setattr(notebooks, "compare_outputs", compare)
    run_here([job for job in checks.plan_jobs() if job.part in ("03", "11")], None)
    assert done[:2] == [("seed", "03", 1), ("seed", "11", 1)]
    assert done[2:] == [("stored", "03", None), ("stored", "11", None)]

    monkeypatch.setattr(notebooks, "run_jobs", run_here)
    done.clear()
    assert notebooks.main(["verify", "3", "--seed", "2", "11"]) == 0
    assert done == [("seed", "03", 2), ("seed", "11", 2)]


def test_a_long_chapter_is_thought_long(tmp_path: Path):
    long, short = tmp_path / "01_long.md", tmp_path / "02_short.md"
    cell = "text\n\n```{code-cell} ipython3\n1 + 1\n```\n"
    long.write_text(3 * cell)
    short.write_text(cell)
    one, two = jobs.chapter_jobs("stored", [long, short], "tools.notebooks", "compare")
    assert one.seconds == 3 * two.seconds > 0
    assert (one.name, one.command) == ("stored: 01", ("tools.notebooks", "compare", "01"))
