"""Sharpness is what it says it is."""

import pytest
import torch
from torch import nn

from lrcourse.chapters.curvature import Sharpness
from lrcourse.models import MLP


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
