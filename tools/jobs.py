"""One queue of commands: several at once, the longest first, each shown whole when it ends.

It needs nothing of the course, so that a module which cannot be loaded stops no check of the rest.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

import joblib

__all__ = ["ROOT", "Job", "Result", "chapter_jobs", "run_jobs", "run_program"]

ROOT = Path(__file__).resolve().parents[1]
AT_ONCE = 4  # at most: a chapter takes up to a gigabyte of memory
PAUSE = 0.1  # seconds between two looks at what runs
GRACE = 10.0  # seconds that a job may take to end when it is asked to
CELL = 0.8  # seconds that a cell of a chapter takes on one of two cores, about


@dataclass(frozen=True)
class Job:
    """A command that says by its status whether all is well.

    Attributes:
        stage: the name under which it is told.
        command: a module, and words for it: what follows `python -m`.
        seconds: about how long it takes beside another. Only the order depends on it.
        part: which part of the stage this is; "" where it is all.
    """

    stage: str
    command: tuple[str, ...]
    seconds: float
    part: str = ""

    @property
    def name(self) -> str:
        """Stage and part, such as "notebooks, stored: 03"."""
        return f"{self.stage}: {self.part}" if self.part else self.stage


@dataclass(frozen=True)
class Result:
    """How a job ended.

    Attributes:
        job: which.
        status: its exit status, 0 when all is well.
        seconds: how long it took.
        said: all that it printed.
    """

    job: Job
    status: int
    seconds: float
    said: str


@dataclass(frozen=True)
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    began: float

    def result(self) -> Result:
        self.log.seek(0)
        said = self.log.read().decode("utf-8", errors="replace")
        self.log.close()
        return Result(self.job, self.process.returncode, time.monotonic() - self.began, said)


def run_jobs(jobs: Sequence[Job], tell: Callable[[Result], None]) -> list[Result]:
    """Run all jobs, the longest first, as many at once as there are cores.

    All are run even when one fails. Each gets its share of the cores: two that both want all of
    them would slow each other down several times. When this is interrupted, what runs is ended.

    Args:
        jobs: in any order.
        tell: called with each result when it is there.

    Returns:
        The results, in the order in which the jobs ended.
    """
    cores = joblib.cpu_count()  # of those that this process may use
    workers = max(1, min(cores, len(jobs), AT_ONCE))
    variables = {**os.environ, "OMP_NUM_THREADS": str(cores // workers), "PYTHONUTF8": "1"}
    waiting = sorted(jobs, key=lambda job: job.seconds)
    running: list[_Running] = []
    results: list[Result] = []
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                running.append(_start(waiting.pop(), variables))
            time.sleep(PAUSE)
            for one in [r for r in running if r.process.poll() is not None]:
                running.remove(one)
                results.append(one.result())
                tell(results[-1])
    finally:
        _end(running)
    return results


def _start(job: Job, variables: dict[str, str]) -> _Running:
    log = tempfile.TemporaryFile()  # noqa: SIM115  a pipe would have to be emptied all the time
    process = subprocess.Popen(
        [sys.executable, "-m", *job.command],
        cwd=ROOT,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # a Ctrl-C is for us, who pass it on
    )
    return _Running(job, process, log, time.monotonic())


def _end(running: Sequence[_Running]) -> None:
    """End what still runs: as by Ctrl-C, so that it ends its own, kernels and browsers, too."""
    for one in running:
        if os.name != "nt" and one.process.poll() is None:  # on Windows, Ctrl-C has reached it
            os.killpg(one.process.pid, signal.SIGINT)
    deadline = time.monotonic() + GRACE
    for one in running:
        try:
            one.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            one.process.kill()
            one.process.wait()
        one.log.close()


def run_program(main: Callable[[], int]) -> NoReturn:
    """Leave with the status of `main`, or, after Ctrl-C or a kill, when its jobs have ended."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nStopped.")


def chapter_jobs(stage: str, sources: Sequence[Path], *command: str) -> list[Job]:
    """A job for each chapter: `command` with its number.

    How many cells a chapter has tells near enough how long it takes.

    Args:
        stage: its name.
        sources: the chapters' sources, `notebooks/source/NN_slug.md`.
        command: module and words that come before the number.
    """
    jobs = []
    for source in sources:
        number = source.stem.partition("_")[0]
        cells = source.read_text(encoding="utf-8").count("\n```{code-cell}")
        jobs.append(Job(stage, (*command, number), CELL * cells, number))
    return jobs
