"""What chapter 10 says of optimizers without showing it: facts of the installed classes.

RMSprop's start is a schedule of its own, RAdam is Adam under one, an average of weights weighs the
updates as a falling rate does, and AdamW's weights are an average of all its updates.
"""

import numpy as np
import pytest
import torch
from schedulefree import AdamWScheduleFree
from torch import nn
from torch.optim import SGD, Adam, AdamW, RAdam, RMSprop
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from lrcourse.schedules import Constant, Cosine, Linear, values, wsd

UPDATES = 400


def walk(optimizer, pulls, rate=0.01, schedule=None, **settings):
    """Where a weight is after each of some gradients, from 0."""
    w = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    moving, path = optimizer([w], lr=rate, **settings), [0.0]
    scheduler = LambdaLR(moving, schedule or Constant())
    for pull in pulls:
        w.grad = torch.full_like(w, pull)
        moving.step()
        scheduler.step()
        path.append(w.item())
    return np.array(path)


def test_rmsprop_is_adam_without_momentum_and_bias_correction():
    pulls = np.random.default_rng(0).normal(size=UPDATES)
    v, w = 0.0, 0.0
    for pull in pulls:
        v = 0.99 * v + 0.01 * pull**2
        w -= 0.01 * pull / (v**0.5 + 1e-8)
    assert walk(RMSprop, pulls)[-1] == pytest.approx(w, rel=1e-10)
    # A schedule can be a bias correction.
    mends = walk(RMSprop, pulls, eps=0.0, schedule=lambda t: np.sqrt(1 - 0.99 ** (t + 1)))
    np.testing.assert_allclose(mends, walk(Adam, pulls, eps=0.0, betas=(0.0, 0.99)), rtol=1e-9)


def test_rmsprop_starts_at_ten_rates_and_comes_down_to_one():
    steps = -np.diff(walk(RMSprop, np.ones(UPDATES))) / 0.01
    np.testing.assert_allclose(steps, 1 / np.sqrt(1 - 0.99 ** np.arange(1, UPDATES + 1)), rtol=1e-6)
    assert steps[0] == pytest.approx(10) and steps[300] < 1.03
    np.testing.assert_allclose(-np.diff(walk(Adam, np.ones(UPDATES))), 0.01, rtol=1e-6)


def counts(make_optimizer, schedule=None, average=0):
    """What each update counts for in the final weights, or in the mean of the last `average`.

    As many weights as updates: at update t weight t alone has a gradient, of −1.
    """
    model = nn.ParameterList([torch.zeros(UPDATES, dtype=torch.float64)])
    optimizer, mean = make_optimizer(model.parameters()), AveragedModel(model)
    scheduler = LambdaLR(optimizer, schedule or Constant())
    free = isinstance(optimizer, AdamWScheduleFree)
    if free:
        optimizer.train()
    for t in range(UPDATES):
        model[0].grad = torch.zeros_like(model[0])
        model[0].grad[t] = -1
        optimizer.step()
        scheduler.step()
        if t >= UPDATES - average:
            mean.update_parameters(model)
    if free:
        optimizer.eval()
    return (mean.module if average else model)[0].detach().numpy()


def test_an_average_weighs_updates_as_a_falling_rate_does():
    line = Linear(1, 0, UPDATES)
    np.testing.assert_allclose(counts(lambda w: SGD(w, lr=1.0), line), values(line, UPDATES))
    for part in (UPDATES // 5, UPDATES // 2):
        mean = counts(lambda w: SGD(w, lr=1.0), average=part)
        np.testing.assert_allclose(mean, values(wsd(UPDATES, 0, part), UPDATES), atol=1e-12)
    free = counts(lambda w: AdamWScheduleFree(w, lr=1.0, betas=(0.5, 0.0)))
    np.testing.assert_allclose(free, values(line, UPDATES), atol=1e-6)


@pytest.mark.parametrize("schedule", [Constant(), Linear(1, 0, UPDATES), Cosine(UPDATES)])
def test_adamws_weights_are_an_average_of_its_updates(schedule):
    """Update t counts for its rate times what all later updates leave (Wang and Aitchison 2024)."""
    rates, decay = values(schedule, UPDATES, 0.01), 0.5
    kept = 1 - decay * rates
    shares = rates * np.append(np.cumprod(kept[:0:-1])[::-1], 1.0)
    seen = counts(lambda w: AdamW(w, lr=0.01, betas=(0.0, 0.0), weight_decay=decay), schedule)
    np.testing.assert_allclose(seen, shares, atol=1e-9)
    assert decay * shares.sum() + kept.prod() == pytest.approx(1)
    # So a schedule schedules the decay, too: a line's is half of a constant rate's.
    assert np.log(kept.prod()) == pytest.approx(-decay * rates.sum(), rel=0.01)


def test_radam_is_adam_under_a_schedule():
    """After five plain steps with momentum, a factor of the update's number and of β₂ alone."""
    draws, adam, factors = np.random.default_rng(0), {"eps": 0.0, "betas": (0.9, 0.98)}, []
    for pulls in (draws.normal(size=UPDATES), 100 + draws.normal(size=UPDATES)):
        path, plain = walk(RAdam, pulls, **adam), walk(Adam, pulls, **adam)
        factors.append((np.diff(path) / np.diff(plain))[5:])
        speed = np.convolve(pulls[:5], 0.1 * 0.9 ** np.arange(5))[:5]
        np.testing.assert_allclose(-np.diff(path)[:5] / 0.01, speed / (1 - 0.9 ** np.arange(1, 6)))
    np.testing.assert_allclose(*factors, rtol=1e-6)
    assert (np.diff(factors[0]) > 0).all() and factors[0][0] < 0.12 and factors[0][-1] > 0.99


def test_adam_does_not_feel_how_large_the_loss_is():
    """The whole run at 1024 times the loss, unless ε is as large as the gradients."""
    pulls = 1e-6 * np.random.default_rng(0).normal(size=UPDATES)
    same, near = ([walk(Adam, k * pulls, eps=eps)[-1] for k in (1, 1024)] for eps in (1e-30, 1e-8))
    assert same[0] == same[1] and near[0] != near[1]
    assert walk(SGD, 1024 * pulls)[-1] == pytest.approx(1024 * walk(SGD, pulls)[-1])


def floor(optimizer, rate, noise, updates=400, walkers=1000):
    """The mean loss of many walks in a noisy bowl, once they have arrived."""
    draw = torch.Generator().manual_seed(0)
    w = torch.zeros(walkers, requires_grad=True)
    moving, losses = optimizer([w], lr=rate), []
    for _ in range(updates):
        w.grad = w.detach() + noise * torch.randn(walkers, generator=draw)
        moving.step()
        losses.append(w.detach().square().mean().item() / 2)
    return np.mean(losses[updates // 2 :])


def test_twice_the_noise_raises_the_floor_of_adam_twofold_and_that_of_sgd_fourfold():
    """Both floors go with the rate. Adam divides the noise by its size, and so once."""
    for optimizer, more in ((SGD, 4), (Adam, 2)):
        one = floor(optimizer, 0.02, 1.0)
        assert floor(optimizer, 0.02, 2.0) == pytest.approx(more * one, rel=0.1)
        assert floor(optimizer, 0.04, 1.0) == pytest.approx(2 * one, rel=0.1)
