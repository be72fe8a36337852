"""An update of Muon, with AdamW for what is no matrix, against one of AdamW alone.

A small Transformer on random tokens, in a plain PyTorch loop on one core, by turns. The last line
is Muon's seconds over AdamW's: how many updates of AdamW one of Muon costs.
"""

import time

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from lrcourse.models import GPT, next_token_loss

UPDATES, ROUNDS, AT_MOST = 100, 8, 4.0
torch.set_num_threads(1)


def prepared(muon: bool) -> tuple[GPT, list[Optimizer]]:
    model = GPT(context=32, layers=2, heads=2, width=32, seed=0)
    matrices = [m.weight for m in model.modules() if isinstance(m, nn.Linear)] if muon else []
    known = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in known]
    made: list[Optimizer] = [AdamW(rest, lr=0.01)]
    return model, [*made, Muon(matrices, lr=0.01, adjust_lr_fn="match_rms_adamw")] if muon else made


def seconds(model: GPT, optimizers: list[Optimizer]) -> float:
    tokens = torch.randint(128, (8, 33), generator=torch.Generator().manual_seed(0))
    begin = time.perf_counter()
    for _ in range(UPDATES):
        model.zero_grad()
        next_token_loss(model(tokens[:, :-1]), tokens[:, 1:]).backward()
        for one in optimizers:
            one.step()
    return time.perf_counter() - begin


sides = {muon: prepared(muon) for muon in (False, True)}
taken = {muon: [seconds(*sides[muon]) for _ in range(ROUNDS)][1:] for muon in sides}
adamw, muon = (sorted(taken[one])[len(taken[one]) // 2] for one in (False, True))
print(f"an update takes {1e3 * adamw / UPDATES:.2f} ms with AdamW, {1e3 * muon / UPDATES:.2f} ms")
print(f"ratio: {muon / adamw:.2f}")
raise SystemExit(muon / adamw > AT_MOST)
