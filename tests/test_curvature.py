"""How sharply a loss bends, and that training without noise goes to the edge of stability."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

from lrcourse.data import digits
from lrcourse.models import MLP


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


def test_sharpness_is_the_largest_eigenvalue_of_the_hessian():
    torch.manual_seed(0)
    model = MLP((5, 4, 3), nn.Tanh, seed=0).double()
    x, y = torch.randn(20, 5).double(), torch.randn(20, 3).double()
    names, weights = zip(*model.named_parameters(), strict=True)

    def loss(*values):
        out = torch.func.functional_call(model, dict(zip(names, values, strict=True)), (x,))
        return (out - y).square().mean()

    blocks = torch.autograd.functional.hessian(loss, weights)
    sizes = [w.numel() for w in weights]
    count = len(sizes)
    rows = [
        torch.cat([blocks[i][j].reshape(sizes[i], sizes[j]) for j in range(count)], 1)
        for i in range(count)
    ]
    exact = torch.linalg.eigvalsh(torch.cat(rows)).abs().max().item()
    measure = Sharpness(lambda m: (m(x) - y).square().mean())
    measure.iterations, measure.tolerance = 2000, 1e-9
    assert measure(model).item() == pytest.approx(exact, rel=1e-5)


@pytest.mark.slow
def test_without_noise_a_network_trains_to_the_edge_of_stability():
    """Cohen et al. (2021): the sharpness rises to 2 / rate, and stays there."""
    data, rate = digits(), 0.5
    x, y = data.x[:500], F.one_hot(data.y[:500], 10).float()
    model = MLP((64, 64, 64, 10), nn.Tanh, seed=0)
    optimizer = SGD(model.parameters(), lr=rate)

    def loss(model):
        return (model(x) - y).square().sum(1).mean() / 2

    measure, share = Sharpness(loss), []
    for t in range(2000):
        if t % 100 == 0:
            share.append(measure(model).item() * rate / 2)
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()
    assert share[0] < 0.9, share
    assert sum(share[-5:]) / 5 == pytest.approx(1, abs=0.05), share
