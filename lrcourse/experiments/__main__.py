"""The command line of the Transformer experiments: list, run and record them.

python -m lrcourse.experiments list
python -m lrcourse.experiments run NAME [--scale cpu|gpu] [--steps N] [--seeds N]
"""

import argparse
import sys
from collections.abc import Sequence

from lrcourse.experiments.declared import EXPERIMENTS, SCALES
from lrcourse.experiments.recordings import FOLDER
from lrcourse.experiments.running import run_experiment


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m lrcourse.experiments", description="The Transformer experiments."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what there is")
    go = commands.add_parser("run", help="run one and record it under data/recordings")
    go.add_argument("name", choices=EXPERIMENTS)
    go.add_argument("--scale", choices=SCALES, default="cpu")
    go.add_argument("--steps", type=int, metavar="N", help="of a run (default: the scale's)")
    go.add_argument("--seeds", type=int, metavar="N", help="how many (default: the scale's)")
    chosen = parser.parse_args(arguments)
    if chosen.command == "list":
        for name, experiment in EXPERIMENTS.items():
            print(f"{name:12} {experiment.asks} ({experiment.source})")
        return 0
    try:
        recording = run_experiment(
            chosen.name, chosen.scale, steps=chosen.steps, seeds=chosen.seeds, folder=FOLDER
        )
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    about = recording.about
    print(
        f"{about['runs']} runs in {about['seconds']:.0f} s on {about['device']}: "
        f"{about['tokens_per_second']:,} tokens a second. "
        f"Recorded as data/recordings/{chosen.name}-{chosen.scale}.parquet"
    )
    try:
        for finding in EXPERIMENTS[chosen.name].findings(recording.frame):
            print(finding)
    except ValueError as error:
        print(f"✘ cannot be judged: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
