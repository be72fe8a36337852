"""Tokens per second: `python -m lrcourse.pretrain` against a plain PyTorch loop for the same GPT.

Our side is what the command runs: fused AdamW, clipping, every norm written down and logged to
TensorBoard, checkpoints. The plain side is what one would write: AdamW as it comes, LambdaLR,
clip_grad_norm_, loss.item(). Both compute in bfloat16 on a GPU and in float32 elsewhere; neither
evaluates. They take turns, and the last line is our tokens per second over the plain loop's, in the
median of the rounds. On a CPU a second is one of the one core that is used, so that other programs
do not count.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from lrcourse.data import Corpus, corpus
from lrcourse.machine import device
from lrcourse.models import next_token_loss
from lrcourse.pretrain.learning import learn
from lrcourse.pretrain.settings import Settings

ROUNDS, AT_LEAST = 5, 1.0
# Dense bf16 FLOP/s of the tensor cores, from the makers' data sheets, by a part of the name.
PEAKS = {"H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12}
SMALL = Settings(steps=300, warmup=10, peak=3e-3)
LARGE = Settings(
    steps=100, warmup=10, peak=1e-3, batch_size=64, context=512, layers=8, heads=8, width=512
)


def plain(settings: Settings, text: Corpus, where: torch.device) -> np.ndarray:
    model = settings.model().to(where)
    optimizer = AdamW(model.parameters(), settings.peak, betas=(0.9, 0.95), weight_decay=0.1)
    scheduler = LambdaLR(optimizer, settings.plan())
    batches = text.batches(settings.batch_size, settings.seed)
    losses = []
    for t in range(settings.steps):
        x, y = batches(t)
        optimizer.zero_grad()
        with torch.autocast(where.type, torch.bfloat16, enabled=where.type == "cuda"):
            loss = next_token_loss(model(x), y)
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return np.array(losses)


def ours(settings: Settings, text: Corpus, where: torch.device) -> np.ndarray:
    with TemporaryDirectory() as folder:
        files = {"checkpoint": Path(folder) / "checkpoint.pt", "log": folder}
        _, run = learn(settings, text, where, every=settings.steps, progress=False, **files)
    return run.loss


def main() -> int:
    where = device()
    settings = SMALL if where.type == "cpu" else LARGE
    if where.type == "cpu":
        torch.set_num_threads(1)
    clock = time.process_time if where.type == "cpu" else time.perf_counter
    text = corpus(context=settings.context, vocabulary=settings.vocabulary).to(where)
    parameters = sum(p.numel() for p in settings.model().parameters())
    tokens = settings.steps * settings.batch_size * settings.context
    sides = {
        "plain": lambda: plain(settings, text, where),
        "ours": lambda: ours(settings, text, where),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for i in range(ROUNDS + 1):
        losses = {}
        for name, side in sides.items():
            start = clock()
            losses[name] = side()
            if i > 0:  # the first round warms up
                seconds[name].append(clock() - start)
        apart = np.abs(losses["ours"] / losses["plain"] - 1).max()
        assert apart < (0.02 if where.type == "cuda" else 1e-3), f"losses differ by {apart:.1e}"
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else where.type
    print(f"{parameters:,} parameters, {settings.batch_size} × {settings.context} tokens, {name}")
    for side, times in seconds.items():
        print(f"{side:5} {tokens / np.median(times):12,.0f} tokens a second")
    if where.type == "cuda":
        peak = next((flops for part, flops in PEAKS.items() if part in name), None)
        done = 6 * parameters * tokens / np.median(seconds["ours"])
        share = "unknown" if peak is None else f"{done / peak:.1%} of {peak / 1e12:.0f} TFLOP/s"
        print(f"{done / 1e12:.1f} TFLOP/s (6 × parameters × tokens); of the bf16 peak: {share}")
    ratio = float(np.median(seconds["plain"]) / np.median(seconds["ours"]))
    print(f"at least {AT_LEAST} is asked for\nratio: {ratio:.3f}")
    return 0 if ratio >= AT_LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
