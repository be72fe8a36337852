"""The LLM era: the loop of chapter 14, to paste."""

# Imports, made-up data and a model
import tempfile
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.optim import AdamW
from torch.optim.lr_scheduler import LinearLR
from torch.utils.data import DataLoader, Subset, TensorDataset

torch.manual_seed(0)
inputs = torch.randn(32_000, 8)
targets = inputs[:, :1] * inputs[:, 1:2]
data = TensorDataset(inputs, targets)
folder = Path(tempfile.mkdtemp())


def begin():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
    return model, AdamW(model.parameters(), lr=0.01)

def loader_of(steps):
    """The minibatches of these updates: each epoch is shuffled by its number."""
    first, count, n = 64 * steps[0], 64 * len(steps), len(data)
    order = []
    for epoch in range(first // n, (first + count - 1) // n + 1):
        order += torch.randperm(n, generator=torch.Generator().manual_seed(epoch)).tolist()
    return DataLoader(Subset(data, order[first % n : first % n + count]), batch_size=64)


def train(model, optimizer, scheduler, steps):
    """Train, and note the rate of each update."""
    used = []
    for x, y in loader_of(steps):
        loss = F.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        used.append(optimizer.param_groups[0]["lr"])  # what this update uses
        optimizer.step()
        scheduler.step()  # once per update
    return used

def save(model, optimizer, step):  # a file for each save, named by the updates made
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state, folder / f"{step}.pt")


def branch(step, count):  # a finished model: the save at `step`, and a cooldown of `count`
    state, (model, optimizer) = torch.load(folder / f"{step}.pt"), begin()
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    down = LinearLR(optimizer, 1.0, 0.0, total_iters=count)
    return model, train(model, optimizer, down, range(step, step + count))

root, its_optimizer = begin()
up = LinearLR(its_optimizer, 0.02, 1.0, total_iters=50)  # a warmup, and then the peak
saves = (0, 225, 300, 400)  # each a third later than the last
for before, after in pairwise(saves):
    train(root, its_optimizer, up, range(before, after))
    save(root, its_optimizer, after)  # before any cooldown
for after in (225, 400):  # whenever a finished model is wanted
    model, used = branch(after, after // 4)
    print(f"{after} updates of trunk, {len(used)} down:", end=" ")
    print(f"rate {used[0]:.4f} to {used[-1]:.4f}, loss {F.mse_loss(model(inputs), targets):.2f}")
