"""One training loop to copy into a project of your own: plain PyTorch, and nothing of this course.

    python docs/template.py --updates 200 --out runs/first

It trains a small network on scikit-learn's digits. Put your own into `data`, `model` and `loss_of`,
your own rates into `factor`, and keep the rest. It can be killed at any moment. The same command
goes on from the last save, and on a CPU the run then ends bit for bit as one that was never
interrupted. Beside the checkpoint lies log.jsonl, a line an update, with the rate that it used.

Two words are used with care. A *minibatch* is what one `backward()` sees. An *update* is one step
of the optimizer; it uses `--accumulate` minibatches, and the schedule counts updates.
"""

import argparse
import json
import math
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset


def data() -> tuple[Dataset, Dataset]:
    """What to learn from, and what to test on."""
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    return TensorDataset(x[:1440], y[:1440]), TensorDataset(x[1440:], y[1440:])


def model(dropout: float) -> nn.Module:
    """The network, with new weights."""
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, 10))


def loss_of(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The mean loss of a minibatch: of one class per example, or, for text, one per token."""
    return F.cross_entropy(net(x).flatten(0, -2), y.flatten())


def factor(tick: int, warmup: int, ticks: int) -> float:
    """What the peak rate is multiplied with: up during the warmup, then straight down.

    A function of the tick alone, so that it can be plotted without using anything up. The first
    update is not lost at rate 0, and neither is the last: 0 would come one tick after it.
    """
    return min((tick + 1) / warmup if warmup else 1.0, (ticks - tick) / (ticks - warmup))


def minibatches(examples: Dataset, settings: argparse.Namespace, seen: int) -> Iterator:
    """The minibatches from number `seen` on, epoch after epoch, without end.

    The order of an epoch is drawn from the seed and the epoch's number alone. So the number of
    minibatches seen *is* the position in the data, and a resumed run need not draw old ones again.
    """
    count, size, group = len(examples), settings.batch_size, settings.accumulate
    per_epoch = count // (size * group) * group  # whole updates only; the rest waits for its turn
    while True:
        epoch, done = divmod(seen, per_epoch)
        draw = torch.Generator().manual_seed(100_000 * settings.seed + epoch)
        order = torch.randperm(count, generator=draw).tolist()[: size * per_epoch]
        # A loader draws a seed for its workers each time it starts. Left alone, it takes that from
        # the global generator, and a resumed run, which starts one more loader, would draw
        # other dropout masks from then on. So it gets a generator of its own. (What the workers
        # themselves draw, such as augmentations, does start anew after a resume.)
        left = order[size * done :]
        yield from DataLoader(
            examples, size, sampler=left, num_workers=settings.workers, generator=draw
        )
        seen += per_epoch - done


def random_state() -> dict:
    """The state of every generator that a training may draw from, as tensors and plain values."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 (what many transforms draw from)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),  # an empty list where there is no GPU
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), *rest),  # an array of NumPy's would not be loaded
    }


def set_random_state(state: dict) -> None:
    """Go on drawing where `random_state` was taken."""
    torch.set_rng_state(state["torch"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002


def save(path: Path, state: dict) -> None:
    """Write a checkpoint, so that at every moment the old one or the new one is there, whole."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())  # on the disk, and not only on its way there, …
    os.replace(part, path)  # … before it takes the old one's name, in one step


def load(path: Path, settings: dict) -> dict:
    """Read the checkpoint of a run with these settings; any other ends the program."""
    # weights_only: a file can hold code that runs when it is unpickled, and this refuses to.
    # On the CPU first: the run may have had a GPU, and this machine none.
    state = torch.load(path, weights_only=True, map_location="cpu")
    old = state["settings"]
    changed = [
        f"{name} was {old.get(name)!r}, and is {settings.get(name)!r}"
        for name in {**old, **settings}
        if old.get(name) != settings.get(name)
    ]
    if changed:
        sys.exit(
            f"{path} is of a run with other settings: {'; '.join(changed)}. "
            "Give the old settings to go on with it, or another --out to begin a new run."
        )
    return state


def train(options: argparse.Namespace) -> float:
    """Train, or go on training; the accuracy on the test data."""
    # What may change between two parts of one run is no setting of it; all else must stay.
    settings = vars(options).copy()
    out, save_every = Path(settings.pop("out")), settings.pop("save_every")
    device, _ = torch.device(settings.pop("device")), settings.pop("workers")
    out.mkdir(parents=True, exist_ok=True)
    checkpoint, log_file = out / "checkpoint.pt", out / "log.jsonl"

    # 1. Build everything. The seed comes first: weights and dropout masks are drawn from it.
    for begin_from in (torch.manual_seed, random.seed, np.random.seed):
        begin_from(options.seed)
    examples, test = data()
    net = model(options.dropout).to(device)
    betas, decay = (0.9, options.beta2), options.weight_decay
    optimizer = torch.optim.AdamW(net.parameters(), options.lr, betas, weight_decay=decay)
    # The schedule may move at each update or once an epoch. A tick is what it counts, and this is
    # the one line that decides it: for a schedule per update alone, write `tick = 1`.
    per_epoch = len(examples) // (options.batch_size * options.accumulate)  # updates
    tick = per_epoch if options.schedule_per == "epoch" else 1
    if not per_epoch or options.warmup >= (ticks := math.ceil(options.updates / tick)):
        sys.exit("An epoch must hold one update at least, and the run must outlast its warmup.")
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: factor(t, options.warmup, ticks)
    )
    # 16-bit floats hold no gradient below 6e-8, so the loss is multiplied with a large scale. Where
    # that was too large the scaler leaves the update out and lowers it. bfloat16 needs no scaler.
    dtype = getattr(torch, options.precision)
    scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
    parts = {"net": net, "optimizer": optimizer, "scheduler": scheduler, "scaler": scaler}
    made = seen = 0  # updates made; minibatches seen, also those of updates that were left out

    # 2. Then load everything, the optimizer before the scheduler: building a scheduler writes a
    # rate into the optimizer, so a scheduler that is built after loading would spoil what was read.
    if checkpoint.exists():
        state = load(checkpoint, settings)
        made, seen = state["made"], state["seen"]
        for name, part in parts.items():
            part.load_state_dict(state[name])
        if log_file.stat().st_size < state["log_size"]:
            sys.exit(f"{log_file} is shorter than it was when {checkpoint} was saved.")
        # The lines after the last save tell of updates that will be made once more.
        os.truncate(log_file, state["log_size"])
        set_random_state(state["random"])  # last, because building has drawn first weights
        print(f"Going on after update {made}.")

    stream = minibatches(examples, options, seen)
    net.train()
    with log_file.open("ab" if made else "wb", buffering=0) as log:
        while made < options.updates:
            # 3. The gradient of one update, from several minibatches. Gradients add up by
            # themselves; dividing each loss makes the sum the gradient of the mean.
            optimizer.zero_grad()
            loss = torch.zeros((), device=device)
            for _ in range(options.accumulate):
                x, y = (part.to(device) for part in next(stream))
                with torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
                    share = loss_of(net, x, y) / options.accumulate
                scaler.scale(share).backward()
                loss += share.detach()
            seen += options.accumulate

            # 4. Clip the gradient itself and not the scaled one, so it is unscaled first. Where it
            # is not finite and no scale is to blame, an update would only destroy the weights.
            scaler.unscale_(optimizer)
            norm = nn.utils.clip_grad_norm_(net.parameters(), options.clip).item()
            if not math.isfinite(norm) and scaler.get_scale() <= 1:
                sys.exit(f"The gradient of update {made} is {norm}: the run is lost from here on.")

            # 5. The update, and only then the schedule. The rate is read before the scheduler
            # writes the next one. An update that the scaler left out is none, so the schedule
            # must not move; a falling scale is how the scaler tells.
            rate, scale = optimizer.param_groups[0]["lr"], scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            skipped = scaler.get_scale() < scale
            row = {"update": made, "lr": rate, "loss": loss.item(), "skipped": skipped}
            log.write(json.dumps(row | {"norm": None if skipped else norm}).encode() + b"\n")
            if skipped:
                continue
            made += 1
            if made % tick == 0:
                scheduler.step()

            # 6. Save all that the next update depends on. The log goes to the disk first, so that
            # a checkpoint never knows of lines that were lost.
            if made % save_every == 0 or made == options.updates:
                os.fsync(log.fileno())
                state = {name: part.state_dict() for name, part in parts.items()}
                state |= {"settings": settings, "made": made, "seen": seen, "log_size": log.tell()}
                save(checkpoint, state | {"random": random_state()})

    return accuracy(net, test, device)


@torch.no_grad()
def accuracy(net: nn.Module, test: Dataset, device: torch.device) -> float:
    """The share of the test data that the network has right, with dropout off."""
    net.eval()
    right = [net(x.to(device)).argmax(-1) == y.to(device) for x, y in DataLoader(test, 256)]
    return torch.cat(right).float().mean().item()


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", required=True, help="the run's folder; one that exists goes on")
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--lr", type=float, default=0.01, help="the peak rate")
    parser.add_argument("--warmup", type=int, default=10, help="in updates, or in epochs")
    parser.add_argument("--schedule-per", choices=["update", "epoch"], default="update")
    parser.add_argument("--beta2", type=float, default=0.999, help="of AdamW; for text 0.95")
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--batch-size", type=int, default=16, help="examples in a minibatch")
    parser.add_argument("--accumulate", type=int, default=4, help="minibatches in an update")
    parser.add_argument("--clip", type=float, default=1.0, help="the longest gradient; inf for any")
    parser.add_argument("--dropout", type=float, default=0.1)
    floats = ["float32", "bfloat16", "float16"]
    parser.add_argument("--precision", choices=floats, default=floats[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=int, default=50, help="updates between two saves")
    parser.add_argument("--workers", type=int, default=0, help="processes that load data")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    print(f"test accuracy {train(parser.parse_args(arguments)):.3f}")


if __name__ == "__main__":
    main()
