"""`train` does what a bare PyTorch loop does, records what really happened, and resumes exactly."""

import copy
import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, ReduceLROnPlateau, SequentialLR
from torch.utils.data import DataLoader, TensorDataset

from lrcourse.chapters.curvature import Sharpness
from lrcourse.data import Minibatches, digits, python_source, python_text
from lrcourse.models import MLP, NextCharacter
from lrcourse.runs import Run
from lrcourse.schedules import Cosine, Plateau, Warmup, values
from lrcourse.training import train

data = digits()
STEPS = 40


def fresh(optimizer=SGD, **settings):
    model = MLP((64, 16, 10), seed=0)
    return model, optimizer(model.parameters(), lr=0.2, **settings)


def go(schedule=None, optimizer=SGD, dropout=False, **options):
    torch.manual_seed(7)
    model = MLP((64, 16, 10), seed=0)
    if dropout:
        model.insert(2, nn.Dropout(0.3))
    opt = optimizer(model.parameters(), lr=0.05)
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


@pytest.mark.parametrize("optimizer", [SGD, AdamW])
@pytest.mark.parametrize("kind", ["function", "torch", "none"])
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path, optimizer, kind):
    class Stop(Exception):
        pass

    def score(model):
        if interrupted and len(calls) == 2:  # evaluations at 0, 16, then 32: stop there
            raise Stop
        calls.append(1)
        return data.score(model)

    def start(**options):
        torch.manual_seed(7)
        model = MLP((64, 16, 10), seed=0)
        model.insert(2, nn.Dropout(0.3))  # so that the random state matters as well
        opt = optimizer(model.parameters(), lr=0.05)
        schedule = {"function": Cosine(STEPS), "torch": None, "none": None}[kind]
        schedule = warmup_cosine(opt) if kind == "torch" else schedule
        return model, train(
            model, data.batches(32), opt, schedule, steps=STEPS, progress=False, evaluate=score,
            every=16, clip=1.0, **options,
        )  # fmt: skip

    calls, interrupted = [], False
    whole_model, whole = start()
    calls, interrupted = [], True
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Stop):
        start(checkpoint=path)
    calls, interrupted = [], False
    torch.manual_seed(99)
    model, resumed = start(resume=path)
    pd.testing.assert_frame_equal(resumed.to_frame(), whole.to_frame(), check_exact=True)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), whole_model.parameters(), strict=True)
    )
    assert not list(tmp_path.glob("*.part"))


def test_refuses_checkpoints_that_do_not_fit(tmp_path):
    path = tmp_path / "checkpoint.pt"
    go(Cosine(STEPS), checkpoint=path)
    with pytest.raises(ValueError, match="schedule must be the one"):
        go(Cosine(2 * STEPS), resume=path, steps=2 * STEPS)
    with pytest.raises(ValueError, match="kind was 'a function of t', and is 'none'"):
        go(None, resume=path)
    with pytest.raises(ValueError, match="steps must be at least the 40"):
        go(Cosine(STEPS), resume=path, steps=STEPS - 1)
    newer = torch.load(path, weights_only=True) | {"format": 3}
    torch.save(newer, tmp_path / "newer.pt")
    with pytest.raises(ValueError, match="has format 3, this course reads 2"):
        go(Cosine(STEPS), resume=tmp_path / "newer.pt")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="not a checkpoint, or is damaged"):
        go(Cosine(STEPS), resume=path)
    with pytest.raises(FileNotFoundError):
        go(Cosine(STEPS), resume=tmp_path / "absent.pt")


def test_resuming_with_another_horizon_is_refused_not_ignored(tmp_path):
    path = tmp_path / "checkpoint.pt"

    def cosine(horizon, **options):
        model, optimizer = fresh()
        scheduler = CosineAnnealingLR(optimizer, T_max=horizon)
        train(model, data.batches(32), optimizer, scheduler, progress=False, **options)

    cosine(40, steps=20, checkpoint=path)
    cosine(40, steps=30, resume=path)
    with pytest.raises(ValueError, match="T_max was 40, and is 80"):
        cosine(80, steps=80, resume=path)


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


def test_a_run_is_saved_and_loaded_whole(tmp_path):
    run, _ = go(Cosine(STEPS))
    run.save(tmp_path / "run.npz")
    again = Run.load(tmp_path / "run.npz")
    pd.testing.assert_frame_equal(again.to_frame(), run.to_frame(), check_exact=True)
    assert again.diverged_at is None and list(again.evaluated_at) == [0, 16, 32, 40]
    (tmp_path / "run.npz").write_bytes(b"something else")
    with pytest.raises(ValueError, match="not a saved run"):
        Run.load(tmp_path / "run.npz")


def test_logs_to_tensorboard_what_it_records(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, _ = go(Cosine(STEPS), log=tmp_path)
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    wanted = {"rate": run.rate[:, 0], "loss": run.loss, "update_norm": run.update_norm}
    for name, recorded in wanted.items():
        np.testing.assert_allclose([e.value for e in events.Scalars(name)], recorded, rtol=1e-6)
    assert [e.step for e in events.Scalars("test_loss")] == [0, 16, 32, 40]


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


def test_a_run_names_the_torch_schedulers_that_it_stepped():
    model, optimizer = fresh()
    scheduler = warmup_cosine(optimizer)
    run = train(model, data.batches(32), optimizer, scheduler, steps=2, progress=False)
    assert run.stepped == ("SequentialLR", "LinearLR", "CosineAnnealingLR")
    assert go(Cosine(STEPS))[0].stepped == go()[0].stepped == ()


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


def test_a_language_model_learns_what_follows():
    text = python_text(limit=100_000, tests=200)
    assert len(text.y) + len(text.x_test) < 100_000  # no test window overlaps the training text
    model = NextCharacter(seed=0)
    before = text.score(model)["test_loss"].item()
    assert before == pytest.approx(np.log(text.vocabulary), abs=0.2)  # it knows nothing yet
    optimizer = AdamW(model.parameters(), lr=3e-3)
    train(model, text.batches(32), optimizer, steps=200, progress=False)
    assert text.score(model)["test_loss"].item() < 3.3
    for options, match in (
        ({"context": 0}, "context"),
        ({"tests": 10**6}, "tests is 1000000, expected a whole"),
    ):
        with pytest.raises(ValueError, match=match):
            python_text(limit=100_000, **options)
    with pytest.raises(ValueError, match="hidden is 0, expected a whole number >= 1"):
        NextCharacter(hidden=0)


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
    measure = Sharpness(lambda m: (m(x) - y).square().mean(), iterations=2000, tolerance=1e-9)
    assert measure(model).item() == pytest.approx(exact, rel=1e-5)


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
