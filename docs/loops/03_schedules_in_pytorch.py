"""Schedules in PyTorch: the loop of chapter 03, to paste."""

# Imports of the loop
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset

# Draw made-up data, and define a small network: put yours in their place
torch.manual_seed(0)
x = torch.randn(3200, 20)
data = TensorDataset(x, (x[:, :10].square().sum(1) > x[:, 10:].square().sum(1)).long())


def network():
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 2))

epochs, warmup, peak = 4, 20, 0.01
most = 16  # examples in a piece: as many as fit into memory
loader = DataLoader(data, batch_size=64, shuffle=True)  # gives what *one update* sees
updates = epochs * len(loader)


def factor(t):
    """The share of the peak rate after t updates: up, then straight down to zero."""
    return max(0.0, min((t + 1) / warmup, (updates - t) / (updates - warmup)))


def build():
    torch.manual_seed(0)  # the same first weights in every run
    model = network()
    optimizer = AdamW(model.parameters(), lr=peak)
    return {"model": model, "optimizer": optimizer, "scheduler": LambdaLR(optimizer, factor)}


plan = [peak * factor(t) for t in range(updates)]  # the rate of each update

def accumulate(model, optimizer, x, y):
    """Put the gradient of one update into the model, piece by piece; its loss."""
    optimizer.zero_grad()
    total = 0.0
    for some, right in zip(x.split(most), y.split(most), strict=True):
        loss = F.cross_entropy(model(some), right, reduction="sum") / len(y)
        loss.backward()  # gradients add up
        total += loss.item()
    clip_grad_norm_(model.parameters(), 1.0)  # once, when the gradient is complete
    return total


def restore(path, parts):
    """Load everything into what has been built; the log of the updates that were made."""
    saved = torch.load(path, weights_only=True)  # so that no code in the file is run
    if saved["plan"] != plan:
        raise ValueError(f"{path} was made under another plan")
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    return saved["log"]

def fit(path, until=epochs):
    path, parts = Path(path), build()  # build everything, …
    log = restore(path, parts) if path.exists() else []  # … then load everything
    model, optimizer, scheduler = parts.values()
    for epoch in range(len(log) // len(loader), until):
        torch.manual_seed(epoch)  # for the order of the data, and for dropout
        model.train()
        for x, y in loader:
            loss = accumulate(model, optimizer, x, y)
            rates = [group["lr"] for group in optimizer.param_groups]  # before the step
            log.append((rates, loss))
            optimizer.step()
            scheduler.step()  # after it, once per update
        states = {name: part.state_dict() for name, part in parts.items()}
        torch.save(states | {"log": log, "plan": plan}, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)  # so there is a whole file at any moment
    return model, log

with TemporaryDirectory() as folder:  # in a project, a folder that stays
    model, log = fit(f"{folder}/whole.pt")
    fit(f"{folder}/parts.pt", until=2)
    resumed_model, resumed_log = fit(f"{folder}/parts.pt")
used = np.array([rates for rates, _ in log])  # a row for each update, a column for each group
print(f"{len(used)} updates: from {used[0, 0]:.4f} to {used.max():.4f}, then to {used[-1, 0]:.1g}")
print("each as planned:", np.allclose(used.T, plan))
print("stopped and resumed, the log is the same:", resumed_log == log)
