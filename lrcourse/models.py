"""The models that the chapters train."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import nn

__all__ = ["MLP", "NextCharacter"]


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
    with _seeded(seed):
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


def NextCharacter(
    context: int = 8,
    width: int = 16,
    hidden: int = 64,
    vocabulary: int = 128,
    seed: int | None = None,
) -> nn.Sequential:
    """A small language model: the last characters in, a score for each possible next one out.

    Each character becomes a learned vector, and one hidden layer reads them side by side (Bengio et
    al., A Neural Probabilistic Language Model, 2003, with a ReLU). Numbers of shape (…, context)
    give scores of shape (…, vocabulary).

    Args:
        context: characters it sees.
        width: entries in a character's vector.
        hidden: width of the hidden layer.
        vocabulary: how many different characters there are.
        seed: fixes the first weights, as in `MLP`.

    >>> NextCharacter(seed=0)(torch.zeros(5, 8, dtype=torch.long)).shape
    torch.Size([5, 128])
    """
    sizes = {"context": context, "width": width, "hidden": hidden, "vocabulary": vocabulary}
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
    with _seeded(seed):
        return nn.Sequential(
            nn.Embedding(vocabulary, width),
            nn.Flatten(-2),
            nn.Linear(context * width, hidden),
            nn.ReLU(),
            nn.Linear(hidden, vocabulary),
        )


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Draw from a generator of its own, and leave the global random state as it was."""
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        yield
