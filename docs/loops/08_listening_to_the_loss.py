"""Listening to the loss: the loop of chapter 08, to paste."""

# Imports, and made-up data: a bent surface with noise
import copy

import torch
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
inputs = torch.randn(1500, 8)
targets = torch.sin(2 * inputs[:, :1]) + inputs[:, 1:2] * inputs[:, 2:3]
targets += 0.3 * torch.randn(1500, 1)
x_validation, y_validation = inputs[1000:], targets[1000:]

loader = DataLoader(TensorDataset(inputs[:1000], targets[:1000]), batch_size=50, shuffle=True)
model = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.Tanh(), torch.nn.Linear(64, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=3)
best, bad, rates = float("inf"), 0, []

for _ in range(100):
    model.train()
    for x, y in loader:
        loss = torch.nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        rates.append(optimizer.param_groups[0]["lr"])  # what this update uses
        optimizer.step()
    model.eval()
    with torch.no_grad():
        validated = torch.nn.functional.mse_loss(model(x_validation), y_validation).item()
    scheduler.step(validated)  # once per evaluation, with the loss
    if validated < best:
        best, bad, kept = validated, 0, copy.deepcopy(model.state_dict())
    else:
        bad += 1
    if bad >= 12:  # 3 * (patience + 1)
        break

model.load_state_dict(kept)  # the weights of the best evaluation
first, second, *others = dict.fromkeys(rates)
print(f"first rate {first}, after a cut {second}")
print(f"[measured: stopped after epoch {len(rates) // len(loader)}, best loss {best:.3f}]")
