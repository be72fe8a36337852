"""Checks of chapter 18, Watching and mending."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import SGD

from lrcourse.chapters.clinic import CASES, log_of
from lrcourse.data import digits
from lrcourse.doctor.reading import gather
from lrcourse.doctor.signs import diagnose
from lrcourse.evidence import Difference, measured
from lrcourse.exercises.contest import post
from lrcourse.exercises.engine import Hints, parting, rates_used, update, weights
from lrcourse.files import fingerprint
from lrcourse.models import MLP
from lrcourse.schedules import Cosine, Warmup, values


def check_18_open(answer: Any) -> Hints:
    """A doctor: a function of a log that names the cause in at least nine of the sixteen cases."""
    if not isinstance(name := answer(log_of("past", 0)), str) or name not in CASES:
        yield f"Of one log it makes {name!r}: it must return one of {', '.join(CASES)}."
        return ""
    code = getattr(answer, "__code__", None)
    entry = fingerprint([code and code.co_code, repr(code and code.co_consts)])
    seed = 10_000 + int(entry[:6], 16)  # so nobody has seen these runs
    missed = [case for case in CASES if answer(log_of(case, seed)) != case]
    share = Difference(100 * len(missed) / len(CASES), 0.0, len(CASES))  # the board's per cent
    place = "{} of {}".format(*post("18 open", entry, share))
    found = f"{len(CASES) - len(missed)} of {len(CASES)}"
    if len(missed) > len(CASES) - 9:
        mark = f"One that it misses has this mark: {CASES[missed[-1]].shows}."
        yield f"It finds {found}, and nine are asked for. {mark} Place {place} on your board."
    seen = sum(map(bool, (diagnose(gather(log_of(c, seed).to_dict("records"))) for c in CASES)))
    ours = f"a sign in {seen} of {len(CASES)}"
    return measured(found=found, missed=" ".join(missed) or "none", place=place, our_doctor=ours)


def check_18_repair(answer: Any) -> Hints:
    """A loop that warms up, follows a cosine, clips, and returns the rates that it used."""
    steps, limit, bad = 60, 2.0, 35
    plan = values(Warmup(20, 0.1) >> Cosine(steps - 20), steps, 0.1)
    clean = digits().batches(32, 0)

    def batches(t: int) -> tuple[Tensor, Tensor]:
        x, y = clean(t)
        return x + (10.0 if t == bad else 0.0), y

    mine, right = MLP((64, 16, 10), seed=0), MLP((64, 16, 10), seed=0)
    optimizer, twin = SGD(mine.parameters(), lr=0.1), SGD(right.parameters(), lr=0.1)
    used = rates_used(optimizer)
    told = answer(mine, optimizer, batches, steps, limit)
    if len(used) != steps or np.shape(told) != (steps,):
        yield f"It is to make {steps} updates, and to return the rate of each: {len(used)} made."
    if (t := parting(used, plan)) is not None:
        seen = f"update {t}: it uses {used[t] / 0.1:.3f} of the peak"
        yield f"The first rate that is off is {seen}, and the plan says {plan[t] / 0.1:.3f}."
    if not np.allclose(told, used, rtol=1e-9, atol=1e-12):
        yield f"It reports {told[0]:.4f} for update 0, which used {used[0]:.4f}."
    for t in range(steps):
        twin.param_groups[0]["lr"] = float(plan[t])
        update(right, twin, batches(t), clip=limit)
    if not torch.allclose(weights(mine), weights(right), atol=1e-4):
        yield "The rates are right and the weights are not: what is clipped, when, and to what?"
