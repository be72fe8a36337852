"""Choosing: the loop of chapter 19, to paste."""

# Imports and made-up data
import math
from itertools import chain, count, islice

import torch
import torch.nn.functional as F
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
inputs = torch.randn(8000, 8)
targets = inputs[:, :1] * inputs[:, 1:2] + 0.5 * torch.randn(8000, 1)
data = TensorDataset(inputs[:6400], targets[:6400])
held_out = inputs[6400:], targets[6400:]

def run(peak, updates, seed):
    """Train along a line to zero; the loss on held-out data, and the rates used."""
    torch.manual_seed(seed)  # first weights and the order of the minibatches
    model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
    optimizer = AdamW(model.parameters(), lr=peak)
    scheduler = LambdaLR(optimizer, lambda t: 1 - t / updates)  # its own length
    loader, used = DataLoader(data, batch_size=64, shuffle=True), []
    endless = chain.from_iterable(loader for _ in count())  # epoch after epoch
    for x, y in islice(endless, updates):
        loss = F.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        used.append(optimizer.param_groups[0]["lr"])  # what this update uses
        optimizer.step()
        scheduler.step()
    with torch.no_grad():
        return F.mse_loss(model(held_out[0]), held_out[1]).item(), used

updates, eighth = 800, 100
tried = {0.008 * 2**i: run(0.008 * 2**i, eighth, seed=0)[0] for i in range(6)}
finite = {peak: loss for peak, loss in tried.items() if math.isfinite(loss)}
best_peak = min(finite, key=finite.get)
print({f"{peak:.3f}": f"{loss:.2f}" for peak, loss in tried.items()})
if best_peak in (min(tried), max(tried)):
    print(f"{best_peak:.3f} is at an end of the grid: try beyond it")
for seed in (1, 2):  # seeds that had no part in the choice
    loss, used = run(best_peak, updates, seed)
    print(f"seed {seed}, {len(used)} updates from {used[0]:.3f} to {used[-1]:.6f}: {loss:.2f}")
