"""Cycles: the loop of chapter 07, to paste."""

# Imports
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
inputs = torch.randn(1000, 20)
data = TensorDataset(inputs, inputs.sin().sum(dim=1, keepdim=True))  # made up
loader = DataLoader(data, batch_size=64, shuffle=True)
model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 1))

epochs, peak, used = 5, 0.01, []
updates = epochs * len(loader)
optimizer = AdamW(model.parameters(), lr=peak)  # overwritten by the scheduler
scheduler = OneCycleLR(optimizer, max_lr=peak, total_steps=updates, cycle_momentum=False)

for _ in range(epochs):
    for x, y in loader:
        loss = F.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        used.append(optimizer.param_groups[0]["lr"])  # what this update uses
        optimizer.step()
        scheduler.step()  # after the optimizer, once per update

print(f"{len(used)} updates, the first at {used[0]:g}, the last at {used[-1]:.0e}")
print(f"the highest, {max(used):g}, at update {used.index(max(used))}")
