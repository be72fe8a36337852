"""Predicting the loss: the loop of chapter 16, to paste."""

# Imports and made-up data
import torch
import torch.nn.functional as F
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
inputs = torch.randn(3200, 8)
data = TensorDataset(inputs, inputs[:, :1] * inputs[:, 1:2])
loader = DataLoader(data, batch_size=64, shuffle=True)

def sum_and_peak(factors):
    """The sum of the factors of all updates, and their best peak by the convex bound."""
    a = torch.tensor(factors, dtype=torch.float64)
    a = a[: int(a.nonzero()[-1]) + 1]  # without zeros at the end
    A, B = (part.flip(0).cumsum(0).flip(0) for part in (a, a**2))
    price = (B[0] / A[0] + (a[:-1] / A[1:] * B[:-1] / A[:-1]).sum()) / 2
    return A[0].item(), (1 / (2 * A[0] * price)).sqrt().item()


epochs = 4
updates = epochs * len(loader)
old = [1.0] * updates  # the schedule that was tuned, with its best peak
old_peak = 0.01
new = [1 - t / updates for t in range(updates)]  # the one that you want

(old_sum, old_best), (new_sum, new_best) = sum_and_peak(old), sum_and_peak(new)
by_sum, by_bound = old_peak * old_sum / new_sum, old_peak * new_best / old_best
peak = (by_sum * by_bound) ** 0.5  # between the two: the middle of a small sweep

model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
optimizer = AdamW(model.parameters(), lr=peak)
scheduler = LambdaLR(optimizer, lambda t: new[min(t, updates - 1)])
used = []
for _ in range(epochs):
    for x, y in loader:
        loss = F.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        used.append(optimizer.param_groups[0]["lr"])  # what this update uses
        optimizer.step()
        scheduler.step()
print(f"peak {by_sum:.3f} by the sum, {by_bound:.3f} by the bound, {peak:.3f} taken")
print(f"{len(used)} updates; their rates add up to {sum(used):.3f}, planned {peak * new_sum:.3f}")
