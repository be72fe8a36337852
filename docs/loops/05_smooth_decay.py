"""Smooth decay: the loop of chapter 05, to paste."""

# Imports and made-up data
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
inputs = torch.randn(6400, 8)
data = TensorDataset(inputs, inputs[:, :1] * inputs[:, 1:2])  # to learn: a product of two

model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
loader = DataLoader(data, batch_size=64, shuffle=True)
epochs, used = 5, []
updates = epochs * len(loader)

optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: max(0.0, 1 - t / updates))

for _ in range(epochs):
    for x, y in loader:
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        used.append(optimizer.param_groups[0]["lr"])  # what this update uses
        optimizer.step()
        scheduler.step()  # after the optimizer, once per update

print(f"{len(used)} updates, the first at {used[0]:.0e}, the last at {used[-1]:.0e}")
