"""Whatever is resumed goes on as if nothing had been, or is refused in words: never in silence."""

import math
import subprocess
import sys
from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from schedulefree import AdamWScheduleFree
from torch import nn
from torch.optim import SGD, Adam, AdamW, NAdam, RAdam, RMSprop
from torch.optim import lr_scheduler as lrs
from torch.optim.swa_utils import SWALR

from lrcourse.checkpoints import differences, plain, read_checkpoint, write_checkpoint
from lrcourse.data import digits
from lrcourse.models import MLP
from lrcourse.schedules import Cosine, Warmup
from lrcourse.training import train

STEPS, STOP = 24, 10
data = digits()


def model(seed=0, hidden=8):
    return MLP((64, hidden, 10), seed=seed)


def go(net, optimizer, schedule=None, steps=STEPS, batches=data.batches(32), **options):  # noqa: B008
    options = {"every": 5, "progress": False, "evaluate": data.score} | options
    if isinstance(schedule, lrs.ReduceLROnPlateau):
        options["metric"] = "train_loss"
    return train(net, batches, optimizer, schedule, steps=steps, **options)


def interrupt(net, optimizer, schedule, file, **options):
    """A run of STEPS updates that is killed after STOP."""

    def batches(t):
        if t == STOP:
            raise KeyboardInterrupt
        return data.batches(32)(t)

    with pytest.raises(KeyboardInterrupt):
        go(net, optimizer, schedule, batches=batches, checkpoint=file, **options)


def sequence(o, milestone, T_max=20):
    parts = [lrs.LinearLR(o, 0.1, total_iters=5), lrs.CosineAnnealingLR(o, T_max)]
    return lrs.SequentialLR(o, parts, [milestone])


def chain(o, gamma):
    return lrs.ChainedScheduler([lrs.ConstantLR(o, 0.5, 4), lrs.ExponentialLR(o, gamma)])


# Class → how it is made, one of its settings, and another value for that. Some change the rates
# only after update STOP, on purpose: the rates of the past do not tell.
SCHEDULERS = {
    "LambdaLR": [lambda o, x: lrs.LambdaLR(o, lambda t: x if t > 15 else 1), 0.1, 0.2],
    "MultiplicativeLR": [lambda o, x: lrs.MultiplicativeLR(o, lambda t: x), 0.9, 0.8],
    "StepLR": [lambda o, x: lrs.StepLR(o, x), 12, 13],
    "MultiStepLR": [lambda o, x: lrs.MultiStepLR(o, [12, x]), 20, 18],
    "ConstantLR": [lambda o, x: lrs.ConstantLR(o, 0.5, x), 12, 14],
    "LinearLR": [lambda o, x: lrs.LinearLR(o, x), 0.5, 0.4],
    "ExponentialLR": [lambda o, x: lrs.ExponentialLR(o, x), 0.9, 0.8],
    "PolynomialLR": [lambda o, x: lrs.PolynomialLR(o, 20, x), 1.0, 2.0],
    "CosineAnnealingLR": [lambda o, x: lrs.CosineAnnealingLR(o, x), 20, 40],
    "CosineAnnealingWarmRestarts": [
        lambda o, x: lrs.CosineAnnealingWarmRestarts(o, 6, x), 1, 2,
    ],
    "ReduceLROnPlateau": [
        lambda o, x: lrs.ReduceLROnPlateau(o, patience=x, threshold=0.3), 0, 2,
    ],
    "CyclicLR": [
        lambda o, x: lrs.CyclicLR(o, 0.01, 0.1, 4, cycle_momentum=False, scale_fn=lambda c: c**-x),
        1, 2,
    ],
    "OneCycleLR": [lambda o, x: lrs.OneCycleLR(o, 0.1, x), 30, 31],
    "SequentialLR": [sequence, 15, 14],
    "SequentialLR's part": [lambda o, x: sequence(o, 15, x), 20, 21],
    "ChainedScheduler": [chain, 0.9, 0.95],
    "SWALR": [lambda o, x: SWALR(o, x, 12), 0.01, 0.02],
    "a schedule": [lambda o, x: Warmup(4) >> Cosine(x), 20, 40],
    "a function": [lambda o, x: lambda t: x if t > 15 else 1, 0.1, 0.2],
    "a function of NumPy's": [lambda o, x: lambda t: np.cos(t / x), 30, 31],
    "none": [lambda o, x: x, None, lambda t: 0.5],
}  # fmt: skip

OPTIMIZERS = {
    "SGD": (SGD, {"momentum": 0.9}, {"momentum": 0.8}),
    "SGD, nesterov": (SGD, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9}),
    "Adam": (Adam, {}, {"betas": (0.9, 0.99)}),
    "AdamW": (AdamW, {}, {"weight_decay": 0.1}),
    "NAdam": (NAdam, {}, {"momentum_decay": 0.005}),
    "RAdam": (RAdam, {}, {"eps": 1e-6}),
    "RMSprop": (RMSprop, {}, {"alpha": 0.9}),
    "schedule-free": (AdamWScheduleFree, {}, {"betas": (0.5, 0.999)}),
    "a rate of NumPy's": (SGD, {"lr": np.float64(0.05)}, {"lr": np.float64(0.06)}),
    "another class": (Adam, {}, None),
}


def build(optimizer="SGD", changed=False, schedule="none"):
    kind, settings, other = OPTIMIZERS[optimizer]
    net = model()
    settings = {"lr": 0.05} | (settings if not changed or other is None else other)
    made = (SGD if changed and other is None else kind)(net.parameters(), **settings)
    if isinstance(made, AdamWScheduleFree):
        made.train()
    make, setting, _ = SCHEDULERS[schedule]
    return net, made, make(made, setting)


def equal(net, run, other, other_run):
    for name in ("loss", "rate", "gradient_norm", "update_norm", "evaluated_at"):
        np.testing.assert_array_equal(getattr(run, name), getattr(other_run, name))
    for name, values in run.evaluations.items():
        np.testing.assert_array_equal(values, other_run.evaluations[name])
    return all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


@pytest.mark.filterwarnings("ignore:.*lr_scheduler")
@pytest.mark.parametrize("name", SCHEDULERS)
def test_each_schedule_goes_on_unchanged_and_is_refused_changed(tmp_path, name):
    make, _, other = SCHEDULERS[name]
    whole, optimizer, schedule = build(schedule=name)
    uninterrupted = go(whole, optimizer, schedule)
    net, optimizer, schedule = build(schedule=name)
    file = tmp_path / "a.pt"
    interrupt(net, optimizer, schedule, file)
    net, optimizer, schedule = build(schedule=name)
    assert equal(whole, uninterrupted, net, go(net, optimizer, schedule, resume=file))
    net, optimizer, _ = build()
    with pytest.raises(ValueError, match=r"must be the one that .* was made with"):
        go(net, optimizer, make(optimizer, other), resume=file)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_goes_on_unchanged_and_is_refused_changed(tmp_path, name):
    whole, optimizer, schedule = build(name, schedule="a schedule")
    uninterrupted = go(whole, optimizer, schedule)
    file = tmp_path / "a.pt"
    interrupt(*build(name, schedule="a schedule"), file)
    net, optimizer, schedule = build(name, schedule="a schedule")
    assert equal(whole, uninterrupted, net, go(net, optimizer, schedule, resume=file))
    with pytest.raises(ValueError, match=r"must be the one that .* was made with"):
        go(*build(name, changed=True, schedule="a schedule"), resume=file)


def test_parameters_in_another_order_or_groups_are_refused(tmp_path):
    def optimizer(net, order):
        parts = [*net.parameters()]
        return SGD([parts[i] for i in order], lr=0.1, momentum=0.9)

    net, file = model(), tmp_path / "a.pt"
    go(net, optimizer(net, [0, 1, 2, 3]), steps=STOP, checkpoint=file)
    net = model()
    with pytest.raises(ValueError, match=r"optimizer must be the one .*params.* was '0.bias'"):
        go(net, optimizer(net, [0, 3, 2, 1]), resume=file)
    two = model()
    groups = [{"params": part.parameters()} for part in (two[0], two[2])]
    with pytest.raises(ValueError, match="must be the one"):
        go(two, SGD(groups, lr=0.1, momentum=0.9), resume=file)
    wide = model(hidden=9)
    with pytest.raises(ValueError, match="model must be the one"):
        go(wide, optimizer(wide, [0, 1, 2, 3]), resume=file)


def test_another_plan_is_accepted_where_it_is_asked_for(tmp_path):
    file = tmp_path / "a.pt"
    net = model()
    go(net, SGD(net.parameters(), lr=0.1), Cosine(STEPS), STOP, checkpoint=file)
    net = model()
    run = go(net, SGD(net.parameters(), lr=0.2), Cosine(2 * STEPS), resume=file, replan=True)
    assert run.rate[STOP, 0] == 0.2 * Cosine(2 * STEPS)(STOP)
    net = model()
    with pytest.raises(ValueError, match="momentum"):  # that is no part of a plan
        go(
            net,
            SGD(net.parameters(), lr=0.2, momentum=0.5),
            Cosine(STEPS),
            resume=file,
            replan=True,
        )


def test_the_peak_of_a_second_phase_is_the_rate_that_was_set():
    net = model()
    optimizer = SGD(net.parameters(), lr=0.1)
    for lr in (0.1, 0.01):
        optimizer.param_groups[0]["lr"] = lr
        for plan in (Cosine(20), lambda t: 1.0, None):
            assert go(net, optimizer, plan, 3).rate[0, 0] == lr
    assert optimizer.param_groups[0]["lr"] == 0.01  # the peak stands there again


def test_what_could_not_be_read_back_is_refused_when_it_is_written(tmp_path):
    class Own:
        pass

    net = model()
    with pytest.raises(ValueError, match=r"notes\['what'\] is .*Own.*, expected a tensor"):
        go(net, SGD(net.parameters(), lr=0.1), checkpoint=tmp_path / "a.pt", notes={"what": Own()})
    assert not [*tmp_path.iterdir()]


numbers = st.one_of(
    st.integers(-9, 9), st.floats(allow_nan=False), st.booleans(), st.none(), st.text(max_size=3),
    st.floats(width=32, allow_nan=False).map(np.float32), st.integers(-9, 9).map(np.int64),
    st.booleans().map(np.bool_),
)  # fmt: skip
nested = st.recursive(
    numbers, lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(max_size=2), inner))
)


@given(nested)
def test_plain_values_survive_a_checkpoint(value):
    from tempfile import TemporaryDirectory

    parts = ("made", "model", "optimizer", "schedule", "rows", "evaluated", "notes")
    with TemporaryDirectory() as folder:
        file = f"{folder}/a.pt"
        write_checkpoint(file, 3, dict.fromkeys(parts, value))
        back = read_checkpoint(file)["notes"]
    assert back == value and not [*differences(plain(value), back)]


def test_plain_keeps_what_holds_the_values():
    kept = plain({"a": Counter({3: np.int64(2)}), "b": OrderedDict(x=np.ones(2)), "c": (1, [2])})
    assert type(kept["a"]) is Counter and type(kept["b"]) is OrderedDict
    assert torch.equal(kept["b"]["x"], torch.ones(2, dtype=torch.float64)) and kept["c"] == (1, [2])


def test_differences_name_the_place():
    assert [*differences({"a": [1, {"b": 2.0}]}, {"a": [1, {"b": 3.0}]})] == [
        "a[1]['b'] was 2.0, and is 3.0"
    ]
    assert not [*differences({"x": math.nan, "y": 0.1 + 0.2}, {"x": math.nan, "y": 0.3})]
    assert not [*differences(torch.ones(3), torch.ones(5))]  # as far as both go
    assert [*differences({"x": 1}, {})] == ["x was 1, and is None"]
    assert [*differences(True, 1)] == [" was True, and is 1"]


FULL_DISK = """
import resource, signal, sys
from lrcourse.pretrain.command import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
room = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))  # no file may grow past this
sys.exit(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_a_full_disk_is_one_sentence_and_leaves_the_last_checkpoint(tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("abc def " * 400)
    out = tmp_path / "run"

    def pretrain(room, *more):
        line = f"--out {out} --corpus {words} --device cpu --batch-size 2 --context 8 --layers 1"
        command = [sys.executable, "-c", FULL_DISK, str(room), *line.split(), "--width", "8"]
        return subprocess.run([*command, *more], capture_output=True, encoding="utf-8")

    assert pretrain(10**8, "--steps", "20").returncode == 0
    before = (out / "checkpoint.pt").read_bytes()
    done = pretrain(10_000, "--resume", "changed", "--steps", "40")
    assert done.returncode == 2 and done.stdout.startswith("The run in"), done
    said = done.stderr.strip().splitlines()
    assert said[-1].startswith("pretrain: ") and "is the disk full?" in said[-1], said
    assert "Traceback" not in done.stderr
    assert (out / "checkpoint.pt").read_bytes() == before and not [*out.glob("*.part")]


def test_random_numbers_go_on_too(tmp_path):
    def start(seed):
        torch.manual_seed(seed)
        net = model()
        net.insert(2, nn.Dropout(0.3))
        return net, AdamW(net.parameters(), lr=0.05), Cosine(STEPS)

    whole, *how = start(7)
    uninterrupted = go(whole, *how, clip=1.0)
    file = tmp_path / "a.pt"
    interrupt(*start(7), file, clip=1.0)
    net, *how = start(99)
    assert equal(whole, uninterrupted, net, go(net, *how, resume=file, clip=1.0))


def test_a_run_can_be_made_longer_and_files_that_do_not_fit_are_refused(tmp_path):
    def again(steps, plan=Cosine(STEPS), name="a.pt", **options):  # noqa: B008
        net, optimizer, _ = build()
        return go(net, optimizer, plan, steps, resume=tmp_path / name, **options)

    file = tmp_path / "a.pt"
    net, optimizer, _ = build()
    go(net, optimizer, Cosine(STEPS), STOP, checkpoint=file)
    assert len(again(STEPS)) == STEPS
    with pytest.raises(ValueError, match="kind was 'a function of t', and is 'none'"):
        again(STEPS, None)
    with pytest.raises(ValueError, match="steps is 9, expected at least the 10 updates"):
        again(STOP - 1)
    torch.save(torch.load(file, weights_only=True) | {"format": 3}, tmp_path / "newer.pt")
    with pytest.raises(ValueError, match="has format 3, this course reads 2"):
        again(STEPS, name="newer.pt")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ValueError, match="not a checkpoint, or is damaged"):
        again(STEPS)
    with pytest.raises(FileNotFoundError):
        again(STEPS, name="absent.pt")
