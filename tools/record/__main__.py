"""The command line of the recorded experiments.

python -m tools.record list
python -m tools.record run NAME [--scale cpu|gpu] [--part PART] [--minutes N]
python -m tools.record show NAME [--scale cpu|gpu]
python -m tools.record recheck [NAME] [--whole]
"""

import argparse
import sys
from collections.abc import Sequence

from lrcourse.experiments.declared import SCALES
from lrcourse.experiments.questions import EXPERIMENTS
from lrcourse.experiments.recordings import FOLDER, Recording, read_recording
from lrcourse.sweeps import final
from tools.record.comparison import leaders
from tools.record.rechecking import recheck
from tools.record.running import run_experiment


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.record", description="The recorded experiments."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what is asked, and whether it is recorded")
    run = commands.add_parser("run", help="run what is missing, and record it")
    show = commands.add_parser("show", help="the verdicts of a recording, and how it was tuned")
    check = commands.add_parser("recheck", help="repeat the first updates of recorded runs")
    for one in (run, show):
        one.add_argument("name", choices=EXPERIMENTS)
        one.add_argument("--scale", choices=SCALES, default="cpu")
    run.add_argument("--part", help="this part alone, and anew")
    run.add_argument("--minutes", type=float, help="begin no part that needs more than are left")
    check.add_argument("name", choices=EXPERIMENTS, nargs="?", help="without, all that there are")
    check.add_argument("--whole", action="store_true", help="repeat all runs, and not some")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "list":
            _list()
        elif chosen.command == "run":
            told = {"part": chosen.part, "minutes": chosen.minutes}
            _show(run_experiment(chosen.name, chosen.scale, **told))
        elif chosen.command == "show":
            _show(read_recording(chosen.name, chosen.scale))
        else:
            return _recheck([chosen.name] if chosen.name else _recorded("cpu"), chosen.whole)
    except (ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _recorded(scale: str) -> list[str]:
    return [name for name in EXPERIMENTS if (FOLDER / f"{name}-{scale}.parquet").exists()]


def _list() -> None:
    for name, experiment in EXPERIMENTS.items():
        scales = [scale for scale in experiment.scales if name in _recorded(scale)]
        print(f"{name:10} {experiment.asks}  recorded: {', '.join(scales) or 'not yet'}")


def _recheck(names: Sequence[str], whole: bool) -> int:
    wrong = [one for name in names for one in recheck(name, whole=whole)]
    print(*wrong, sep="\n", file=sys.stderr, end="\n" if wrong else "")
    print(f"{len(names)} recordings checked: {', '.join(names)}; {len(wrong)} faults")
    return 1 if wrong else 0


def _show(recording: Recording) -> None:
    """Verdicts first, then what each part was tuned to and reached."""
    about = recording.about
    print(
        f"{about['asks']}\n{recording.caption}; a difference matters from {about['margin']} % on\n"
    )
    print(*recording.findings(), sep="\n")
    for title, part in about["parts"].items():
        ends, grid = recording.ends(title), final(recording.rows("tuning", title))
        told = {k: part[k] for k in ("runs", "seconds", "path", "updates_per_second", "commit")}
        print(f"\n{title}: {told}")
        print("test loss, mean of", len(ends), "seeds; best peak; then the tuning grid, validation")
        means = grid.pivot_table("validation_loss", "schedule", "peak", sort=False)
        table = means.assign(test=ends.mean(), best=part["tuned"]).set_index(
            ["test", "best"], append=True
        )
        print(table.to_string(float_format=lambda x: f"{x:.4f}", na_rep="·"))
        print("lowest, and not told from it (Holm):", ", ".join(leaders(ends)))


if __name__ == "__main__":
    sys.exit(main())
