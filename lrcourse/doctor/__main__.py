"""`python3 course.py doctor LOG`: what the log of a training shows."""

import argparse
import sys
from collections.abc import Sequence

from lrcourse.arguments import refuse
from lrcourse.doctor.reading import read_log
from lrcourse.doctor.signs import diagnose
from lrcourse.files import write_whole
from lrcourse.schedules import PLANS, plan, values


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; gives the exit status: 0 nothing found, 1 something, 2 for bad input."""
    flags = argparse.ArgumentParser(prog="python3 course.py doctor", description=__doc__)
    flags.add_argument("log", help="a .csv, a .jsonl, a trainer_state.json, TensorBoard's events")
    flags.add_argument("--plan", choices=PLANS, help="check the rates against this schedule")
    flags.add_argument("--peak", type=float, help="the plan's highest rate (default: the log's)")
    for name in ("steps", "warmup", "cooldown"):
        flags.add_argument(f"--{name}", type=int, default=0, help="of the plan, in updates")
    flags.add_argument("--classes", type=int, help="among how many the network chooses")
    flags.add_argument("--figure", help="draw loss and rate into this file, a PNG")
    asked = flags.parse_args(argv)
    try:
        if asked.plan and not asked.steps:
            refuse("--plan", asked.plan, "--steps beside it, the plan's length in updates")
        log, planned = read_log(asked.log), None
        at, rate = log.series["rate"]
        if asked.plan:
            schedule = plan(asked.plan, asked.steps, warmup=asked.warmup, cooldown=asked.cooldown)
            planned = values(schedule, int(at[-1]) + 2, asked.peak or rate.max())
        signs = diagnose(log, planned, asked.classes)
        if asked.figure:
            from lrcourse import plots  # only here: it takes a second

            title = str(signs[0]).partition("\n")[0] if signs else "Nothing found"
            told = {"x": "update", "y": "loss", "title": title, "alt": f"Loss and rate: {title}"}
            curves = {w: log.series[w] for w in ("loss", "validation") if w in log.names}
            down = {str(number): sign.at for number, sign in enumerate(signs, 1)}
            with write_whole(asked.figure) as to:
                to.write_bytes(plots.lines(curves, rates={"": (at, rate)}, down=down, **told).png())  # type: ignore[arg-type]
    except (ValueError, OSError, ImportError) as error:
        print(f"doctor: {error}", file=sys.stderr)
        return 2
    columns = ", ".join(f"{what} from {name!r}" for what, name in log.names.items())
    losses = len(log.series["loss"][0])
    print(f"{len(at)} rates, {losses} losses, update {at[0]:.9g} to {at[-1]:.9g}: {columns}.")
    if len(at) < 8 or losses < 30:
        print("Not all can be judged: the shape takes 8 rates, and most of the loss 30 losses.")
    found = [f"{number}. {sign}" for number, sign in enumerate(signs, 1)]
    print("\n".join(found) or "Nothing found. docs/doctor.md says what a log cannot show.")
    return 1 if signs else 0


if __name__ == "__main__":
    sys.exit(main())
