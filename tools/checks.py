"""Every check of the course, in order: what `python3 course.py test` runs.

All stages run even when one fails, so that one call tells everything. In an environment of your
own (conda, say) `python -m tools.checks` does the same.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

__all__ = ["STAGES", "run"]

STAGES = {
    "lint": "ruff check --no-cache .",
    "format": "ruff format --check --no-cache .",
    "types": "mypy",
    "unit tests": "pytest --ignore=tests/test_notebooks.py --ignore=tests/browser",
    "notebook checks": "pytest tests/test_notebooks.py",
    "browser": "pytest -rs tests/browser",
    "notebooks, seed 1": "tools.notebooks verify --seed 1",
    "notebooks, stored": "tools.notebooks compare",
}
SLOW = ["browser", "notebooks, seed 1", "notebooks, stored"]  # minutes each


def run(stages: dict[str, str]) -> int:
    """Run each stage (name → module and arguments), then a table; 1 when any stage failed."""
    rows, failed = [], []
    for name, command in stages.items():
        print(f"\n=== {name}: {command}", flush=True)
        start = time.monotonic()
        bad = subprocess.run([sys.executable, "-m", *command.split()], cwd=ROOT).returncode != 0
        verdict = "FAILED" if bad else "ok"
        rows.append(f"{name:<18} {verdict:<6} {time.monotonic() - start:>8.0f}")
        failed += [name] if bad else []
        print(f"=== {name}: {verdict} after {time.monotonic() - start:.0f} s", flush=True)
    print("\nstage              result  seconds", *rows, sep="\n")
    print(f"\nFailed: {', '.join(failed)}." if failed else "\nEvery check passed.", flush=True)
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    """The command line: all stages, or with --fast those that take no minutes."""
    parser = argparse.ArgumentParser(prog="python -m tools.checks", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="neither notebooks nor browser")
    fast = parser.parse_args(arguments).fast
    return run({name: c for name, c in STAGES.items() if not (fast and name in SLOW)})


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
