"""Adaptive optimizers: the loop of chapter 10, to paste."""

# Imports and made-up data
import torch
from torch import nn
from torch.optim import AdamW, Muon
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
rows = torch.randint(16, (3200, 4))  # four numbers below 16
data = TensorDataset(rows, rows.amax(1))  # to learn: the largest of them

model = nn.Sequential(
    nn.Embedding(16, 8), nn.Flatten(),
    nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 16),
)  # fmt: skip
loader = DataLoader(data, batch_size=64, shuffle=True)
peak, epochs = 0.01, 4
updates = epochs * len(loader)

matrices = [model[2].weight, model[4].weight]  # in a Transformer: those of its blocks
known = {id(w) for w in matrices}
rest = [w for w in model.parameters() if id(w) not in known]
optimizers = [
    Muon(matrices, lr=peak, adjust_lr_fn="match_rms_adamw", weight_decay=0.1),
    AdamW(rest, lr=peak, weight_decay=0.1),
]
schedulers = [LambdaLR(one, lambda t: 1 - t / updates) for one in optimizers]

used = []
for _ in range(epochs):
    for x, y in loader:
        loss = nn.functional.cross_entropy(model(x), y)
        model.zero_grad()
        loss.backward()
        used.append([one.param_groups[0]["lr"] for one in optimizers])  # what this update uses
        for one in optimizers:
            one.step()
        for scheduler in schedulers:
            scheduler.step()
for name, rates in zip(("Muon", "AdamW"), zip(*used, strict=True), strict=True):
    print(f"{name}: {len(rates)} updates, the first at {rates[0]:.4f}, the last at {rates[-1]:.5f}")
