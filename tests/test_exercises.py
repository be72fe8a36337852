"""Each exercise is used, known by its name, and answered in words."""

import copy
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from lrcourse import exercises
from lrcourse.models import next_token_loss
from lrcourse.schedules import Cosine, Linear, Noam, wsd

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def used_exercises():
    """Names of the exercises that chapters use, from their sources."""
    names = set()
    for source in NOTEBOOKS.glob("source/*.md"):
        names |= set(re.findall(r'check\("([^"]+)"', source.read_text(encoding="utf-8")))
    return names


def test_every_exercise_is_used_and_known():
    assert used_exercises() == set(exercises.names())


class Strange:
    def __getattr__(self, name):
        raise RuntimeError("strange")


@pytest.mark.parametrize("name", exercises.names())
@pytest.mark.parametrize(
    "answer",
    ["forty-two", None, float("nan"), -12345.678, [], True, lambda *a, **k: None, Strange(), {}],
    ids=repr,
)
def test_wrong_answers_of_any_kind_are_rejected_in_words(name, answer, capsys):
    exercises.check(name, answer)
    out = capsys.readouterr().out
    assert out.startswith(f"✘ {name}: not yet.") and len(out) > len(name) + 15


def fit(T_max=40, clip=-1, note=1, limit=1.0):
    """The loop of exercise 18 repair, with its faults at will."""

    def loop(model, optimizer, batches, steps, most):
        scheduler, rates = warm_cosine(optimizer, 20, 20, T_max), []
        for t in range(steps):
            x, y = batches(t)
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            if clip < 0:
                clip_grad_norm_(model.parameters(), limit * most)
            used = optimizer.param_groups[0]["lr"]
            optimizer.step()
            if clip > 0:
                clip_grad_norm_(model.parameters(), most)
            scheduler.step()
            rates.append(used if note else scheduler.get_last_lr()[0])
        return rates

    return loop


def ranged(model, batches, low, high, updates=200, keep=True, fresh=True, share=0.5):
    """The range test of exercise 02 repair, with its faults at will."""
    model = copy.deepcopy(model) if keep else model
    rates, losses = np.geomspace(low, high, updates), []
    for t, rate in enumerate(rates):
        x, y = batches(t if fresh else 0)
        optimizer = SGD(model.parameters(), lr=rate)
        loss = cross_entropy(model(x), y)
        losses.append(0.9 * losses[-1] + 0.1 * loss.item() if losses else loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return share * rates[np.nanargmin(losses)]


def heavy_ball(at_once=True, keep=True, sign=-1, share=1.0, weight=1.0):
    """The walk of exercise 01 repair, with its faults at will."""

    def walk(slope_x, slope_y, start, rate, momentum, steps):
        (x, y), (u, v) = start, (0.0, 0.0)
        for _ in range(steps):
            if not keep:
                u, v = 0.0, 0.0
            old = x
            u = share * momentum * u + weight * slope_x(x, y)
            x = x + sign * rate * u
            v = share * momentum * v + weight * slope_y(old if at_once else x, y)
            y = y + sign * rate * v
        return x, y

    return walk


def warm_cosine(optimizer, rise, milestone, fall):
    """A warmup from a tenth and a cosine, each number at will: the seams of chapter 09."""
    parts = [LinearLR(optimizer, 0.1, total_iters=rise), CosineAnnealingLR(optimizer, fall)]
    return SequentialLR(optimizer, parts, [milestone])


def with_noam(parameters, width, warmup, factor, first=1, least=0, lr=1.0, power=-1.5, late=False):
    """Chapter 12's optimizer and scheduler, with the faults asked for."""
    optimizer = Adam(parameters, lr=lr)

    def rate(made):
        t = max(made + first, least)
        if late:
            return Noam(width, warmup)(made - 1) * factor if made else 0.0
        return factor * width**-0.5 * min(t**-0.5, t * warmup**power)

    return optimizer, LambdaLR(optimizer, rate)


def freely(model, optimizer, batches, updates, every, score, at_y=False, left=True, both=True):
    """Train with a schedule-free optimizer, as chapter 10 asks for, with mistakes if told so."""
    scores = []
    for t in range(updates):
        model.train()
        optimizer.train()
        x, y = batches(t)
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
        if (t + 1) % every == 0:
            model.train(not both)
            if not at_y:
                optimizer.eval()
            scores.append(score(model))
    if left:
        optimizer.eval()
    else:
        optimizer.train()
    return scores


def noam_tail(t):
    """The tail that chapter 12's open exercise begins with."""
    return 0.01275 * min((t + 1) / 100, (100 / (t + 1)) ** 0.5)


def train_listening(
    model, optimizer, batches, validate, epochs, mode="min", per_batch=False, heed=True, patience=2
):
    """Chapter 08's loop that listens, with the faults asked for."""
    scheduler = ReduceLROnPlateau(optimizer, mode=mode, factor=0.5, patience=patience)
    rates = []
    for t in range(epochs * batches.per_epoch):
        x, y = batches(t)
        loss = cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.append(optimizer.param_groups[0]["lr"])
        if per_batch or (t + 1) % batches.per_epoch == 0:
            scheduler.step(validate(model) if heed else loss.item())
    return rates


# Answers that a learner is likely to give and that are wrong, with a word the hint must hold.
def fresh(model, optimizer):
    """A copy of the model with an optimizer that remembers nothing."""
    twin = copy.deepcopy(model)
    return twin, AdamW(twin.parameters(), lr=optimizer.param_groups[0]["lr"])


def branch(copied=lambda m, o: copy.deepcopy((m, o)), clock=None, first=None):
    """A solution of exercise "14 repair" with the faults that are asked for."""

    def mended(model, optimizer, batches, at, count):
        twin, its = copied(model, optimizer)
        plan = wsd(at + count, 0, count)
        scheduler = LambdaLR(its, lambda t: plan(t + (at if clock is None else clock)))
        for t in range(count):
            x, y = batches(t + (at if first is None else first))
            its.zero_grad()
            cross_entropy(twin(x), y).backward()
            its.step()
            scheduler.step()
        return twin

    return mended


def in_pieces(
    model, optimizer, scheduler, minibatches, pieces,
    share=True, clear=True, early=False, late=False, per_update=True,
):  # fmt: skip
    """The accumulating loop of exercise 03 repair, with the faults that are asked for."""
    rates = []
    for i, (x, y) in enumerate(minibatches, 1):
        (cross_entropy(model(x), y) / (pieces if share else 1)).backward()
        due = i % pieces == 0
        if early and due:
            scheduler.step()
        used = optimizer.param_groups[0]["lr"]
        if due:
            optimizer.step()
            if clear:
                optimizer.zero_grad()
        if not early and (due or not per_update):
            scheduler.step()
        if due:
            rates.append(optimizer.param_groups[0]["lr"] if late else used)
    return rates


def accumulated(
    network, optimizer, schedule, batches, pieces, updates, share=True, keep=True, last=True
):
    """An accumulating loop, with the faults of exercise 17 repair that are asked for."""
    scheduler = LambdaLR(optimizer, schedule)
    for t in range(updates * pieces):
        if not keep:
            optimizer.zero_grad()
        x, y = batches(t)
        (cross_entropy(network(x), y) / (pieces if share else 1)).backward()
        if (t + last) % pieces == 0:
            optimizer.step()
            if keep:
                optimizer.zero_grad()
            scheduler.step()


def fitted(model, windows, optimizer, scheduler, limit, shift=1, early=True, per_update=True):
    """Training on windows of tokens, with the slips of exercise 13 repair."""
    for window in windows:
        optimizer.zero_grad()
        next_token_loss(model(window[:, :-1]), window[:, shift : shift + 8]).backward()
        if early:
            clip_grad_norm_(model.parameters(), limit)
        optimizer.step()
        if per_update:
            scheduler.step()


def lora(fresh=True, updates=True, frozen=True, early=False):
    """A solution of exercise "15 repair" with the faults that are asked for."""

    def mended(model, minibatches, rate, pieces):
        own = AdamW(model.parameters(), lr=rate, weight_decay=0.0)
        names = ["qkv", "out", "up", "down"]
        adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=names))
        if not frozen:
            adapted.requires_grad_(True)
        trained = [w for w in adapted.parameters() if w.requires_grad]
        optimizer = AdamW(trained, lr=rate, weight_decay=0.0) if fresh else own
        plan = Linear(1.0, 0.0, len(minibatches) // (pieces if updates else 1))
        scheduler = LambdaLR(optimizer, plan)
        for i, (x, y) in enumerate(minibatches, 1):
            (next_token_loss(adapted(x), y) / pieces).backward()
            if i % pieces == 0 or early:
                optimizer.step()
                optimizer.zero_grad()
                scheduler.step()
        return adapted

    return mended


def carried(zeros=True, forward=False, over=False):
    """A solution of exercise "16 repair" with the faults that are asked for."""

    def best_peak(a):
        a = np.trim_zeros(a, "b") if zeros else a
        way = 1 if forward else -1
        A, B = a[::way].cumsum()[::way], (a**2)[::way].cumsum()[::way]
        last = np.sum(a[:-1] / A[1:] * B[:-1] / A[:-1])
        return np.sqrt(1 / (A[0] * (B[0] / A[0] + last)))

    def mended(peak, old, new):
        ratio = best_peak(new) / best_peak(old)
        return peak / ratio if over else peak * ratio

    return mended


def reported(loss, entries, other, open_seeds, held_back, drop=False, own="held", rival="held"):
    """The report of exercise 19 repair, with its faults at will."""
    seeds = {"open": open_seeds, "held": held_back}
    ends = np.array([[loss(name, s) for s in open_seeds] for name in entries])
    winner = entries[int(np.nanargmin((np.nanmean if drop else np.mean)(ends, axis=1)))]
    mine = np.array([loss(winner, s) for s in seeds[own]])
    gaps = 100 * (mine / np.array([loss(other, s) for s in seeds[rival]]) - 1)
    return winner, gaps.mean(), gaps.std(ddof=1) / len(gaps) ** 0.5


LIKELY = {
    "00 epoch": [
        (1437 / 32, "round down"),
        (45, "round down"),
        (12, "1437 images"),
        (1437, "each update sees 32"),
    ],
    "00 search": [
        (0.1, "Larger"),
        (1.05, "Larger"),
        (8, "Smaller"),
        (1e9, "Smaller"),
        (1, "to beat"),
        (float("inf"), "above zero"),
    ],
    "01 open": [
        (0.01, "Two things are asked for"),
        ((lambda t: 0.00195, 1.0), "below 1"),
        ((lambda t: -0.01, 0.9), "At t = 0 the rate is -0.01"),
        ((lambda t: 0.00195, 0.0), "It leaves 1.000 times the loss"),
        ((lambda t: 0.01, 0.0), "A walk diverged at step"),
    ],
    "01 repair": [
        (heavy_ball(at_once=False), "at which place"),
        (heavy_ball(keep=False), "no effect yet"),
        (heavy_ball(sign=1), "is -1 times the right one"),
        (heavy_ball(weight=0.2), "is 0.2 times the right one"),
        (heavy_ball(share=0.2), "30 steps end elsewhere"),
        (lambda *a: None, "x and y"),
    ],
    "02 open": [
        (0.005, "A function is asked for"),
        (lambda t: -0.005, "At t = 0 the rate is -0.005"),
        (lambda t: 0.0, "nothing is learned"),
    ],
    "02 repair": [
        (lambda *a: ranged(*a, keep=False), "changed afterwards"),
        (lambda *a: ranged(*a, fresh=False), "looks at 1"),
        (lambda *a: ranged(*a, share=1), "the lowest point itself"),
        (lambda *a: ranged(*a, share=0.1), "It suggests"),
        (lambda *a: None, "A single rate"),
    ],
    "03 open": [(lambda t: 0.0, "nothing is learned"), (0.0052, "A function is asked for")],
    "03 repair": [
        (lambda *a: [], "0 updates"),
        (lambda *a: in_pieces(*a, per_update=False), "once per what"),
        (lambda *a: in_pieces(*a, early=True), "is first"),
        (lambda *a: in_pieces(*a, late=True), "ones it returns"),
        (lambda *a: in_pieces(*a, share=False), "that of the mean"),
        (lambda *a: in_pieces(*a, clear=False), "cleared"),
    ],
    "04 open": [
        (0.01, "A function is asked for"),
        (lambda t: -0.01, "At t = 0 the rate is -0.01"),
        (lambda t: 0.01 if t < 7 else float("nan"), "At t = 7 the rate is nan"),
        (lambda t: 0.0, "nothing is learned"),
    ],
    "04 repair": [
        (lambda o, e, n: MultiStepLR(o, [e / 2 + 0.1, 3 * e / 4 + 0.1]), "whole number"),
        (lambda o, e, n: MultiStepLR(o, [e // 2, 3 * e // 4]), "does the loop count"),
        (lambda o, e, n: MultiStepLR(o, [e * n // 2, *[3 * e * n // 4] * 2]), "given twice"),
        (lambda o, e, n: MultiStepLR(o, [e * n // 2, 7 * e * n // 8]), "come at updates"),
        (lambda o, e, n: StepLR(o, e * n // 2), "only once"),
    ],
    "05 open": [
        (0.01, "A function is asked for"),
        (lambda t: 0.01 if t < 499 else -0.01, "At t = 499 the rate is -0.01"),
        (lambda t: 0.0, "nothing is learned"),
    ],
    "05 repair": [
        (lambda o, e, n: LinearLR(o, 0.1, total_iters=e * n), "rises"),
        (lambda o, e, n: LinearLR(o, 1.0, 0.1, e), "no longer changes"),
        (lambda o, e, n: LinearLR(o, 1.0, 0.0, e * n), "is left"),
        (lambda o, e, n: LinearLR(o, 0.9, 0.1, e * n), "first update"),
        (lambda o, e, n: None, "a scheduler"),
    ],
    "06 open": [
        (0.012, "A function is asked for"),
        (lambda t: 0.012 * (2000 - t) / 2000, "At t = 1 the rate is 0.01199, and that update"),
        (lambda t: 0.012 * Cosine(1000)(t) if t < 500 else -1.0, "At t = 500 the rate is -1"),
    ],
    "06 repair": [
        (lambda o, e, n, w: warm_cosine(o, w, e, e), "in which unit"),
        (lambda o, e, n, w: warm_cosine(o, w, w, e), "climbs again"),
        (lambda o, e, n, w: warm_cosine(o, w, w, e * n - w), "which eta_min"),
    ],
    "09 open": [
        (0.0144, "A function is asked for"),
        (lambda t: 0.0144 if t < 999 else -1e-5, "At t = 999 the rate is -1e-05"),
        (lambda t: 0.0, "nothing is learned"),
    ],
    "09 repair": [
        (lambda o, w, n: warm_cosine(o, 5, n - w, n), "the rise is wrong"),
        (lambda o, w, n: warm_cosine(o, w, n - w, n - w), "stays at the peak"),
        (lambda o, w, n: warm_cosine(o, w, w, n), "it ends at"),
        (lambda o, w, n: warm_cosine(o, w + 3, w, n - w), "the rise is wrong"),
    ],
    "10 open": [
        (0.01, "A function is asked for"),
        (lambda model, batches, updates: None, "it must return the model"),
        (lambda model, batches, updates: [batches(0) for _ in range(2001)], "more than 2000"),
    ],
    "10 repair": [
        (lambda *a: [1, 2], "three scores"),
        (lambda *a: [1, 2, 3], "30 updates"),
        (lambda *a: freely(*a, at_y=True), "weights that gradients are taken at"),
        (lambda *a: freely(*a, left=False), "In which mode"),
        (lambda *a: freely(*a, both=False), "modes of its own"),
    ],
    "11 open": [
        (0.0411, "A function is asked for"),
        (lambda t: 0.0411 * (1 - t / 600), "0.0411 or more: 1, and at least ten"),
        (lambda t: 0.03 if t < 599 else -1e-5, "At t = 599 the rate is -1e-05"),
        (lambda t: 0.0, "nothing is learned"),
    ],
    "11 repair": [
        (lambda o, p, w, c: LinearLR(o, 1e-6, total_iters=w), "rate or a factor"),
        (lambda o, p, w, c: LinearLR(o, 1e-6 / p, total_iters=2 * w), "rise is wrong"),
        (lambda o, p, w, c: LinearLR(o, 1e-6 / p, total_iters=w), "never cut"),
        (lambda o, p, w, c: None, "raised"),
    ],
    "12 open": [
        (0.01, "A function is asked for"),
        (lambda t: 0.01275, "the first 800 updates are made"),
        (lambda t: noam_tail(t) if t < 900 else -0.01, "At t = 900 the rate is -0.01"),
        (lambda t: 0.5 * noam_tail(t), "At t = 0 the rate is"),
    ],
    "12 repair": [
        (lambda *a: with_noam(*a, first=0), "ZeroDivisionError"),
        (lambda *a: with_noam(*a, first=0, least=1), "The first two updates"),
        (lambda *a: with_noam(*a, late=True), "one update late"),
        (lambda *a: with_noam(*a, lr=0.125), "0.125 times"),
        (lambda *a: with_noam(*a, power=-0.5), "update 0 runs at"),
        (lambda *a: None, "two things"),
    ],
    "13 open": [
        (0.01, "A function is asked for"),
        (lambda t: 0.01 if t < 999 else -1e-5, "At t = 999 the rate is -1e-05"),
        (lambda t: 0.0, "nothing is learned"),
    ],
    "13 repair": [
        (lambda *a: fitted(*a, per_update=False), "was planned"),
        (lambda *a: fitted(*a, early=False), "The limit is 0.1"),
        (lambda *a: fitted(*a, shift=0), "asked to guess"),
        (lambda *a: None, "makes 0 updates"),
    ],
    "14 open": [
        (0.01, "A function is asked for"),
        (lambda t: 0.01, "a warmup in a straight line"),
        (lambda t: 0.01 * min(t / 100, 1, (1000 - t) / 700), "At t = 30"),
        (lambda t: 0.01 * min(t / 100, 1) if t < 900 else -1, "At t = 900 the rate is -1"),
    ],
    "14 repair": [
        (branch(lambda m, o: (copy.deepcopy(m), copy.deepcopy(o))), "not moved at all"),
        (branch(lambda m, o: (m, o)), "another model"),
        (branch(clock=0), "never falls"),
        (branch(clock=0, first=0), "never falls"),
        (branch(first=0), "has seen"),
        (branch(fresh), "other weights"),
    ],
    "15 open": [
        (0.01, "A function is asked for"),
        (lambda t: 0.0, "nothing is learned"),
        (lambda t: -0.001, "At t = 0 the rate is -0.001"),
    ],
    "15 repair": [
        (lora(fresh=False), "whose weights were updated"),
        (lora(fresh=False, updates=False), "whose weights were updated"),
        (lora(updates=False), "What does the length of the plan count"),
        (lora(frozen=False), "base's own weights have moved"),
        (lora(early=True), "24 minibatches in fours are 6"),
        (lambda *a: None, "must return the model"),
    ],
    "16 open": [
        (0.02, "A function is asked for"),
        (lambda t: 0.02 if t < 499 else -1, "At t = 499 the rate is -1"),
    ],
    "16 repair": [
        (carried(zeros=False), "it gives nan"),
        (carried(forward=True), "add up"),
        (carried(over=True), "upside down"),
        (lambda peak, old, new: peak * new, "of shape"),
    ],
    "17 open": [
        (0.02, "A function is asked for"),
        (lambda t: 0.02 if t < 124 else -1, "At t = 124 the rate is -1"),
    ],
    "17 repair": [
        (lambda m, o, s, b, k, n: accumulated(m, o, lambda t: s(4 * t), b, k, n), "count"),
        (lambda *a: accumulated(*a, share=False), "What adds up?"),
        (lambda *a: accumulated(*a, keep=False), "Only one piece"),
        (lambda *a: accumulated(*a, keep=False, last=False), "Only one piece"),
        (lambda *a: accumulated(*a, last=False), "after a single piece"),
        (lambda *a: None, "makes 0 updates"),
    ],
    "18 open": [
        (lambda log: "large", "It finds 1 of 16, and nine are asked for"),
        (lambda log: "rate", "it must return one of order"),
        (lambda log: log["nothing"], "KeyError"),
    ],
    "18 repair": [
        (fit(T_max=60), "the plan says"),
        (fit(clip=0), "what is clipped, when"),
        (fit(clip=1), "what is clipped, when"),
        (fit(note=0), "It reports"),
        (fit(limit=0.5), "what is clipped, when"),
        (lambda *a: fit()(*a)[:-1], "the rate of each: 60 made"),
        (lambda model, optimizer, batches, steps, limit: [], "each: 0 made"),
    ],
    "08 open": [
        (0.01, "A dictionary is asked for"),
        ({"windows": 64, "every": 20}, "peak is None"),
        ({"peak": 0.01, "windows": 64.0, "every": 20}, "windows is 64.0"),
        ({"peak": 0.01, "windows": 64, "every": 30}, "divides 2000"),
        ({"peak": 0.01, "windows": 64, "every": 20}, "It reads 6400 windows"),
        ({"peak": 0.01, "windows": 3200, "every": 1000}, "2048 at most"),
        ({"peak": 0.01, "windows": 64, "every": 200, "factor": 2}, "does not take"),
    ],
    "08 repair": [
        (lambda model, optimizer, batches, validate, epochs: [], "0 updates"),
        (lambda *a: train_listening(*a, per_batch=True), "within an epoch"),
        (lambda *a: train_listening(*a, mode="max"), "was falling"),
        (lambda *a: train_listening(*a, heed=False), "never hears"),
        (lambda *a: train_listening(*a, patience=3), "wrong epochs"),
    ],
    "07 open": [
        (0.01, "A function is asked for"),
        (lambda t: 0.01 if t < 1199 else -0.01, "At t = 1199 the rate is -0.01"),
        (lambda t: 0.0, "nothing is learned"),
        (lambda t: 0.0137 * (1 - t / 1200), "goes up again 0 times"),
        (lambda t: 0.01 * (1 - t % 600 / 600), "goes up again 1 times"),
        (lambda t: 0.01 * (0.25 + 0.75 * abs(1 - t % 300 / 150)), "goes up again 0 times"),
    ],
    "07 repair": [
        (lambda o, loader, k, n, peak: OneCycleLR(o, 0.01, total_steps=n), "dies before its end"),
        (lambda o, loader, k, n, peak: OneCycleLR(o, peak, total_steps=n * len(loader)), "longer"),
        (lambda o, loader, k, n, peak: OneCycleLR(o, peak, total_steps=n * 4), "dies before"),
        (lambda o, loader, k, n, peak: OneCycleLR(o, 0.01, total_steps=n * 5), "highest rate"),
        (lambda o, loader, k, n, peak: OneCycleLR(o, peak, total_steps=n * 5), "momentum was"),
        (lambda *a: StepLR(a[0], 3), "return a OneCycleLR"),
    ],
    "19 repair": [
        (lambda *a: reported(*a, drop=True), "one run diverged"),
        (lambda *a: reported(*a, own="open", rival="open"), "also give its figure"),
        (lambda *a: reported(*a, own="open"), "same seeds"),
        (lambda *a: reported(*a)[0], "winner, mean, standard error"),
    ],
    "19 open": [
        (0.01, "A function is asked for"),
        (lambda t: 0.01 * (1 - t / 2000), "At t = 2001 the rate is"),
    ],
}


def test_each_exercise_is_tried_with_likely_answers():
    assert set(LIKELY) == set(exercises.names())


@pytest.mark.parametrize(("name", "answer", "word"), [(n, *c) for n in LIKELY for c in LIKELY[n]])
def test_likely_wrong_answers_get_a_hint(name, answer, word, capsys):
    exercises.check(name, answer)
    out = capsys.readouterr().out
    assert out.startswith(f"✘ {name}: not yet.") and word in out


def test_check_knows_its_names_and_waits_for_an_answer(capsys):
    exercises.check("02 repair", ...)
    assert capsys.readouterr().out.startswith("☐ 02 repair")
    with pytest.raises(
        ValueError, match="no exercise is called '06 let'; there are 06 open, 06 repair"
    ):
        exercises.check("06 let", 1)
    for name in ("floor", "99 floor", "", 6, "02_floor", "06"):
        with pytest.raises(ValueError, match=f"no exercise is called {name!r}; there are 0"):
            exercises.check(name, 1)


ONE_CHAPTER = """
import sys
from lrcourse.exercises import check
check("06 open", ...)
print(sorted(name for name in sys.modules if "exercises.chapter" in name or ".chapters" in name))
"""


def test_a_check_loads_the_checks_of_its_chapter_alone():
    done = subprocess.run([sys.executable, "-c", ONE_CHAPTER], capture_output=True, text=True)
    assert done.stdout.splitlines()[1:] == ["['lrcourse.exercises.chapter_06']"], done.stderr
