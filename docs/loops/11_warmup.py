"""Warmup: the loop of chapter 11, to paste."""

# Imports, and made-up data
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parameters_to_vector
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(6400, 8)
data = TensorDataset(x, x[:, :1] * x[:, 1:2])  # to learn: the product of the first two

loader = DataLoader(data, batch_size=64, shuffle=True)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
peak, warmup, epochs = 0.01, 60, 4
updates = epochs * len(loader)


def share(t):
    """The share of the peak for the update that comes after t others."""
    if t < warmup:
        return (t + 1) / warmup  # not t / warmup, whose first value is 0
    return (updates - t) / (updates - warmup)


optimizer = AdamW(model.parameters(), lr=peak)
scheduler = LambdaLR(optimizer, share)

log = []
for _ in range(epochs):
    for inputs, targets in loader:
        loss = F.mse_loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        rate = optimizer.param_groups[0]["lr"]  # what this update uses
        before = parameters_to_vector(model.parameters()).detach()
        optimizer.step()
        scheduler.step()  # once per update
        moved = parameters_to_vector(model.parameters()).detach() - before
        log.append((rate, (moved.norm() / before.norm()).item()))
longest = max(range(updates), key=lambda t: log[t][1])
print(f"rates: first {log[0][0]:.5f}, at the end of the warmup {log[warmup - 1][0]:.5f},", end=" ")
print(f"last {log[-1][0]:.6f}; the longest relative update is the first: {longest == 0}")
