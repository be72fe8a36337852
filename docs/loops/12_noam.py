"""Noam, and Transformers that need warmup: the loop of chapter 12, to paste."""

# Imports and made-up data
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
rows = torch.randint(16, (6400, 8))  # eight numbers below 16
tokens = rows + 16 * torch.arange(8)  # a number and its place, as one token of 128
data = TensorDataset(tokens, rows.flip(1))  # to learn: the row backwards

layer = nn.TransformerEncoderLayer(
    d_model=32, nhead=2, dim_feedforward=128, dropout=0.0, batch_first=True, norm_first=True
)
blocks = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(32), enable_nested_tensor=False)
# No causal mask, and no positions (a token tells its own): not for a language model!
model = nn.Sequential(nn.Embedding(128, 32), blocks, nn.Linear(32, 16))
loader = DataLoader(data, batch_size=64, shuffle=True)

peak, warmup = 0.003, 50
optimizer = torch.optim.AdamW(model.parameters(), lr=peak)


def shape(made):
    t = made + 1  # the scheduler gives the updates made, and the formula counts from 1
    return min(t / warmup, (warmup / t) ** 0.5)


scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, shape)

used = []
for _ in range(5):
    for x, y in loader:
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        used.append(optimizer.param_groups[0]["lr"])  # what this update uses
        optimizer.step()
        scheduler.step()
print(f"{len(used)} updates: the first at {used[0]:.5f},", end=" ")
print(f"number {warmup} at {used[warmup - 1]:.5f}, the last at {used[-1]:.5f}")
