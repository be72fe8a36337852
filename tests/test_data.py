"""Data that needs no network, and minibatches that are functions of the update."""

import pytest
import torch

from lrcourse.data import Minibatches, digits, python_source
from lrcourse.models import MLP


def test_minibatches_are_fixed_by_seed_and_cover_each_epoch_once():
    x = torch.arange(103)
    batches = Minibatches(x, x, size=10, seed=3)
    epochs = [torch.cat([batches(t)[0] for t in range(e * 10, e * 10 + 10)]) for e in (0, 1)]
    assert all(len(set(epoch.tolist())) == 100 for epoch in epochs)
    assert not torch.equal(*epochs)
    assert torch.equal(batches(17)[0], Minibatches(x, x, size=10, seed=3)(17)[0])
    assert not torch.equal(batches(0)[0], Minibatches(x, x, size=10, seed=4)(0)[0])
    assert torch.equal(Minibatches(x, x, size=103)(5)[0], x)
    with pytest.raises(ValueError, match="size is 104, expected a whole number from 1 to 103"):
        Minibatches(x, x, size=104)


def test_data_and_models():
    data = digits()
    assert len(data.x) + len(data.x_test) == 1797
    assert data.x.mean(0).abs().max() < 1e-6
    text = python_source(100_000)
    assert text.dtype == torch.uint8 and text.shape == (100_000,)
    assert b"import" in text.numpy().tobytes()
    with pytest.raises(ValueError, match="limit"):
        python_source(0)
    state = torch.get_rng_state()
    a, b, c = MLP((4, 3, 2), seed=1), MLP((4, 3, 2), seed=1), MLP((4, 3, 2), seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(a[0].weight, b[0].weight) and not torch.equal(a[0].weight, c[0].weight)
    with pytest.raises(ValueError, match="sizes"):
        MLP((4,))
