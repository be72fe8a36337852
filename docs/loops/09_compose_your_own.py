"""Compose your own: the loop of chapter 09, to paste."""

# Imports
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset

def one_after_another(*parts):
    """A function of t from pairs (updates, function): each function has a clock of its own."""

    def factor(t):
        for updates, part in parts:
            if t < updates:
                return part(t)
            t -= updates
        return part(updates)  # past the end: the value at which the last part ends

    return factor

def plans(total):
    """Functions of t for the backbone and for the head, in a run of so many updates."""
    rise, wait, slow, fast = total // 10, total // 5, 2 * total // 5, total // 5
    hold = total - rise - slow - fast
    up = (rise, lambda t: (t + 1) / rise)
    down = (slow, lambda t: 0.65 + 0.35 * math.cos(math.pi * t / slow))
    out = (fast, lambda t: 0.3 * (1 - t / fast))
    for_head = one_after_another(up, (hold, lambda t: 1.0), down, out)
    level = (hold - wait, lambda t: 1.0)
    for_backbone = one_after_another((wait, lambda t: 0.0), up, level, down, out)
    return [for_backbone, for_head]

torch.manual_seed(0)
x = torch.randn(6400, 20)  # made-up data: which of the first four numbers is largest?
data = TensorDataset(x, x[:, :4].argmax(1))
loader, epochs = DataLoader(data, batch_size=64, shuffle=True), 5
total = epochs * len(loader)

model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 4))
head = [p for name, p in model.named_parameters() if name.startswith("2.")]
backbone = [p for name, p in model.named_parameters() if not name.startswith("2.")]

groups = [{"params": backbone, "lr": 0.001}, {"params": head, "lr": 0.01}]
optimizer, log = AdamW(groups), []
scheduler = LambdaLR(optimizer, plans(total))  # in the order of the groups
for _ in range(epochs):
    for x, y in loader:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        log.append([group["lr"] for group in optimizer.param_groups])  # what this update uses
        optimizer.step()
        scheduler.step()  # once per update, for both groups

for i, name in enumerate(["backbone", "head"]):
    used = [rates[i] for rates in log]
    print(f"{name}: {len(used)} updates, {used.count(0.0)} at rate 0,", end=" ")
    print(f"{used.count(max(used))} at {max(used)}, the last at {used[-1]:.0e}")
