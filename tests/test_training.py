"""`train` does what a bare PyTorch loop does, records what really happened, and resumes exactly."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, ReduceLROnPlateau, SequentialLR
from torch.utils.data import DataLoader, TensorDataset

from lrcourse.data import digits
from lrcourse.models import MLP
from lrcourse.runs import Run
from lrcourse.schedules import Cosine, Plateau, Warmup, values
from lrcourse.training import train

data = digits()
STEPS = 40


def fresh(optimizer=SGD, **settings):
    model = MLP((64, 16, 10), seed=0)
    return model, optimizer(model.parameters(), lr=0.2, **settings)


def go(schedule=None, **options):
    model = MLP((64, 16, 10), seed=0)
    opt = SGD(model.parameters(), lr=0.05)
    options = {"steps": STEPS, "progress": False, "evaluate": data.score, "every": 16} | options
    return train(model, data.batches(32), opt, schedule, **options), model


def warmup_cosine(optimizer):
    parts = [LinearLR(optimizer, 0.1, total_iters=10), CosineAnnealingLR(optimizer, STEPS - 10)]
    return SequentialLR(optimizer, parts, milestones=[10])


@pytest.mark.parametrize("clip", [None, 0.5])
def test_equals_a_bare_loop(clip):
    schedule = Warmup(5) >> Cosine(STEPS - 5)
    model, optimizer = fresh(momentum=0.9)
    run = train(
        model, data.batches(32), optimizer, schedule, steps=STEPS, clip=clip, progress=False
    )
    bare, opt = fresh(momentum=0.9)
    losses, norms, moves = [], [], []
    for t in range(STEPS):
        opt.param_groups[0]["lr"] = 0.2 * schedule(t)
        x, y = data.batches(32)(t)
        opt.zero_grad()
        loss = F.cross_entropy(bare(x), y)
        loss.backward()
        flat = torch.cat([p.grad.flatten() for p in bare.parameters()])
        norms.append(flat.norm().item())
        if clip is not None:
            nn.utils.clip_grad_norm_(bare.parameters(), clip)
        before = torch.cat([p.detach().flatten() for p in bare.parameters()])
        opt.step()
        after = torch.cat([p.detach().flatten() for p in bare.parameters()])
        moves.append((after - before).norm().item())
        losses.append(loss.item())
    assert np.array_equal(run.loss, losses)
    np.testing.assert_allclose(run.gradient_norm, norms, rtol=1e-5)
    np.testing.assert_allclose(run.update_norm, moves, rtol=1e-4)
    assert np.array_equal(run.rate[:, 0], values(schedule, STEPS, 0.2))
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), bare.parameters(), strict=True)
    )


def test_records_the_rate_of_every_group():
    model = MLP((64, 16, 10), seed=0)
    groups = [{"params": model[0].parameters(), "lr": 0.3}, {"params": model[2].parameters()}]
    optimizer = SGD(groups, lr=0.1)
    scheduler = warmup_cosine(optimizer)
    run = train(model, data.batches(32), optimizer, scheduler, steps=STEPS, progress=False)
    assert run.rate.shape == (STEPS, 2)
    np.testing.assert_allclose(run.rate[:, 0], 3 * run.rate[:, 1])
    assert run.rate[0, 0] == pytest.approx(0.03)


@pytest.mark.parametrize("rate", [1e8, float("inf")])
def test_a_diverging_run_ends_early_and_says_where(rate):
    model = MLP((64, 16, 10), seed=0)
    run = train(
        model,
        data.batches(32),
        SGD(model.parameters(), lr=rate),
        steps=STEPS,
        progress=False,
        evaluate=data.score,
    )
    assert run.diverged_at == len(run) - 1 < STEPS - 1
    assert np.isfinite(run.loss[:-1]).all()
    assert not run.loss[-1] <= 1e3 * run.loss[0]
    assert np.isnan(run.rate[-1]).all() and (run.rate[:-1] == rate).all()


def test_bad_arguments_are_named():
    for options, match in (
        ({"steps": 0}, "steps"),
        ({"steps": 1.5}, "steps"),
        ({"every": -1}, "every"),
        ({"clip": 0.0}, "clip"),
        ({"schedule": "cosine"}, "schedule"),
    ):
        with pytest.raises(ValueError, match=match):
            go(**options)
    model, optimizer = fresh()
    _, other = fresh(Adam)
    with pytest.raises(ValueError, match="another one"):
        train(model, data.batches(32), optimizer, warmup_cosine(other), steps=2, progress=False)
    for options, match in (
        (
            {"schedule": ReduceLROnPlateau(optimizer)},
            "metric is None, expected the name of a value of evaluate",
        ),
        (
            {"schedule": ReduceLROnPlateau(optimizer), "metric": "loss"},
            "for ReduceLROnPlateau to listen to, and evaluate",
        ),
        (
            {"schedule": ReduceLROnPlateau(optimizer), "metric": "l", "evaluate": data.score},
            "metric is 'l', expected one of train_loss, test_loss, test_accuracy",
        ),
        ({"metric": "loss"}, "it is for ReduceLROnPlateau alone"),
    ):
        with pytest.raises(ValueError, match=match):
            train(model, data.batches(32), optimizer, steps=2, progress=False, **options)


def test_a_plateau_hears_every_evaluation(tmp_path):
    """Through a resume too: what it has heard so far is part of the run's state."""

    def listen(steps, **options):
        model, optimizer = fresh()
        plateau = ReduceLROnPlateau(optimizer, factor=0.5, patience=1, threshold=0.2)
        return train(
            model, data.batches(32), optimizer, plateau, metric="train_loss", steps=steps,
            evaluate=data.score, every=8, progress=False, **options,
        )  # fmt: skip

    run = listen(100)
    heard = Plateau(factor=0.5, patience=1, threshold=0.2)
    factors = [1.0] + [heard.update(loss) for loss in run.evaluations["train_loss"][1:]]
    assert len(set(factors)) > 2
    np.testing.assert_allclose(run.rate[:, 0], 0.2 * np.repeat(factors, 8)[:100])
    assert run.stepped == ("ReduceLROnPlateau",)
    listen(60, checkpoint=tmp_path / "at60.pt")  # 60: between two evaluations
    resumed = listen(100, resume=tmp_path / "at60.pt")
    for name in ("loss", "rate", "update_norm"):
        np.testing.assert_array_equal(getattr(resumed, name), getattr(run, name))
    run.save(tmp_path / "run.npz")
    assert Run.load(tmp_path / "run.npz").stepped == run.stepped


def test_what_people_bring_works_or_is_refused_in_a_sentence():
    def loop(batches=data.batches(32), optimizer=SGD, **options):  # noqa: B008
        net = MLP((64, 16, 10), seed=0)
        return train(net, batches, optimizer(net.parameters(), lr=0.1), progress=False, **options)

    assert len(loop(steps=np.int64(3), every=np.int32(2))) == 3
    loader = DataLoader(TensorDataset(data.x, data.y), 32)
    few = iter([data.batches(32)(0)] * 3)
    for options, match in (
        ({"batches": loader}, r"batches is <.*DataLoader.*>, expected a function of t"),
        ({"batches": lambda t: next(few)}, r"batches\(3\) gives nothing: its iterator has ended"),
        ({"batches": lambda t: data.x}, r"batches\(0\) is .*, expected a pair"),
        (
            {"batches": lambda t: (data.x[:0], data.y[:0])},
            r"batches\(0\) is \(0, 64\), expected at",
        ),
        ({"optimizer": torch.optim.LBFGS}, "optimizer is 'LBFGS', expected one whose step"),
        ({"loss": lambda a, b: F.cross_entropy(a, b, reduction="none")}, r"loss is \(32,\)"),
        ({"loss": lambda a, b: None}, "loss is None, expected a tensor of one number"),
        ({"schedule": lambda t: None}, r"schedule\(0\) is None, expected a finite number >= 0"),
        ({"schedule": lambda t: 1 - t / 2}, r"schedule\(3\) is -0.5"),
        ({"schedule": lambda t: math.inf}, r"schedule\(0\) is inf"),
        ({"steps": 2.0}, "steps is 2.0, expected a whole number >= 1"),
    ):
        with pytest.raises(ValueError, match=match):
            loop(**{"steps": 9} | options)


def test_an_optimizer_of_other_weights_is_refused():
    net, optimizer = fresh()
    twin = copy.deepcopy(net)
    for model, what in ((twin, "made again, or copied"), (net.requires_grad_(False), "frozen")):
        with pytest.raises(ValueError, match=what):
            train(model, data.batches(32), optimizer, steps=2, progress=False)
    part, _ = fresh()
    part[0].requires_grad_(False)
    before = part[0].weight.clone()
    train(part, data.batches(32), SGD(part.parameters(), lr=0.1), steps=2, progress=False)
    assert torch.equal(part[0].weight, before)


def test_a_function_of_t_may_hear_meanwhile_and_need_not_know_what_comes_after():
    """What it gives is asked for at its time, and never after the last update."""
    net, optimizer = fresh()
    plateau = Plateau(factor=0.5, patience=0)

    def score(model):
        plateau.update(1.0)
        return data.score(model)

    def plan(t):
        return (1.0, 1.0, 0.8, 0.8, 0.6)[t] * plateau.now

    run = train(net, data.batches(32), optimizer, plan, steps=5, evaluate=score, every=2,
                progress=False)  # fmt: skip
    # Each evaluation but the first makes a cut, which acts one update late.
    np.testing.assert_allclose(run.rate[:, 0], 0.2 * np.array([1, 1, 0.8, 0.4, 0.3]))
