"""The LLM era: the loop of chapter 14, to paste."""

# Imports and made-up data
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.optim import AdamW
from torch.optim.lr_scheduler import LinearLR
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
inputs = torch.randn(3200, 8)
data = TensorDataset(inputs, inputs[:, :1] * inputs[:, 1:2])
file = Path(tempfile.mkdtemp()) / "trunk.pt"

def begin():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
    return model, AdamW(model.parameters(), lr=0.01)


def train_epochs(model, optimizer, epochs, scheduler=None):
    """Train, and note the rate of each update."""
    used = []
    for epoch in epochs:
        order = torch.Generator().manual_seed(epoch)  # the epoch's number alone decides
        for x, y in DataLoader(data, batch_size=64, shuffle=True, generator=order):
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            used.append(optimizer.param_groups[0]["lr"])  # what this update uses
            optimizer.step()
            if scheduler is not None:
                scheduler.step()  # once per update
    return used

def save(model, optimizer, epoch):
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
    torch.save(state, file)


def branch(epochs):  # a finished model from the saved trunk, after so many epochs of cooldown
    state, (model, optimizer) = torch.load(file), begin()
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    down = LinearLR(optimizer, 1.0, 0.0, total_iters=epochs * 50)  # 50 updates an epoch
    first = state["epoch"]
    return model, train_epochs(model, optimizer, range(first, first + epochs), down)

root, its_optimizer = begin()
for before, after, cool in ((0, 4, 1), (4, 8, 2)):
    train_epochs(root, its_optimizer, range(before, after))
    save(root, its_optimizer, after)  # before any cooldown
    model, used = branch(cool)
    loss = F.mse_loss(model(inputs), data.tensors[1]).item()
    print(f"{after} epochs of trunk, {len(used)} updates down:", end=" ")
    print(f"first {used[0]:.4f}, last {used[-1]:.4f}, loss {loss:.2f}")
