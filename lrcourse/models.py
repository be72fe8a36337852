"""The models that the chapters train."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn

__all__ = ["MLP"]


def MLP(
    sizes: Sequence[int],
    activation: Callable[[], nn.Module] = nn.ReLU,
    seed: int | None = None,
) -> nn.Sequential:
    """Fully connected layers with an activation between them: shape (…, sizes[0]) → (…, sizes[-1]).

    Args:
        sizes: widths from input to output, at least two.
        activation: the nonlinearity's class.
        seed: fixes the first weights (PyTorch's default initialisation), and leaves the global
            random state as it was; None draws them from that state.

    >>> MLP((64, 32, 10), seed=0)(torch.zeros(5, 64)).shape
    torch.Size([5, 10])
    """
    if len(sizes) < 2 or any(width < 1 for width in sizes):
        raise ValueError(f"sizes must be two or more widths of at least 1, got {sizes!r}")
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])
