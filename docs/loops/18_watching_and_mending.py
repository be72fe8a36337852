"""Watching and mending: the loop of chapter 18, to paste."""

# Imports of the loop, and made-up data
import math
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.amp import GradScaler, autocast
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.tensorboard import SummaryWriter

torch.manual_seed(0)
x = torch.randn(3200, 20)
data = TensorDataset(x, (x[:, :10].sum(1) > x[:, 10:].sum(1)).long())

device, epochs, warmup, peak = "cpu", 4, 20, 0.01  # "cuda" on a GPU
limit = 1.0  # a common one: compare it with the norms in your log
loader = DataLoader(data, batch_size=64, shuffle=True)
model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 2)).to(device)
updates = epochs * len(loader)


def factor(t):
    """The share of the peak rate after t updates: up, then straight down to zero."""
    return max(0.0, min((t + 1) / warmup, (updates - t) / (updates - warmup)))


plan = [peak * factor(t) for t in range(updates)]
optimizer = AdamW(model.parameters(), lr=peak)
scheduler = LambdaLR(optimizer, factor)
scaler = GradScaler(device, init_scale=2.0**24)  # leave init_scale out: 2**16 is a good start

def one_update(inputs, targets):
    """Make an update of a minibatch, if its gradient is finite; what is to be logged."""
    optimizer.zero_grad()
    with autocast(device, torch.float16):  # computes in 16 bits where that is safe
        loss = F.cross_entropy(model(inputs.to(device)), targets.to(device))
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)  # only now is it the gradient of the loss
    first = model[0].weight.grad.norm().item()  # of the first layer: 0 where units are silent
    norm = clip_grad_norm_(model.parameters(), limit).item()  # its length before it is clipped
    rate, scale = optimizer.param_groups[0]["lr"], scaler.get_scale()
    scaler.step(optimizer)
    scaler.update()
    skipped = scaler.get_scale() < scale  # it was halved
    if not skipped:
        scheduler.step()
    row = {"loss": loss.item(), "rate": rate, "skipped": skipped}
    return row | {"gradient_norm": norm, "first_layer": first}

def fit_logged(folder):
    """Train, write a log for TensorBoard, and stop where a rate is not the planned one."""
    made = 0
    with SummaryWriter(folder) as writer:
        for minibatch, (inputs, targets) in enumerate(b for _ in range(epochs) for b in loader):
            row = one_update(inputs, targets)
            for tag, value in row.items():
                writer.add_scalar(tag, value, minibatch)
            if not row["skipped"]:
                if not math.isclose(row["rate"], plan[made], rel_tol=1e-6, abs_tol=1e-12):
                    raise ValueError(f"update {made}: {row['rate']}, planned {plan[made]}")
                made += 1
    return made

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

with TemporaryDirectory() as folder:  # in a project a folder that stays, such as runs/first
    made = fit_logged(folder)
    events = EventAccumulator(folder, size_guidance={"scalars": 0})  # 0: all points
    events.Reload()
    read = {tag: [e.value for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
done = np.array(read["skipped"]) == 0
print("tags:", ", ".join(sorted(read)))
print("the first minibatches were left out:", not done[0] and bool(done[20:].all()))
