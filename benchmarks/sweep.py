"""64 runs of an MLP on digits, 300 updates: `sweep` against a plain PyTorch loop, run by run.

Both sides draw the same minibatches; the losses they end with are compared. A third side is the
same training written by hand for this one model, with its gradients: what a sweep could reach at
best. The last line is the plain loop's seconds over the sweep's: how many times faster the sweep
is.
"""

import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

from lrcourse.data import digits
from lrcourse.models import MLP
from lrcourse.sweeps import final, sweep

STEPS, SIZE, MOMENTUM, AT_LEAST = 300, 32, 0.9, 10.0
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
        momentum=MOMENTUM,
        progress=False,
    )
    return final(frame)["loss"].to_numpy()


def by_hand() -> np.ndarray:
    nets = [[p.detach() for p in model(seed).parameters()] for _ in PEAKS for seed in SEEDS]
    flat = torch.stack([torch.cat([p.flatten() for p in net]) for net in nets])
    gradient, walk = torch.empty_like(flat), torch.zeros_like(flat)
    ends = np.cumsum([p.numel() for p in nets[0]]).tolist()

    def views(rows: torch.Tensor) -> list[torch.Tensor]:
        parts = zip(rows.tensor_split(ends[:-1], 1), nets[0], strict=True)
        return [part.unflatten(1, p.shape) for part, p in parts]

    (w1, b1, w2, b2), (g1, h1, g2, h2) = views(flat), views(gradient)
    rates = torch.tensor([-peak for peak in PEAKS for _ in SEEDS]).unsqueeze(1)
    mine = torch.arange(len(SEEDS)).repeat(len(PEAKS))
    batches = [data.batches(SIZE, seed) for seed in SEEDS]
    losses = torch.empty(STEPS, len(nets))
    for t in range(STEPS):
        drawn = zip(*(batch(t) for batch in batches), strict=True)
        x, y = (torch.stack(one).index_select(0, mine) for one in drawn)
        y = y.unsqueeze(2)
        hidden = torch.baddbmm(b1.unsqueeze(1), x, w1.mT).relu_()
        scores = torch.baddbmm(b2.unsqueeze(1), hidden, w2.mT).log_softmax(2)
        losses[t] = -scores.gather(2, y).mean((1, 2))
        scores.exp_().scatter_add_(2, y, torch.full_like(scores[..., :1], -1.0)).div_(SIZE)
        back = torch.bmm(scores, w2).mul_(hidden > 0)
        for g, h, up, down in ((g2, h2, scores, hidden), (g1, h1, back, x)):
            g.copy_(torch.bmm(up.mT, down))
            torch.sum(up, 1, out=h)
        walk.mul_(MOMENTUM).add_(gradient)
        flat.addcmul_(walk, rates)
    return losses[-STEPS // 20 :].mean(0).numpy()


def one_by_one() -> np.ndarray:
    ends = []
    for peak in PEAKS:
        for seed in SEEDS:
            net, batches = model(seed), data.batches(SIZE, seed)
            optimizer = torch.optim.SGD(net.parameters(), lr=peak, momentum=MOMENTUM)
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
    sides = (together, by_hand, one_by_one)
    together(), by_hand()  # warm up
    rounds = []
    for _ in range(3):
        seconds, ends = [], []
        for side in sides:
            start = time.perf_counter()
            ends.append(side())
            seconds.append(time.perf_counter() - start)
        rounds.append(seconds)
        for other in ends[1:]:
            np.testing.assert_allclose(ends[0], other, rtol=2e-3, atol=2e-4)  # float32, 300 updates
    ours, hand, theirs = np.median(rounds, axis=0)
    ratio = float(np.median([slow / quick for quick, _, slow in rounds]))
    share = float(np.median([best / quick for quick, best, _ in rounds]))
    print(f"{len(PEAKS) * len(SEEDS)} runs of {STEPS} updates on {torch.get_num_threads()} threads")
    print(f"sweep        {ours:6.2f} s\nplain loops  {theirs:6.2f} s")
    print(f"by hand      {hand:6.2f} s: sweep reaches {share:.0%} of its speed")
    print(f"at least {AT_LEAST:g} is asked for")
    print(f"ratio: {ratio:.2f}")
    return 0 if ratio >= AT_LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
