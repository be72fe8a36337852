"""What recording costs: `train` against a bare PyTorch loop with the same model and batches.

Rate and loss are recorded on both counts below; norms add a copy of the weights and two reductions
per update, and are reported apart. The last line is `train`'s seconds over the bare loop's.
"""

import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch.optim.lr_scheduler import LambdaLR

from lrcourse.data import digits
from lrcourse.models import MLP
from lrcourse.schedules import Cosine
from lrcourse.training import train

STEPS, SIZE, AT_MOST = 1000, 64, 1.10
data, schedule = digits(), Cosine(STEPS)


def fresh() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    model = MLP((64, 128, 10), seed=0)
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def bare() -> np.ndarray:
    model, optimizer = fresh()
    batches, scheduler = data.batches(SIZE), LambdaLR(optimizer, schedule)
    losses = []
    for t in range(STEPS):
        x, y = batches(t)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return np.array(losses)


def recorded(norms: bool) -> np.ndarray:
    model, optimizer = fresh()
    batches = data.batches(SIZE)
    return train(model, batches, optimizer, schedule, steps=STEPS, norms=norms, progress=False).loss


def main() -> int:
    sides = {"bare": bare, "train": lambda: recorded(False), "norms": lambda: recorded(True)}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(9):
        results = {}
        for name, side in sides.items():
            start = time.perf_counter()
            results[name] = side()
            seconds[name].append(time.perf_counter() - start)
        assert np.array_equal(results["bare"], results["train"]), "the sides trained differently"
        assert np.array_equal(results["bare"], results["norms"]), "the sides trained differently"
    for name, times in seconds.items():
        print(f"{name:6} {1e6 * np.median(times) / STEPS:7.1f} µs an update")
    pairs = {n: np.median(np.divide(seconds[n], seconds["bare"])) for n in ("norms", "train")}
    print(f"with norms: {pairs['norms']:.2f} of the bare loop\nat most {AT_MOST} is asked for")
    print(f"ratio: {pairs['train']:.3f}")
    return 0 if pairs["train"] <= AT_MOST else 1


if __name__ == "__main__":
    sys.exit(main())
