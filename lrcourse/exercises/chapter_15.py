"""Checks of chapter 15, Fine-tuning."""

from typing import Any

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from lrcourse.exercises.contest import Contest
from lrcourse.exercises.engine import Hints
from lrcourse.models import GPT


def check_15_open(answer: Any) -> Hints:
    """Rates for 300 updates of fine-tuning that end lower than a constant rate."""
    return Contest("15 open", "fine-tuning", "constant", part="all weights", pairs=8).judge(answer)


def check_15_repair(answer: Any) -> Hints:
    """A function that fine-tunes by LoRA, some minibatches an update, along a line to zero."""
    stream = torch.Generator().manual_seed(0)
    rows = [torch.randint(0, 12, (4, 9), generator=stream) for _ in range(24)]
    minibatches = [(row[:, :-1], row[:, 1:]) for row in rows]
    model = GPT(vocabulary=12, context=8, layers=1, heads=1, width=8, seed=0)
    first = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    with torch.no_grad():
        scores = model(minibatches[0][0])
    rates: list[float] = []
    hook = register_optimizer_step_pre_hook(
        lambda optimizer, *_: rates.append(float(optimizer.param_groups[0]["lr"]))
    )
    try:
        adapted = answer(model, minibatches, 0.02, 4)
    finally:
        hook.remove()
    if not isinstance(adapted, torch.nn.Module):
        yield "It must return the model with LoRA in it."
    if len(rates) != 6:
        yield f"It makes {len(rates)} updates: 24 minibatches in fours are 6."
    with torch.no_grad():
        moved = not torch.equal(adapted(minibatches[0][0]), scores)
    if not moved:
        yield "After its 6 updates the model scores as before: whose weights were updated?"
    names = {name: name.replace("base_layer.", "") for name, _ in adapted.named_parameters()}
    for name, weight in adapted.named_parameters():
        base = names[name].removeprefix("base_model.model.")
        if base in first and not torch.equal(weight, first[base]):
            yield f"The base's own weights have moved ({base}): LoRA leaves them as they are."
    if not np.allclose(rates, 0.02 * (1 - np.arange(6) / 6)):
        yield (
            f"Its first update has the rate {rates[0]:.3g} and its last {rates[-1]:.3g}: along the "
            f"line it is 0.02 and {0.02 / 6:.3g}. What does the length of the plan count?"
        )
