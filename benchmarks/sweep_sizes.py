"""`sweep` against plain PyTorch loops from 1,000 to 100,000 weights: it should never be slower.

`sweep` chooses its way by itself: a stack of small models, or larger ones one by one. The plain
loops are what one would write: torch.optim with its defaults, and in another column with
`fused=True`. All of it on one thread, as the processes that joblib starts have. The last line is
the smallest ratio, of the loops with torch's defaults over the sweep; a twentieth is left to noise.
"""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, AdamW

from lrcourse.data import corpus, digits
from lrcourse.models import GPT, MLP, next_token_loss
from lrcourse.sweeps import final, stacks, sweep

PEAKS, SEEDS, ROUNDS, AT_LEAST = [0.001, 0.003, 0.005, 0.01], range(4), 3, 0.95
data, text = digits(), corpus(context=32)
MLPS = {"1k": (64, 14, 10), "10k": (64, 134, 10), "30k": (64, 140, 140, 10)}
MLPS |= {"100k": (64, 285, 285, 10)}
GPTS = {"2k": (1, 8), "9k": (2, 16), "30k": (2, 32), "100k": (2, 60)}


def tasks() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, sizes in MLPS.items():
        yield f"MLP {name}", {
            "model": lambda seed, sizes=sizes: MLP(sizes, seed=seed),
            "batches": lambda seed: data.batches(32, seed),
            "loss": F.cross_entropy, "optimizer": SGD, "momentum": 0.9, "steps": 200,
        }  # fmt: skip
    for name, (layers, width) in GPTS.items():
        yield f"GPT {name}", {
            "model": lambda seed, layers=layers, width=width: GPT(
                context=32, layers=layers, width=width, seed=seed
            ),
            "batches": lambda seed: text.batches(8, seed),
            "loss": next_token_loss, "optimizer": AdamW, "clip": 1.0, "steps": 40,
        }  # fmt: skip


def together(task: dict[str, Any]) -> np.ndarray:
    frame = sweep(peaks=PEAKS, seeds=SEEDS, every=task["steps"], progress=False, **task)
    return final(frame)["loss"].to_numpy()


def one_by_one(
    model: Callable[[int], nn.Module], batches: Callable[[int], Any], loss: Callable[..., Any],
    optimizer: Any, steps: int, clip: float | None = None, **settings: Any,
) -> np.ndarray:  # fmt: skip
    ends = []
    for peak in PEAKS:
        for seed in SEEDS:
            net, draw, losses = model(seed), batches(seed), []
            opt = optimizer(net.parameters(), lr=peak, **settings)
            for t in range(steps):
                x, y = draw(t)
                opt.zero_grad()
                value = loss(net(x), y)
                value.backward()
                if clip is not None:
                    nn.utils.clip_grad_norm_(net.parameters(), clip)
                opt.step()
                losses.append(value.detach())
            ends.append(torch.stack(losses).mean().item())
    return np.array(ends)


def main() -> int:
    torch.set_num_threads(1)
    print("                way   sweep  plain loops     fused   (µs an update of a run)")
    ratios = []
    for name, task in tasks():
        sides = (
            lambda task=task: together(task),
            lambda task=task: one_by_one(**task),
            lambda task=task: one_by_one(**task, fused=True),
        )
        rounds = []
        for _ in range(ROUNDS):
            seconds, ends = [], []
            for side in sides:
                start = time.perf_counter()
                ends.append(side())
                seconds.append(time.perf_counter() - start)
            rounds.append(seconds)
        for other in ends[1:]:
            np.testing.assert_allclose(ends[0], other, rtol=2e-3)
        # The quickest of each side: whatever else runs here only ever adds to them.
        ours, theirs, fused = np.min(rounds, axis=0) / task["steps"] / len(PEAKS) / len(SEEDS) * 1e6
        net = task["model"](0)
        way = "stacked" if stacks(net) else "one by one"
        ratios.append(theirs / ours)
        print(
            f"{name:9}{way:>11}{ours:8.0f}{theirs:9.0f} {theirs / ours:.2f} x"
            f"{fused:8.0f} {fused / ours:.2f} x", flush=True,
        )  # fmt: skip
    print(f"at least {AT_LEAST} is asked for")
    print(f"ratio: {min(ratios):.2f}")
    return 0 if min(ratios) >= AT_LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
