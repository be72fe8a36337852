"""A sweep gives each run what `train` with the real torch optimizer gives it alone."""

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from schedulefree import AdamWScheduleFree
from torch import nn
from torch.optim import SGD, Adadelta, Adam, AdamW, Muon, RMSprop
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel
from torch.utils._python_dispatch import TorchDispatchMode

from lrcourse import sweeps
from lrcourse.data import Minibatches, _order, corpus, digits
from lrcourse.models import GPT, MLP, next_token_loss
from lrcourse.schedules import Constant, Cosine, Warmup
from lrcourse.stacking import stack
from lrcourse.sweeps import final, stacks, sweep
from lrcourse.training import train
from tools.record.comparison import as_planned, best

STEPS = 24
data = digits(torch.float64)
schedules = {"constant": Constant(), "cosine": Warmup(5) >> Cosine(STEPS - 5)}


def model(seed):
    return MLP((64, 12, 10), nn.Tanh, seed=seed).double()


def batches(seed):
    return data.batches(16, seed)


def run(**options):
    options = {"peaks": [0.01, 0.1], "seeds": [0, 1], "steps": STEPS, "progress": False} | options
    return sweep(model, batches, **options)


@pytest.mark.parametrize("stacked", [True, False], ids=["stacked", "plain"])
@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [
        (SGD, {"momentum": [0.0, 0.9], "weight_decay": [0.0, 0.1]}),
        (RMSprop, {"alpha": [0.9, 0.99], "eps": 1e-6}),
        (Adam, {"betas": [(0.9, 0.999), (0.5, 0.9)], "eps": 1e-6}),
        (AdamW, {"betas": (0.9, 0.95), "weight_decay": [0.0, 0.3]}),
    ],
)
def test_equals_each_run_alone(optimizer, settings, stacked):
    # The largest peak diverges: it must leave the others untouched, and be reported where it ends.
    peaks = [0.1, 1e5]
    frame = run(
        peaks=peaks, schedules=schedules, optimizer=optimizer, evaluate=data.score, every=8,
        chunk=7, stacked=stacked, **settings,
    )  # fmt: skip
    ends, lost = final(frame), 0
    axes = [v for v in settings.values() if isinstance(v, list)]
    assert len(ends) == 2 * 2 * 2 * int(np.prod([len(v) for v in axes]))
    for row in ends.to_dict("records"):
        net = model(row["seed"])
        opt = optimizer(net.parameters(), lr=row["peak"], **{name: row[name] for name in settings})
        alone = train(
            net, batches(row["seed"]), opt, schedules[row["schedule"]], steps=STEPS,
            evaluate=data.score, every=STEPS, progress=False,
        )  # fmt: skip
        if alone.diverged_at is not None:
            lost += 1
            assert row["diverged_at"] == alone.diverged_at
            assert np.isnan(row["loss"]) and np.isnan(row["train_loss"])
            continue
        assert pd.isna(row["diverged_at"])
        assert row["loss"] == pytest.approx(alone.loss[-8:].mean(), rel=1e-9)
        assert row["rate"] == alone.rate[-1, 0]
        size = torch.nn.utils.get_total_norm(list(net.parameters())).item()
        assert row["gradient_norm"] == pytest.approx(alone.gradient_norm[-1], rel=1e-9)
        assert row["update_ratio"] == pytest.approx(alone.update_norm[-1] / size, rel=1e-9)
        for name, values in alone.evaluations.items():
            assert row[name] == pytest.approx(values[-1], rel=1e-9)
    assert lost >= 4


@pytest.mark.parametrize("stacked", [True, False], ids=["stacked", "plain"])
@pytest.mark.parametrize("settings", [{}, {"betas": (0.5, 0.99), "weight_decay": 0.3}])
def test_schedule_free_equals_the_package(settings, stacked):
    frame = run(
        peaks=[0.01, 0.1, 1e30], schedules=schedules, optimizer=AdamWScheduleFree, chunk=5,
        evaluate=data.score, stacked=stacked, **{name: [value] for name, value in settings.items()},
    )  # fmt: skip
    assert frame["diverged_at"].notna().any()
    for row in final(frame[frame["diverged_at"].isna()]).to_dict("records"):
        net = model(row["seed"])
        opt = AdamWScheduleFree(net.parameters(), lr=row["peak"], **settings)
        opt.train()
        alone = train(
            net, batches(row["seed"]), opt, schedules[row["schedule"]], steps=STEPS, progress=False
        )
        assert row["loss"] == pytest.approx(alone.loss[-1], rel=1e-9)
        opt.eval()
        for name, value in data.score(net).items():
            assert row[name] == pytest.approx(value.item(), rel=1e-9)


@pytest.mark.parametrize("stacked", [True, False], ids=["stacked", "plain"])
def test_muon_equals_muon_for_matrices_and_adamw_for_the_rest(stacked):
    """As torch's two optimizers with two schedules, but for bfloat16's digits."""
    frame = run(
        schedules=schedules, optimizer=Muon, peaks=[0.003, 0.03], weight_decay=0.3, momentum=0.9,
        stacked=stacked, evaluate=data.score, chunk=3,
    )  # fmt: skip
    for row in final(frame).to_dict("records"):
        net, draw, plan = model(row["seed"]), batches(row["seed"]), schedules[row["schedule"]]
        matrices = [m.weight for m in net.modules() if isinstance(m, nn.Linear)]
        rest = [p for p in net.parameters() if p.dim() != 2]
        shared = {"lr": row["peak"], "weight_decay": 0.3}
        made = [
            Muon(matrices, momentum=0.9, adjust_lr_fn="match_rms_adamw", **shared),
            AdamW(rest, **shared),
        ]
        follow = [LambdaLR(one, plan) for one in made]
        for t in range(STEPS):
            x, y = draw(t)
            net.zero_grad()
            F.cross_entropy(net(x), y).backward()
            for one in [*made, *follow]:
                one.step()
        ends = data.score(net)["test_loss"].item()
        assert row["test_loss"] == pytest.approx(ends, rel=0.005)


@pytest.mark.parametrize("stacked", [True, False], ids=["stacked", "plain"])
def test_average_equals_an_averaged_model(stacked):
    frame = run(
        peaks=[0.01, 0.1, 1e9], optimizer=Adam, average=0.25, evaluate=data.score, every=9,
        stacked=stacked,
    )  # fmt: skip
    assert frame.groupby("step")["averaged_test_loss"].count().to_dict() == {9: 0, 18: 0, 24: 4}

    def averaged(seed, peak):
        net, made = model(seed), []
        mean, opt = AveragedModel(net), Adam(net.parameters(), lr=peak)

        def after_step(*_):
            made.append(1)
            if len(made) > 18:
                mean.update_parameters(net)

        opt.register_step_post_hook(after_step)
        train(net, batches(seed), opt, steps=STEPS, progress=False)
        return mean

    for row in final(frame[frame["diverged_at"].isna()]).to_dict("records"):
        for name, value in data.score(averaged(row["seed"], row["peak"])).items():
            assert row[f"averaged_{name}"] == pytest.approx(value.item(), rel=1e-9)
    with pytest.raises(ValueError, match=r"average is 1\.5, expected"):
        run(average=1.5)


def test_rows_are_tidy_and_chunks_do_not_matter():
    frame = run(schedules=schedules, every=10, evaluate=data.score)
    assert sorted(frame["step"].unique()) == [10, 20, 24]
    assert frame.groupby(["schedule", "peak", "seed"]).size().eq(3).all()
    chunked = run(schedules=schedules, every=10, evaluate=data.score, chunk=3)
    keys = ["schedule", "peak", "seed", "step"]
    pd.testing.assert_frame_equal(
        frame.sort_values(keys, ignore_index=True),
        chunked.sort_values(keys, ignore_index=True),
        rtol=1e-12,
    )
    with joblib.parallel_config(backend="threading", n_jobs=2):
        pd.testing.assert_frame_equal(run(chunk=2), run(chunk=2), check_exact=True)


def test_all_runs_diverged():
    frame = run(peaks=[1e9, 1e10], every=10)
    assert final(frame)["diverged_at"].notna().all() and final(frame)["loss"].isna().all()
    with pytest.raises(ValueError, match="every peak diverged for some seed of"):
        best(final(frame), "loss")


def test_as_planned_sees_a_rate_that_is_not():
    frame = run(schedules=schedules, peaks=[0.1, 1e9], every=8)
    assert frame["rate"].isna().any() and as_planned(frame, schedules)
    assert not as_planned(frame, schedules | {"cosine": Warmup(5) >> Cosine(STEPS)})
    for row in frame.index[frame["rate"].notna()]:
        off = frame.copy()
        off.loc[row, "rate"] *= 1 + 1e-9
        assert not as_planned(off, schedules)
    with pytest.raises(ValueError, match="expected also constant, which frame holds"):
        as_planned(frame, {"cosine": schedules["cosine"]})
    with pytest.raises(ValueError, match="frame holds no rate"):
        as_planned(frame.assign(rate=np.nan), schedules)


def test_each_schedule_can_have_peaks_of_its_own():
    plans = {"constant": Constant(), "cosine": Cosine(STEPS)}
    own = run(schedules=plans, peaks={"constant": [0.1], "cosine": [0.1, 0.3]})
    ends = final(own)[["schedule", "peak"]].drop_duplicates()
    assert ends.values.tolist() == [["constant", 0.1], ["cosine", 0.1], ["cosine", 0.3]]
    shared = run(schedules=plans, peaks=[0.1, 0.3])
    both = shared.merge(own, on=["schedule", "peak", "seed", "step"], suffixes=("", "_own"))
    assert len(both) == len(own) and as_planned(own, plans)
    np.testing.assert_allclose(both["loss_own"], both["loss"], rtol=1e-9)


def test_frozen_weights_stay_frozen_as_they_do_alone():
    def frozen(seed):
        net = model(seed)
        net[0].requires_grad_(False)
        return net

    def score(net):
        return {"test_loss": F.cross_entropy(net(data.x_test), data.y_test)}

    frame = final(
        sweep(frozen, batches, peaks=[0.1], seeds=[3], steps=STEPS, evaluate=score, progress=False)
    )
    alone = frozen(3)
    trained = train(
        alone, batches(3), SGD(alone.parameters(), lr=0.1), steps=STEPS, evaluate=score,
        progress=False,
    )  # fmt: skip
    expected = trained.evaluations["test_loss"][-1]
    assert frame["test_loss"].item() == pytest.approx(expected, rel=1e-9)
    assert torch.equal(alone[0].weight, model(3)[0].weight)


class Idle(nn.Module):
    """Has weights that no gradient reaches, weights in two places, and one that is a number."""

    def __init__(self, seed):
        super().__init__()
        self.idle = nn.Linear(3, 5).double()
        self.one, self.scale = model(seed), nn.Parameter(torch.ones((), dtype=torch.float64))
        self.again = self.one[0]

    def forward(self, x):
        return self.scale * self.one(x) + self.again(x)[:, :10]


@pytest.mark.parametrize("stacked", [True, False], ids=["stacked", "plain"])
def test_weights_that_no_gradient_reaches_are_left_as_torch_leaves_them(stacked):
    rule = {"weight_decay": 0.3, "lr": 0.01}
    for ignored in (False, True):  # labels that say: this example does not count
        batches = (lambda seed: lambda t: skipped(data.batches(16, seed)(t))) if ignored else draw
        torch.manual_seed(0)
        frame = final(
            sweep(
                Idle, batches, peaks=[0.01], seeds=[0], steps=STEPS, optimizer=AdamW,
                weight_decay=0.3, stacked=stacked, every=1, progress=False,
            )
        )  # fmt: skip
        torch.manual_seed(0)
        Idle(0)  # sweep looks at one before it trains them
        net = Idle(0)
        idle = net.idle.weight.clone()
        opt = AdamW(net.parameters(), **rule)
        alone = train(net, batches(0), opt, steps=STEPS, progress=False)
        size = torch.nn.utils.get_total_norm(list(net.parameters())).item()
        assert torch.equal(idle, net.idle.weight)
        assert frame["loss"].item() == pytest.approx(alone.loss[-1], rel=1e-9)
        ratio = frame["update_ratio"].item()
        assert ratio == pytest.approx(alone.update_norm[-1] / size, rel=1e-9)


def draw(seed):
    return data.batches(16, seed)


def skipped(drawn):
    x, y = drawn
    return x, torch.where(torch.arange(len(y)) % 3 == 0, -100, y)


class OwnMean(nn.Module):
    """Puts a new buffer in place of the old one in forward."""

    def __init__(self, seed):
        super().__init__()
        self.out = nn.Linear(64, 10).double()
        self.register_buffer("mean", torch.zeros(64, dtype=torch.float64))

    def forward(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return self.out(x - self.mean)


class Recurrent(nn.Module):
    def __init__(self, seed):
        super().__init__()
        self.inner = nn.LSTM(8, 4, batch_first=True).double()

    def forward(self, x):
        return self.inner(x.unflatten(-1, (8, 8)))[0][:, -1]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda seed: nn.Sequential(nn.Linear(64, 10), nn.BatchNorm1d(10)).double(), "buffers"),
        (OwnMean, "no buffer that forward changes, as mean is"),
        (Recurrent, "no recurrent layer, as inner has"),
        (lambda seed: nn.Sequential(nn.Linear(64, 10), nn.Dropout(0.1)).double(), "no dropout"),
        (lambda seed: model(seed).requires_grad_(False), "requires_grad"),
    ],
)
def test_what_cannot_be_trained_so_is_refused_in_words(make, match):
    with pytest.raises(ValueError, match=match):
        sweep(make, batches, peaks=[0.1], seeds=[0], steps=1, progress=False)


@pytest.mark.parametrize("first", [-4.0, 0.0, 1e-9])
def test_a_loss_may_begin_below_zero_or_at_it(first):
    def loss(out, y):
        return F.cross_entropy(out, y) - start + first

    net = model(0)
    x, y = batches(0)(0)
    start = F.cross_entropy(net(x), y).item()
    frame = run(loss=loss, peaks=[0.1, 1e9], seeds=[0], evaluate=lambda net: {"half": 0.5})
    ends = final(frame).set_index("peak")
    assert pd.isna(ends.loc[0.1, "diverged_at"]) and ends.loc[1e9, "diverged_at"] > 0
    assert ends.loc[0.1, "half"] == 0.5  # a plain number from evaluate, too
    alone = train(
        net, batches(0), SGD(net.parameters(), lr=0.1), steps=STEPS, loss=loss, progress=False
    )
    assert alone.diverged_at is None


def test_bad_arguments_are_named():
    for options, match in (
        ({"peaks": []}, "peaks"),
        ({"peaks": [0.1, -1.0]}, "peaks"),
        ({"peaks": {"cosine": [0.1]}}, "expected the names of schedules"),
        ({"seeds": [1, 1]}, "seeds"),
        ({"schedules": {}}, "schedules"),
        ({"steps": 0}, "steps"),
        ({"optimizer": Adadelta}, "expected one of SGD, RMSprop, Adam, AdamW"),
        ({"nesterov": True}, "nesterov is not a setting of SGD"),
        ({"momentum": []}, "momentum"),
        ({"chunk": 0}, "chunk"),
    ):
        with pytest.raises(ValueError, match=match):
            run(**options)


class Copies(TorchDispatchMode):
    """Counts what travels to a device that holds no numbers: to read one from it is an error."""

    def __init__(self):
        super().__init__()
        self.at, self.t = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.is_meta:
            self.at += [self.t for x in args if isinstance(x, torch.Tensor) and not x.is_meta]
        return out


@pytest.mark.parametrize("optimizer", [SGD, AdamW, AdamWScheduleFree])
@pytest.mark.parametrize("task", ["digits", "text"])
def test_between_two_rows_no_update_waits_for_a_device(monkeypatch, task, optimizer):
    with torch.device("meta"):
        x, y = torch.empty(320, 64), torch.empty(320, dtype=torch.long)
        nets = {"digits": MLP((64, 12, 10)), "text": GPT(context=8, layers=1, width=8)}
    text = corpus(limit=50_000, context=8).to("meta")
    _order.cache_clear()
    copies, reads = Copies(), []

    def read(values):
        assert values.is_meta
        reads.append(copies.t)
        return np.ones(values.shape)

    def batches(seed):
        draws = Minibatches(x, y, 10, seed) if task == "digits" else text.batches(4, seed)

        def at(t):
            copies.t = t
            return draws(t)

        return at

    for module in (sweeps, stack):
        monkeypatch.setattr(module, "read_out", read)
    with copies:
        sweep(
            lambda seed: nets[task], batches, peaks=[0.01, 0.1], seeds=[0, 1], steps=130, every=50,
            optimizer=optimizer, clip=1.0, average=0.5, progress=False,
            loss=F.cross_entropy if task == "digits" else next_token_loss,
            evaluate=text.score if task == "text" else None,
        )  # fmt: skip
    # Losses are read at each row and after each 20 updates, and all else at the rows alone.
    assert set(reads) == {19, 39, 49, 69, 89, 99, 119, 129}
    # One copy for each seed and each epoch of 32 updates, or block of 64 of a text.
    later = [t for t in copies.at if t > 0]
    blocks = [32, 64, 96, 128] if task == "digits" else [64, 128]
    assert sorted(later) == sorted(2 * blocks)


def test_a_small_model_is_stacked_and_a_large_one_called_by_itself():
    assert stacks(MLP((64, 32, 10))) and not stacks(MLP((64, 2048, 10)))
    with torch.device("meta"):  # for all that is no CPU
        assert stacks(MLP((64, 2048, 10)))
    small, seen = {"peaks": [0.1], "seeds": [0], "steps": 2}, []

    def loss(out, y):
        seen.append(torch._C._functorch.is_batchedtensor(out))
        return F.cross_entropy(out, y)

    for stacked in (None, True, False):
        seen.clear()
        run(loss=loss, stacked=stacked, **small)
        assert any(seen) is (stacked is not False)
