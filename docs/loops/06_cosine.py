"""Cosine: the loop of chapter 06, to paste."""

# Imports
import math

import torch
import torch.nn.functional as F
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(3200, 8)  # made-up data
loader = DataLoader(TensorDataset(x, x[:, :1] * x[:, 1:2]), batch_size=64, shuffle=True)


def train_epochs(epochs, scheduler):
    """Train, and note the rate of each update."""
    used = []
    for _ in range(epochs):
        for inputs, targets in loader:
            loss = F.mse_loss(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            used.append(optimizer.param_groups[0]["lr"])  # what this update uses
            optimizer.step()
            scheduler.step()  # once per update
    return used


peak, epochs = 0.01, 4

model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
updates = epochs * len(loader)
optimizer = AdamW(model.parameters(), lr=peak)
first = train_epochs(epochs, CosineAnnealingLR(optimizer, T_max=updates))


def up_and_down(t, rise=20):
    """To go on, as a share of the peak: a rise, and a new cosine."""
    if t < rise:
        return (t + 1) / rise
    return (1 + math.cos(math.pi * (t - rise) / (updates - rise))) / 2


second = train_epochs(epochs, LambdaLR(optimizer, up_and_down))

for used in (first, second):
    print(f"{len(used)} updates, first {used[0]:.5f}, highest {max(used):.5f}, last {used[-1]:.1e}")
