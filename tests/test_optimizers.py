"""What chapter 10 says of optimizers without showing it: facts of the installed classes.

RMSprop's start is a schedule of its own, an average of weights weighs the updates as a falling rate
does, and AdamW's weights are an average of all its updates.
"""

import numpy as np
import pytest
import torch
from schedulefree import AdamWScheduleFree
from torch import nn
from torch.optim import SGD, Adam, AdamW, RMSprop
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
