"""Every check of the course: what `python3 course.py test` runs.

All are run even when one fails, so that one call tells everything: several at once, the longest
first, and what each says is shown when it ends. In an environment of your own (conda, say)
`python -m tools.checks` does the same.
"""

import argparse
import shlex
import time
from collections.abc import Sequence

from tools.jobs import ROOT, Job, Result, chapter_jobs, run_jobs, run_program

__all__ = ["check_course", "plan_jobs"]

UNIT = "pytest --ignore=tests/test_notebooks.py --ignore=tests/browser"
# Stage: about how many seconds it takes on one of two cores, and what is run.
STAGES = {
    "lint": (1, "ruff check --no-cache ."),
    "format": (1, "ruff format --check --no-cache ."),
    "types": (15, "mypy"),
    "unit tests": (175, f"{UNIT} -m 'not slow'"),
    "slow unit tests": (270, f"{UNIT} -m slow"),
    "recordings": (50, "tools.record recheck"),
    "notebook checks": (30, "pytest tests/test_notebooks.py"),
}
THOROUGH = {"browser": (240, "pytest -rs tests/browser")}
EACH_CHAPTER = {
    "notebooks, seed 1": "tools.notebooks verify --seed 1",
    "notebooks, stored": "tools.notebooks compare",
}


def plan_jobs(fast: bool = False) -> list[Job]:
    """What there is to do; with `fast` neither chapters nor a browser are run."""
    stages = STAGES if fast else STAGES | THOROUGH
    jobs = [Job(n, tuple(shlex.split(line)), seconds) for n, (seconds, line) in stages.items()]
    if not fast:
        sources = sorted((ROOT / "notebooks" / "source").glob("*.md"))
        for name, line in EACH_CHAPTER.items():
            jobs += chapter_jobs(name, sources, *line.split())
    return jobs


def check_course(jobs: Sequence[Job]) -> int:
    """Run the jobs, then show a table of their stages; 1 when any failed, else 0."""
    print(f"{len(jobs)} jobs, the longest first; each is shown when it ends.", flush=True)
    begin = time.monotonic()
    results = run_jobs(jobs, show_result)
    print(f"\n{'stage':<18} {'jobs':>4}  result  seconds")
    for stage in dict.fromkeys(job.stage for job in jobs):
        mine = [result for result in results if result.job.stage == stage]
        seconds = sum(result.seconds for result in mine)
        print(f"{stage:<18} {len(mine):>4}  {outcome_of(mine):<6}  {seconds:>7.0f}")
    print(f"{'by the clock':<18} {len(jobs):>4}  {'':<6}  {time.monotonic() - begin:>7.0f}")
    failed = [result.job.name for result in results if result.status != 0]
    print(f"\nFailed: {'; '.join(failed)}." if failed else "\nEvery check passed.", flush=True)
    return 1 if failed else 0


def show_result(result: Result) -> None:
    """Print what a job said, between its name and its verdict."""
    print(f"\n=== {result.job.name}: {shlex.join(result.job.command)}")
    print(result.said.rstrip("\n"))
    print(f"=== {result.job.name}: {outcome_of([result])} after {result.seconds:.0f} s", flush=True)


def outcome_of(results: Sequence[Result]) -> str:
    """One word for all of these."""
    return "FAILED" if any(result.status != 0 for result in results) else "ok"


def main(arguments: list[str] | None = None) -> int:
    """The command line: everything, or with --fast what takes a few minutes."""
    parser = argparse.ArgumentParser(prog="python -m tools.checks", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="neither chapters nor browser")
    return check_course(plan_jobs(parser.parse_args(arguments).fast))


if __name__ == "__main__":
    run_program(main)
