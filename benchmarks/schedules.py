"""How much faster `values` gives 100 000 rates than stepping the PyTorch scheduler does.

The PyTorch side is what one writes to plot or to plan with a scheduler: build it, step it, read
the rate. It is not charged for `optimizer.step()`. Each side's time is its best of several.

    python benchmarks/schedules.py
"""

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.optim import lr_scheduler as lrs

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lrcourse.schedules import Cosine, OneCycle, Schedule, Step, Warmup, values

STEPS, WARMUP, PEAK, LEAST = 100_000, 1_000, 0.1, 80
Maker = Callable[[torch.optim.Optimizer], lrs.LRScheduler]


def warmup_cosine(optimizer: torch.optim.Optimizer) -> lrs.LRScheduler:
    # LinearLR refuses to start at 0, so the warmup starts at 1/1000 of the peak.
    warmup = lrs.LinearLR(optimizer, start_factor=1e-3, total_iters=WARMUP)
    cosine = lrs.CosineAnnealingLR(optimizer, T_max=STEPS - WARMUP)
    return lrs.SequentialLR(optimizer, [warmup, cosine], milestones=[WARMUP])


CASES: dict[str, tuple[Schedule, Maker]] = {
    "step": (Step(10_000, gamma=0.5), lambda o: lrs.StepLR(o, 10_000, gamma=0.5)),
    "warmup, cosine": (Warmup(WARMUP, start=1e-3) >> Cosine(STEPS - WARMUP), warmup_cosine),
    "one cycle": (OneCycle(STEPS), lambda o: lrs.OneCycleLR(o, PEAK, total_steps=STEPS)),
}


def stepped(make_scheduler: Maker) -> np.ndarray:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler = make_scheduler(optimizer)
    rates = np.empty(STEPS)
    for t in range(STEPS):
        rates[t] = optimizer.param_groups[0]["lr"]
        scheduler.step()
    return rates


def best(repeats: int, function: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return min(times), result


def main() -> int:
    warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*before.*optimizer.step")
    print(f"{STEPS:,} rates     PyTorch, s  values, ms   ratio")
    ratios = []
    for name, (schedule, make_scheduler) in CASES.items():
        slow, expected = best(3, lambda make=make_scheduler: stepped(make))
        fast, rates = best(30, lambda schedule=schedule: values(schedule, STEPS, PEAK))
        # The recursive torch classes gather rounding errors over 100 000 steps.
        np.testing.assert_allclose(rates, expected, rtol=0, atol=1e-9 * PEAK)
        ratios.append(slow / fast)
        print(f"{name:<16}{slow:>13.3f}{fast * 1e3:>12.2f}{slow / fast:>8.0f}")
    print(f"ratio: {min(ratios):.1f}")
    return 0 if min(ratios) >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
