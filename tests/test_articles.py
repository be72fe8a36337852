"""docs/articles.md: its form, its links, and what it says of the installed libraries.

Most rows lean on a chapter, whose cells are run. What no chapter runs is run here: the articles'
samples as printed, and the claims that take seconds.
"""

import os
import re
import subprocess
import sys
import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam
from torch.optim import lr_scheduler as lrs

from lrcourse.data import corpus, digits
from lrcourse.experiments.recordings import read_recording
from lrcourse.files import ROOT
from lrcourse.landscapes import DoubleWell, descend
from lrcourse.models import GPT, MLP, next_token_loss
from lrcourse.schedules import (
    Cosine,
    CosineRestarts,
    Exponential,
    InverseTime,
    Linear,
    Noam,
    Warmup,
    recorded,
    values,
)
from lrcourse.sweeps import sweep
from lrcourse.training import train

PAGE = ROOT / "docs" / "articles.md"
VERDICTS = {"so", "not so", "not settled", "advice, not testable", "a slip of arithmetic"}
VERDICTS |= {"not tested here"}
ITEMS = [28, 19, 48, 24]  # of each article

# ---------------------------------------------------------------------------------- the page


def tables(text):
    """The rows of each table, without its head: a list of cells a row."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = [
            [cell.strip() for cell in line.strip("|\n").split("|")] for line in block.split("\n")
        ]
        found.append([row for row in rows[2:] if row != [""]])
    return found


COUNTED, *TABLES = tables(PAGE.read_text(encoding="utf-8"))
ROWS = [row for table in TABLES for row in table]


def anchors(path):
    """What a link can name in a page: its headings, as the site spells them."""
    seen, found, inside = Counter(), set(), False
    for line in path.read_text(encoding="utf-8").splitlines():
        inside ^= line.startswith("```")
        if heading := re.match(r"#{1,3} (.+)", "" if inside else line):
            name = re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-")
            found.add(f"{name}-{seen[name]}" if seen[name] else name)
            seen[name] += 1
    return found


def dead(link, page=PAGE):
    """Why a link of the page leads nowhere; nothing where it leads somewhere."""
    target, _, anchor = link.partition("#")
    path = (page.parent / target).resolve() if target else page
    if not (path.is_file() or (path.is_dir() and not anchor)):
        return f"{link}: there is no such file"
    if path.suffix == ".ipynb":
        path = path.parent / "source" / f"{path.stem}.md"
    return f"{link}: there is no such heading" if anchor and anchor not in anchors(path) else ""


def test_every_item_of_the_four_articles_has_a_row():
    assert [len(table) for table in TABLES] == ITEMS
    assert {len(row) for row in ROWS} == {4}
    said = Counter(row[0] for row in ROWS)
    assert [text for text, times in said.items() if times > 1] == []
    verdicts = Counter("true when …" if "when " in row[1] else row[1] for row in ROWS)
    assert {name: int(number) for name, number in COUNTED} == verdicts


def faults(row):
    """What a row lacks: a verdict of the list, one short sentence, a place where it is run."""
    said, verdict, found, where = row
    if verdict not in VERDICTS and not re.fullmatch(r"true when \S.+", verdict):
        yield f"{said}: {verdict} is no verdict"
    if not re.fullmatch(r"[A-Z`0-9].*[.)]", found) or len(found.split()) > 45:
        yield f"{said}: {found} is not one short sentence"
    if not re.search(r"\]\(|`tests/test_articles.py`", where) and verdict != "not tested here":
        yield f"{said}: no place is named"


def test_each_row_has_a_verdict_a_sentence_and_a_place():
    assert [fault for row in ROWS for fault in faults(row)] == []
    assert len([*faults(["said", "perhaps", "found", ""])]) == 3


def test_each_link_of_the_page_leads_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    inside = [link for link in links if not re.match(r"https?:", link)]
    assert len(inside) > 100 and [*filter(None, map(dead, inside))] == []
    assert dead("../notebooks/04_steps.ipynb#in-your-own-loop") == ""
    assert "no such heading" in dead("../notebooks/04_steps.ipynb#in-your-loop")
    assert "no such file" in dead("../notebooks/44_steps.ipynb")


# ------------------------------------------------------------------ the samples, as printed


def optimizer(lr):
    return SGD([nn.Parameter(torch.zeros(1))], lr=lr)


def early(make, lr, calls):
    """The rates that `calls` updates use where the scheduler is stepped first; what was warned."""
    theirs = optimizer(lr)
    scheduler, used = make(theirs), []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(calls):
            scheduler.step()
            used.append(theirs.param_groups[0]["lr"])
            theirs.step()
    return np.array(used), [str(one.message) for one in said]


SAMPLES = {
    "ExponentialLR": (lambda o: lrs.ExponentialLR(o, gamma=0.95), 0.01, 10),
    "MultiStepLR": (lambda o: lrs.MultiStepLR(o, milestones=[30, 80], gamma=0.1), 0.1, 100),
    "CosineAnnealingLR": (lambda o: lrs.CosineAnnealingLR(o, T_max=100), 0.1, 100),
    "OneCycleLR": (lambda o: lrs.OneCycleLR(o, max_lr=0.1, total_steps=100), 0.1, 100),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_as_printed_is_one_update_early_and_warned_of_once(name):
    make, lr, calls = SAMPLES[name]
    used, said = early(make, lr, calls)
    planned = recorded(make, calls, lr)
    np.testing.assert_allclose(used[:-1], planned[1:], rtol=1e-12)
    assert used[0] != lr or name == "MultiStepLR"  # the first value is lost
    assert len(said) == 1 and "`lr_scheduler.step()` before `optimizer.step()`" in said[0]


def test_where_each_sample_cuts_and_what_its_last_update_uses():
    used = {name: early(*sample)[0] for name, sample in SAMPLES.items()}
    planned = {name: recorded(make, n, lr) for name, (make, lr, n) in SAMPLES.items()}
    assert used["ExponentialLR"][-1] == pytest.approx(0.01 * 0.95**10)
    cuts = [np.flatnonzero(np.diff(r["MultiStepLR"])) + 1 for r in (used, planned)]
    assert [c.tolist() for c in cuts] == [[29, 79], [30, 80]]
    assert used["CosineAnnealingLR"][-1] == 0 < planned["CosineAnnealingLR"][-1] < 1e-4
    # One cycle begins at max_lr / 25, whatever rate the optimizer was given, and ends at its floor.
    # In the printed order the last update lies behind that end, where the curve rises again.
    assert planned["OneCycleLR"][0] == pytest.approx(0.1 / 25)
    assert planned["OneCycleLR"].argmax() == 29
    floor = planned["OneCycleLR"][-1]
    assert used["OneCycleLR"][-2] == floor == pytest.approx(0.1 / 25 / 1e4)
    assert used["OneCycleLR"][-1] > 100 * floor
    with pytest.raises(ValueError, match="Tried to step 101 times"):
        early(*SAMPLES["OneCycleLR"][:2], 101)


def test_rates_for_a_cnn_depend_on_momentum():
    """0.1 and 0.01 are near the best with momentum 0.9, and not without."""
    data, line = digits(), Linear(1, 0, 250)

    def convolutional(seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            image = nn.Unflatten(-1, (1, 8, 8))
            layers = nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(-3), nn.Linear(8 * 6 * 6, 10)
            return nn.Sequential(image, *layers)

    cost = {}
    for momentum in (0.9, 0.0):
        runs = sweep(
            convolutional, lambda seed: data.batches(32, seed), peaks=[0.01, 0.1, 0.3, 1.0, 3.0],
            schedules={"line": line}, seeds=range(4), steps=250, every=250, optimizer=SGD,
            evaluate=data.score, progress=False, momentum=momentum,
        )  # fmt: skip
        ends = runs.groupby("peak")["test_loss"].mean()
        cost[momentum] = ends - ends.min()
    assert cost[0.9][0.1] < 0.1 < cost[0.0][0.1]
    assert cost[0.9][0.01] > cost[0.9][0.1] and cost[0.0][0.01] > 1


def test_the_plateau_example_cuts_after_epoch_12():
    """Its losses fall to 0.29 at epoch 6 and stay there; it says that epoch 10 cuts."""
    theirs = optimizer(0.01)
    plateau = lrs.ReduceLROnPlateau(theirs, mode="min", factor=0.5, patience=5)
    rates = []
    for loss in [0.50, 0.45, 0.40, 0.35, 0.30, *([0.29] * 10)]:
        plateau.step(loss)
        rates.append(theirs.param_groups[0]["lr"])
    assert rates.index(0.005) + 1 == 12 == 6 + 5 + 1


def test_the_warmup_sample():
    """A factor t / 1000 that stays at 1, with max(1, …) below the line for a warmup of 0."""

    def factor(t, warmup=1000):
        return t / max(1, warmup) if t < warmup else 1.0

    rates = recorded(lambda o: lrs.LambdaLR(o, factor), 3000, 0.1)
    assert rates[0] == 0 and rates[500] == 0.05 and (rates[1000:] == 0.1).all()  # no decay
    assert factor(0, warmup=0) == 1 and Warmup(0)(0) == 1
    np.testing.assert_allclose(rates, values(Warmup(1000), 3000, 0.1), rtol=1e-12)
    # The rate of the optimizer matters: each rate is its multiple.
    twice = recorded(lambda o: lrs.LambdaLR(o, factor), 3000, 0.2)
    np.testing.assert_allclose(twice, 2 * rates)


def test_the_slope_of_the_lambda_sample():
    """A constant rate for 50 epochs, then down by 0.001875 an epoch: promised is 0.01 by 100."""

    def factor(epoch):
        return max(0.1, 1 - 0.001875 * max(0, epoch - 50))

    rates = recorded(lambda o: lrs.LambdaLR(o, factor), 600, 0.1)
    assert rates[100] > 0.09 and np.isclose(rates, 0.01).argmax() == 530
    np.testing.assert_allclose((1 - 0.1) / (100 - 50), 0.018)


# --------------------------------------------------------------- claims that take seconds


def test_a_warmup_hands_over_to_exponential_lr():
    def parts(theirs):
        rise = lrs.LinearLR(theirs, start_factor=0.1, total_iters=10)
        return lrs.SequentialLR(theirs, [rise, lrs.ExponentialLR(theirs, 0.95)], [10])

    net = MLP((64, 16, 10), seed=0)
    theirs = SGD(net.parameters(), lr=0.5)
    run = train(net, digits().batches(32), theirs, parts(theirs), steps=60, progress=False)
    plan = values(Warmup(10, 0.1) >> Exponential(0.95), 60, 0.5)
    np.testing.assert_allclose(run.rate[:, 0], plan, rtol=1e-12)
    assert run.loss[-10:].mean() < 0.8 * run.loss[:10].mean()


def test_two_optimizers_with_two_schedulers_are_one_with_two_groups():
    falls, waits = Exponential(0.95), Warmup(20)

    def trained(two):
        net, data = MLP((64, 16, 10), seed=0), digits()
        parts = [[*net[0].parameters()], [*net[2].parameters()]]
        if two:
            optimizers = [SGD(parts[0], 0.5, momentum=0.9), SGD(parts[1], 0.1, momentum=0.9)]
            pairs = zip(optimizers, (falls, waits), strict=True)
            schedulers = [lrs.LambdaLR(o, plan) for o, plan in pairs]
        else:
            groups = [{"params": parts[0], "lr": 0.5}, {"params": parts[1], "lr": 0.1}]
            optimizers = [SGD(groups, momentum=0.9)]
            schedulers = [lrs.LambdaLR(optimizers[0], [falls, waits])]
        rates = []
        for t in range(40):
            x, y = data.batches(32)(t)
            net.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            rates.append([group["lr"] for o in optimizers for group in o.param_groups])
            for each in (*optimizers, *schedulers):
                each.step()
        return np.array(rates), [p.detach() for p in net.parameters()]

    (rates, mine), (others, theirs) = trained(two=True), trained(two=False)
    np.testing.assert_array_equal(rates, others)
    np.testing.assert_array_equal(rates.T, [values(falls, 40, 0.5), values(waits, 40, 0.1)])
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def wells(peak, plan, noise=0.0, heights=(0.0, 0.5)):
    """Where 400 walks stand over 1200 steps: whether each is in the narrow pit."""
    starts = np.random.default_rng(0).uniform(-3, 3, size=(400, 1))
    walk = descend(DoubleWell(heights), starts, lambda t: peak * plan(t), 1200, noise=noise)
    return walk.path[..., 0] > 0.5


@pytest.mark.parametrize("heights", [(0.0, 0.5), (0.5, 0.0)], ids=["pit worse", "pit best"])
def test_a_restart_frees_no_walk_where_gradients_have_no_noise(heights):
    limit = 1 / 25  # one over the curvature of the pit
    for peak in (0.75 * limit, 1.5 * limit, 3 * limit, 7.5 * limit):
        once, again = (
            wells(peak, Cosine(1200), 0, heights),
            wells(peak, CosineRestarts(300), 0, heights),
        )
        assert (again[-1] == once[-1]).all() and (again[-1] == again[300]).all()
        assert once[-1].any() == (peak < 2 * limit)  # the peak decides, and at its first time


def test_with_noise_a_restart_moves_walks_both_ways_and_gains_nothing_clear():
    for peak in (0.03, 0.06, 0.12, 0.3):
        once, again = wells(peak, Cosine(1200), 6), wells(peak, CosineRestarts(300), 6)
        freed, caught = again[300] & ~again[-1], ~again[300] & again[-1]
        assert freed.mean() > 0.02 and caught.mean() > 0.02
        assert abs(again[-1].mean() - once[-1].mean()) < 0.05


class Shelf:
    """A valley that levels off, ½ x² / (1 + x²): far out it is nearly flat, and nowhere quite."""

    minimum = np.zeros(1)

    def __call__(self, points):
        return 0.5 * points[..., 0] ** 2 / (1 + points[..., 0] ** 2)

    def gradient(self, points):
        return points / (1 + points**2) ** 2


def test_a_small_rate_crawls_over_a_plateau_and_does_not_stay_there():
    rates = np.array([0.3, 0.1, 0.03])
    losses = descend(Shelf(), [5.0], rates, 25_000).losses
    assert (losses[-1] < 1e-6).all() and (losses[1000, 1:] > 0.25).all()
    travel = rates * (losses < 0.25).argmax(axis=0)  # half way down
    assert np.ptp(travel) / travel.mean() < 0.03  # a tenth of the rate, ten times the steps


def test_between_the_same_ends_a_cosine_changes_by_smaller_steps_than_an_exponential():
    steps = {
        name: np.abs(np.diff(plan(np.arange(101)))).max()
        for name, plan in {
            "cosine": Cosine(100, 0.1),
            "exponential": Exponential(0.1**0.01),
        }.items()
    }
    assert steps["cosine"] == pytest.approx(0.0141, abs=5e-5)
    assert steps["exponential"] == pytest.approx(0.0228, abs=5e-5)


def minibatch_losses(peak, schedule, size=16, seed=0, steps=445):
    """The loss of each minibatch, and of all training images before it, of the clinic's patient."""
    data, model = digits(), MLP((64, 32, 10), seed=seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=peak, momentum=0.9)
    ways = {"steps": steps, "progress": False, "norms": False}
    return train(model, data.batches(size, seed), optimizer, schedule, **ways).loss


def test_gamma_does_nothing_before_the_first_cut_and_a_smaller_rate_does():
    cuts = {g: lambda t, g=g: g ** (t // 150) for g in (0.1, 0.5, 0.9)}
    first, *others = (minibatch_losses(1.6, cut, steps=300) for cut in cuts.values())
    assert all((first[:150] == other[:150]).all() for other in others)
    assert min(run[-60:].mean() for run in (first, *others)) > 1  # all are lost
    assert first[:150].max() > 2 * first[0] > minibatch_losses(0.2, cuts[0.1], steps=150).max()


def test_a_loss_jumps_less_with_a_larger_batch_and_not_with_a_longer_warmup():
    def jumps(warmup=40, size=16):
        plan = Warmup(warmup, 0.1) >> Cosine(445 - warmup)
        runs = [minibatch_losses(0.1, plan, size, seed)[240:360] for seed in range(5)]
        return np.mean([np.log(np.abs(np.diff(run)).mean() / run.mean()) for run in runs])

    usual = jumps()
    assert np.exp(jumps(size=64) - usual) < 0.65
    assert abs(np.exp(jumps(warmup=160) - usual) - 1) < 0.15


def test_a_hundred_steps_of_a_gamma_of_099_leave_ten_times_what_is_printed():
    rates = recorded(lambda o: lrs.ExponentialLR(o, gamma=0.99), 101, 0.1)
    assert rates[100] == pytest.approx(0.0366, abs=5e-5)


@pytest.mark.parametrize("power", [0.5, 1, 2])
def test_a_power_law_is_above_an_exponential_from_one_start_and_below_it_between_two_ends(power):
    t = np.arange(1, 500)  # the exponential falls from 1 to 1/100 in 500
    falls = Exponential(0.01 ** (1 / 500))(t)
    same_start = (1 + np.log(100) / 500 / power * t) ** -power
    same_ends = (1 + (100 ** (1 / power) - 1) * t / 500) ** -power
    assert (same_start > falls).all() and (same_ends < falls).all()
    if power == 1:
        np.testing.assert_allclose(same_ends, InverseTime(99 / 500)(t))


def paper_s_adam(model, lr=1.0):
    return Adam(model.parameters(), lr=lr, betas=(0.9, 0.98), eps=1e-9)


def test_the_rates_of_noam_under_the_adam_of_its_paper():
    net, plan = MLP((64, 32, 10), seed=0), Noam(d_model=64, warmup=100)
    theirs = paper_s_adam(net)
    run = train(
        net, digits().batches(32), theirs, lrs.LambdaLR(theirs, plan), steps=200, progress=False
    )
    np.testing.assert_allclose(run.rate[:, 0], values(plan, 200), rtol=1e-12)
    peaks = [Noam(512, w)(w - 1) for w in (4000, 8000)]
    assert peaks == pytest.approx([6.99e-4, 4.94e-4], rel=1e-3)


def test_the_copied_noam_stops_or_loses_its_first_update():
    with pytest.raises(TypeError, match="must be Tensor"):
        torch.rsqrt(512)  # the width, a plain number

    def copied(made, warmup=100):
        made = torch.tensor(float(made))
        falls, rises = torch.rsqrt(made), made * warmup**-1.5
        return (512**-0.5 * torch.minimum(falls, rises)).item()

    rates = [copied(made) for made in range(300)]
    assert torch.isinf(torch.rsqrt(torch.tensor(0.0))) and rates[0] == 0
    np.testing.assert_allclose(rates[1:], values(Noam(512, 100), 299), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1])
def test_a_post_ln_transformer_at_a_fixed_rate_is_not_nan_within_sixty_updates(rate):
    text = corpus(context=16, tests=16)
    net = GPT(context=16, layers=6, width=32, post_ln=True, seed=0)
    run = train(
        net, text.batches(8, 0), paper_s_adam(net, rate), steps=60, loss=next_token_loss,
        norms=False, progress=False,
    )  # fmt: skip
    assert run.diverged_at is None


CLIPNORM = """
import os, tempfile

os.environ["KERAS_BACKEND"], os.environ["KERAS_HOME"] = "torch", tempfile.mkdtemp()
import keras
import numpy as np

for limit in ("clipnorm", "global_clipnorm"):
    both = [keras.Variable(np.zeros(2)) for _ in range(2)]
    optimizer = keras.optimizers.SGD(1.0, **{limit: 1.0})
    optimizer.apply([keras.ops.array([3.0, 4.0]), keras.ops.array([0.3, 0.4])], both)
    print([round(float(keras.ops.norm(v)), 3) for v in both])
"""


@pytest.mark.slow
def test_clipnorm_of_keras_clips_each_array_alone():
    """The gradients are 5 and 0.5 long: only the first one is clipped, and with it the ratio."""
    outside = {k: v for k, v in os.environ.items() if not k.startswith("KERAS_")}
    done = subprocess.run(
        [sys.executable, "-c", CLIPNORM], env=outside, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[1.0, 0.5]", "[0.995, 0.1]"]


KERAS = """
import os, sys, tempfile
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace

os.environ["KERAS_BACKEND"], os.environ["KERAS_HOME"] = "torch", tempfile.mkdtemp()
import keras
import numpy as np

def fit():
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    plan = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
    model.compile(keras.optimizers.SGD(plan), "mse")
    callback = keras.callbacks.TensorBoard(tempfile.mkdtemp(), write_graph=False)
    data = np.ones((4, 2)), np.ones((4, 1))
    model.fit(*data, batch_size=2, epochs=3, verbose=0, callbacks=[callback])

try:
    fit()
except ModuleNotFoundError as error:
    print(error)

# A stand-in for the writer, which notes what the callback hands to it.
noted, writer = [], SimpleNamespace(as_default=nullcontext, close=lambda: None, flush=lambda: None)
summary = ModuleType("tensorflow.summary")
summary.create_file_writer = lambda folder: writer
summary.scalar = lambda name, value, step: noted.append((name, step, value))
sys.modules["tensorflow"] = ModuleType("tensorflow")
sys.modules["tensorflow.summary"] = sys.modules["tensorflow"].summary = summary
fit()
print([value for name, _, value in noted if name == "epoch_learning_rate"])
"""


@pytest.mark.slow
def test_keras_logs_the_rate_once_an_epoch_and_only_where_tensorflow_is_installed():
    outside = {k: v for k, v in os.environ.items() if not k.startswith("KERAS_")}
    done = subprocess.run(
        [sys.executable, "-c", KERAS], env=outside, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    # Two updates an epoch, at 1/2 and 1/4 in the first: the rate of the update to come is logged.
    assert done.stdout.splitlines() == [
        "No module named 'tensorflow'",
        "[0.125, 0.03125, 0.0078125]",
    ]


# ------------------------------------------------------------ what the recordings say of them


@pytest.mark.parametrize(
    "name, asks, verdict",
    [
        ("shapes", "exponential to 10 % instead of linear, 2000 updates of 128", "higher"),
        ("shapes", "cosine instead of linear, 2000 updates of 128", "higher"),
        ("schedules", "constant instead of inverse-sqrt", "higher"),
        (
            "floor",
            "to a tenth instead of to zero, 20 tokens a parameter",
            "lower, by less than matters",
        ),
        ("floor", "to a tenth instead of to zero, 200 tokens a parameter", "higher"),
        ("plateau", "defaults, noisy instead of linear", "higher"),
        ("cycles", "restarts, equal instead of cosine, AdamW", "higher"),
        ("cycles", "one-cycle instead of linear, AdamW", "not settled"),
        ("norms", "without warmup instead of with warmup, Post-LN", "higher"),
    ],
)
def test_what_the_page_says_of_a_recording_is_its_verdict(name, asks, verdict):
    (found,) = [one for one in read_recording(name).findings() if one.asks == asks]
    assert found.verdict == verdict
