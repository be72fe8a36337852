"""64 runs of an MLP on digits, 300 updates: `sweep` against a plain PyTorch loop, run by run.

Both sides draw the same minibatches; the losses they end with are compared. The last line is the
plain loop's seconds over the sweep's: how many times faster the sweep is.
"""

import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

from lrcourse.data import digits
from lrcourse.models import MLP
from lrcourse.sweeps import final, sweep

STEPS, SIZE, AT_LEAST = 300, 32, 5.0
PEAKS, SEEDS = np.geomspace(0.01, 0.3, 8).tolist(), range(8)
data = digits()


def model(seed: int) -> torch.nn.Module:
    return MLP((64, 32, 10), seed=seed)


def together() -> np.ndarray:
    frame = sweep(
        model,
        lambda seed: data.batches(SIZE, seed),
        peaks=PEAKS,
        seeds=SEEDS,
        steps=STEPS,
        momentum=0.9,
        progress=False,
    )
    return final(frame)["loss"].to_numpy()


def one_by_one() -> np.ndarray:
    ends = []
    for peak in PEAKS:
        for seed in SEEDS:
            net, batches = model(seed), data.batches(SIZE, seed)
            optimizer = torch.optim.SGD(net.parameters(), lr=peak, momentum=0.9)
            losses = []
            for t in range(STEPS):
                x, y = batches(t)
                optimizer.zero_grad()
                loss = F.cross_entropy(net(x), y)
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
            ends.append(torch.stack(losses[-STEPS // 20 :]).mean().item())
    return np.array(ends)


def main() -> int:
    together()  # warm up
    rounds = []
    for _ in range(3):
        start = time.perf_counter()
        fast = together()
        middle = time.perf_counter()
        plain = one_by_one()
        rounds.append((middle - start, time.perf_counter() - middle))
        np.testing.assert_allclose(fast, plain, rtol=2e-3, atol=2e-4)  # float32, 300 updates
    ours, theirs = np.median(rounds, axis=0)
    ratio = float(np.median([slow / quick for quick, slow in rounds]))
    print(f"{len(PEAKS) * len(SEEDS)} runs of {STEPS} updates on {torch.get_num_threads()} threads")
    print(f"sweep        {ours:6.2f} s\nplain loops  {theirs:6.2f} s")
    print(f"at least {AT_LEAST:g} is asked for")
    print(f"ratio: {ratio:.2f}")
    return 0 if ratio >= AT_LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
