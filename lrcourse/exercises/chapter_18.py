"""Checks of chapter 18, Watching and mending."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import SGD

from lrcourse.chapters.clinic import WARDS, causes
from lrcourse.data import digits
from lrcourse.exercises.engine import Hints, rates_used, update, weights
from lrcourse.models import MLP
from lrcourse.schedules import Cosine, Warmup, values


def _diagnosis(ward: str, answer: Any) -> Hints:
    """A hint unless `answer` holds the number of the right cause for each case of the ward."""
    cases, offered = WARDS[ward][0], causes(ward)
    numbers = list(answer) if isinstance(answer, (list, tuple)) else []
    if len(numbers) != len(cases) or not all(n in range(1, len(offered) + 1) for n in numbers):
        yield f"{len(cases)} numbers from the list are asked for, as in (1, 2, 3, 4)."
    for letter, case, number in zip("ABCD", cases, numbers, strict=True):
        if offered[number - 1] != case.cause:
            yield f"{letter} has another cause. {case.look}"


def check_18_clock(answer: Any) -> Hints:
    """The causes of the first ward's four cases."""
    return _diagnosis("clock", answer)


def check_18_seams(answer: Any) -> Hints:
    """Those of the second."""
    return _diagnosis("seams", answer)


def check_18_hands(answer: Any) -> Hints:
    """Those of the third."""
    return _diagnosis("hands", answer)


def check_18_plan(answer: Any) -> Hints:
    """Those of the fourth."""
    return _diagnosis("plan", answer)


def check_18_repair(answer: Any) -> Hints:
    """A loop that warms up, follows a cosine, clips, and returns the rates that it used."""
    steps, limit, bad = 60, 2.0, 35
    plan = values(Warmup(20, 0.1) >> Cosine(steps - 20), steps, 0.1)
    clean = digits().batches(32, 0)

    def batches(t: int) -> tuple[Tensor, Tensor]:
        x, y = clean(t)
        return x + (10.0 if t == bad else 0.0), y

    mine = MLP((64, 16, 10), seed=0)
    optimizer = SGD(mine.parameters(), lr=0.1)
    used, places = rates_used(optimizer), [weights(mine)]
    optimizer.register_step_post_hook(lambda *_: places.append(weights(mine)))
    told = answer(mine, optimizer, batches, steps, limit)
    if len(used) != steps:
        yield f"It was to make {steps} updates and made {len(used)}."
    if np.shape(told) != (steps,):
        yield "It must return the rate of each update."
    if not np.allclose(used, plan, rtol=1e-6, atol=1e-9):
        t = int(np.abs(np.array(used) - plan).argmax())
        seen = f"update {t}: it uses {used[t] / 0.1:.3f} of the peak"
        yield f"Furthest off is {seen}, the plan says {plan[t] / 0.1:.3f}."
    moved = torch.stack(places).diff(dim=0).norm(dim=1).numpy()
    far = np.flatnonzero(moved > 1.01 * np.array(used) * limit)
    if len(far):
        t = int(far[0])
        seen = f"Update {t} moves the weights by {moved[t]:.2f}"
        yield f"{seen}: more than its rate times the limit, {used[t] * limit:.2f}."
    if not np.allclose(told, used, rtol=1e-9, atol=1e-12):
        yield f"It reports {told[0]:.4f} for update 0, which used {used[0]:.4f}."
    theirs = MLP((64, 16, 10), seed=0)
    twin = SGD(theirs.parameters(), lr=0.1)
    for t in range(steps):
        twin.param_groups[0]["lr"] = float(plan[t])
        update(theirs, twin, batches(t), clip=limit)
    if not torch.allclose(weights(mine), weights(theirs), atol=1e-4):
        yield "Rates and limit are right, and yet the weights are others. What else was changed?"
