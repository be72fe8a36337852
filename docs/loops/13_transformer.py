"""The Transformer experiment: the loop of chapter 13, to paste."""

# Imports, the text, and the device
from itertools import chain, count, islice
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
source = Path(nn.functional.__file__).read_text(encoding="ascii", errors="ignore")
tokens = torch.tensor([c for c in source.encode() if c < 128])  # put your own text here
context, width, where = 32, 32, torch.device("cpu")
if torch.cuda.is_available():
    where = torch.device("cuda")
elif torch.backends.mps.is_available():
    where = torch.device("mps")
bf16 = where.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)

class SmallGPT(nn.Module):
    def __init__(self, layers=2, heads=2):
        super().__init__()
        self.token, self.place = nn.Embedding(128, width), nn.Embedding(context, width)
        block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu",
            batch_first=True, norm_first=True,
        )  # fmt: skip
        norm = nn.LayerNorm(width)
        # Copies of one block: they begin alike.
        self.blocks = nn.TransformerEncoder(block, layers, norm, enable_nested_tensor=False)
        self.scores = nn.Linear(width, 128)
        mask = nn.Transformer.generate_square_subsequent_mask(context)
        self.register_buffer("mask", mask)  # so that it moves with the model

    def forward(self, x):
        n = x.shape[1]  # a window may be shorter than the context
        rows = self.token(x) + self.place.weight[:n]
        return self.scores(self.blocks(rows, mask=self.mask[:n, :n], is_causal=True))

windows = tokens[: len(tokens) // (context + 1) * (context + 1)].view(-1, context + 1)
loader = DataLoader(TensorDataset(windows), batch_size=32, shuffle=True, drop_last=True)
assert len(loader) > 0, "the text is shorter than one minibatch"
updates, rise = len(loader), max(1, len(loader) // 10)  # one epoch, or as many as you like
gpt = SmallGPT().to(where)
optimizer = torch.optim.AdamW(gpt.parameters(), lr=0.01, betas=(0.9, 0.95), weight_decay=0.1)
scheduler = torch.optim.lr_scheduler.LambdaLR(
    optimizer, lambda t: min((t + 1) / rise, (updates - t) / (updates - rise))
)

losses, used = [], []
endless = chain.from_iterable(loader for _ in count())  # epoch after epoch
for (window,) in islice(endless, updates):
    window = window.to(where)  # each minibatch, and not only the model
    with torch.autocast(where.type, torch.bfloat16, enabled=bf16):
        scores = gpt(window[:, :-1])
    loss = nn.functional.cross_entropy(scores.float().flatten(0, 1), window[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(gpt.parameters(), 1.0)
    used.append(optimizer.param_groups[0]["lr"])  # what this update uses
    optimizer.step()
    scheduler.step()
    losses.append(loss.detach())  # no .item() here: read them when all is done
losses = torch.stack(losses).tolist()
print(f"{len(used)} updates, highest rate {max(used):.4f}, last {used[-1]:.1e},", end=" ")
print(f"loss {losses[0]:.1f}, then {sum(losses[-20:]) / len(losses[-20:]):.1f}")
