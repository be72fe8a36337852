"""Scaling the rate: the loop of chapter 17, to paste."""

# Imports and made-up data
import torch
import torch.nn.functional as F
from torch.nn import Linear, ReLU, Sequential
from torch.optim import AdamW
from torch.optim.lr_scheduler import LinearLR
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
inputs = torch.randn(3200, 8)
data = TensorDataset(inputs, inputs[:, :1] * inputs[:, 1:2])
loader = DataLoader(data, batch_size=16, shuffle=True)

old_peak, decay = 0.01, 0.1  # tuned at width 32, in batches of 16
wide, pieces, epochs = 128, 4, 4  # four minibatches make a batch of 64
peak = old_peak * pieces**0.5  # the root, for AdamW; for SGD times `pieces`
share = 32 / wide

model = Sequential(Linear(8, wide), ReLU(), Linear(wide, wide), ReLU(), Linear(wide, 1))
torch.nn.init.zeros_(model[4].weight)
fed = [model[2].weight, model[4].weight]  # the weights that a wide layer feeds
rest = [w for w in model.parameters() if all(w is not one for one in fed)]
groups = [
    {"params": rest, "lr": peak, "weight_decay": decay},
    {"params": fed, "lr": peak * share, "weight_decay": decay / share},
]
optimizer = AdamW(groups)
updates = epochs * len(loader) // pieces
scheduler = LinearLR(optimizer, 1.0, 0.0, total_iters=updates)

used, read = [], 0
for _ in range(epochs):
    for x, y in loader:
        loss = F.mse_loss(model(x), y)
        (loss / pieces).backward()  # so that the sum is the mean of all
        read += 1
        if read % pieces == 0:
            used.append(optimizer.param_groups[0]["lr"])  # what this update uses
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()  # once per update
print(f"{read} minibatches, {len(used)} updates of {updates} planned;", end=" ")
print(f"rates from {used[0]:.3f} to {used[-1]:.4f};", end=" ")
with torch.no_grad():
    print(f"loss {F.mse_loss(model(inputs), data.tensors[1]):.4f}", end=" ")
print(f"(guessing zero: {data.tensors[1].square().mean():.4f})")
