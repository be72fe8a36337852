"""How sharply a network's loss bends: the largest eigenvalue of its Hessian."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["Sharpness"]


class Sharpness:
    """Measures the largest eigenvalue of the Hessian of a loss, again and again as a model trains.

    The Hessian is never formed: its product with a vector is the gradient of the gradient's
    projection on that vector (Pearlmutter 1994). Power iteration finds the eigenvalue of largest
    magnitude, which in training is the largest positive one. Each call starts from the eigenvector
    that the last one found, which is close when the weights have moved little.

    Args:
        loss: model → scalar, twice differentiable.

    Attributes:
        iterations: the most Hessian products in one call.
        tolerance: a call ends when a product changes the eigenvalue by less than this share of it.

    >>> net = nn.Linear(2, 1, bias=False)
    >>> measure = Sharpness(lambda m: (m.weight**2 @ torch.tensor([1.0, 4.0])).sum())
    >>> round(measure(net).item(), 2)
    8.0
    """

    iterations, tolerance = 100, 1e-3

    def __init__(self, loss: Callable[[nn.Module], Tensor]) -> None:
        self.loss = loss
        self._vector: list[Tensor] | None = None

    @torch.enable_grad()
    def __call__(self, model: nn.Module) -> Tensor:
        """The eigenvalue at the model's present weights, a scalar."""
        weights = list(model.parameters())
        gradients = torch.autograd.grad(self.loss(model), weights, create_graph=True)
        if self._vector is None:
            random = torch.Generator().manual_seed(0)
            self._vector = [torch.randn(w.shape, generator=random).to(w) for w in weights]
        value = torch.zeros(())
        for _ in range(self.iterations):
            norm = torch.nn.utils.get_total_norm(self._vector)
            vector = [part / norm for part in self._vector]
            self._vector = list(torch.autograd.grad(gradients, weights, vector, retain_graph=True))
            before = value
            value = sum(
                ((a * b).sum() for a, b in zip(self._vector, vector, strict=True)), torch.zeros(())
            )
            if abs(value - before) <= self.tolerance * abs(value):
                break
        return value.detach()
