"""Claims fail when false, exercises reject wrong answers, figures carry their words."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from lrcourse import exercises, machine, plots
from lrcourse.evidence import ClaimError, claim, measured, myth, paired
from lrcourse.exercises import engine
from lrcourse.landscapes import Quadratic
from lrcourse.schedules import Cosine, Linear
from lrcourse.training import Run

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def test_claims_print_or_raise(capsys):
    claim("One is less than two", np.bool_(True), gap=1.23456)
    myth("One is two", false_because=True)
    assert capsys.readouterr().out == (
        "✔ One is less than two  [measured: gap = 1.235]\n✔ Myth refuted: “One is two”\n"
    )
    with pytest.raises(ClaimError, match="does not hold in this run: Two is one"):
        claim("Two is one", False)
    with pytest.raises(ClaimError, match="does not contradict"):
        myth("All is well", false_because=False)


@pytest.mark.parametrize("condition", [np.array([True, False]), "yes", (True,), 1, None])
def test_a_claim_that_could_not_fail_is_refused(condition):
    with pytest.raises(TypeError, match="one True or False"):
        claim("Text", condition)
    with pytest.raises(TypeError, match="one True or False"):
        myth("Text", false_because=condition)


def test_what_is_measured_is_masked_from_the_comparison():
    """Whatever is printed as measured, the mask that nbval uses removes it whole."""
    config = (NOTEBOOKS.parent / "tests" / "nbval_sanitize.cfg").read_text()
    mask = re.compile(re.search(r"regex:\s*(.+)", config).group(1))
    for value in (1e-9, np.float32(2), "a [b] c", [1.0, [2, 3]], paired([1, 2], [1, 3]), None):
        assert mask.sub("", f"✔ x  {measured(value=value)}!") == "✔ x  !"
    with pytest.raises(ValueError, match="at least one figure"):
        measured()
    with pytest.raises(ValueError, match="one line"):
        claim("two\nlines", True)


def test_paired_is_the_t_statistic():
    from scipy.stats import ttest_rel

    a, b = np.random.default_rng(0).normal(size=(2, 9))
    difference = paired(a, b)
    assert difference.sigmas == pytest.approx(ttest_rel(a, b).statistic)
    assert paired([1, 2], [0, 1]).sigmas == np.inf
    assert np.isnan(paired([1, 2], [1, 2]).sigmas)
    for bad in (([1], [1]), ([1, 2], [1, 2, 3]), ([1, np.nan], [1, 2])):
        with pytest.raises(ValueError):
            paired(*bad)


def used_exercises():
    """Names of the exercises that chapters use, from their sources."""
    names = set()
    for source in NOTEBOOKS.glob("source/*.md"):
        names |= set(re.findall(r'check\("([^"]+)"', source.read_text(encoding="utf-8")))
    return names


def test_every_exercise_is_used_and_known():
    assert used_exercises() == set(exercises.names()) - {"demo"}


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


def warm_cosine(optimizer, rise, milestone, fall):
    """A warmup from a tenth and a cosine, each number at will: the seams of chapter 09."""
    parts = [LinearLR(optimizer, 0.1, total_iters=rise), CosineAnnealingLR(optimizer, fall)]
    return SequentialLR(optimizer, parts, [milestone])


def longer_cosine(saved, make_optimizer, total, T_max):
    """A resumed cosine whose T_max is set again after loading, or not at all (None)."""
    optimizer = make_optimizer()
    scheduler = CosineAnnealingLR(optimizer, total)
    optimizer.load_state_dict(saved["optimizer"])
    scheduler.load_state_dict(saved["scheduler"])
    scheduler.T_max = T_max or scheduler.T_max
    return optimizer, scheduler


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
LIKELY = {
    "00 best": [(30, "row"), (0.003, "row")],
    "00 epoch": [(1437 / 32, "round down"), (1437, "round down"), (45, "round down")],
    "00 your rate": [
        (0.01, "Larger"),
        (20, "Smaller"),
        (1e9, "left all bounds"),
        (1, "above already"),
    ],
    "01 update": [((1.6, -2.4), "uphill"), ((0.9, -1.8), "not the point"), (0.4, "Two numbers")],
    "01 cliff": [(0.4, "second derivative"), (0.1, "That is 1/L"), (20, "2/L")],
    "01 descent": [(lambda slope, x, rate, n: x - rate * slope(x), "wrong place"), (1, "brackets")],
    "01 momentum": [(lambda slope, x, rate, beta, n: x, "wrong place")],
    "01 centre": [(1.0, "Old curvature"), (1 / 11.44, "upside down")],
    "02 floor": [(0.4 * 8, "proportional"), (0.1, "two"), (0.4, "proportional")],
    "02 edge": [(0.125, "settle"), (4, "two")],
    "02 fate": [(lambda loss: "learn", "called"), (lambda loss: "Learn", "called")],
    "02 next": [(0.5, "bracketed"), (1, "bracketed"), (0.01, "side of the table")],
    "03 clock": [(0.4, "How often"), (0.4 * 0.1 ** (130 // 3), "How often"), (0.004, "ten")],
    "03 horizon": [(36000, "minibatches"), (1200 // 8, "one epoch"), (4000, "whole run")],
    "03 factor": [(lambda t: t / 20, "At t = 0"), (lambda t: "one", "could not convert")],
    "03 repair": [(lambda *a: [], "0 updates")],
    "03 resume": [(lambda saved, model, o, s: None, "two things")],
    "04 ticks": [(40, "Does the run"), (31, "At which update")],
    "04 milestones": [
        ([10, 20, 50], "lengths"),
        ([10, 30, 80], "does the loop count"),
        ([250, 500, 1250], "second cut"),
        ([250.0, 750.5, 2000.0], "Update 750"),
        (250, "A list"),
    ],
    "04 wait": [(np.log(10) / 60, "the square"), (0.5, "60 updates")],
    "04 stairs": [
        (lambda rates, lengths: rates, "function of t"),
        (lambda rates, lengths: lambda t: rates[0], "a factor"),
        (lambda rates, lengths: lambda t: 1.0, "update 50"),
    ],
    "04 repair": [
        (lambda o, e, n: MultiStepLR(o, [e / 2 + 0.1, 3 * e / 4 + 0.1]), "whole number"),
        (lambda o, e, n: MultiStepLR(o, [e // 2, 3 * e // 4]), "does the loop count"),
        (lambda o, e, n: MultiStepLR(o, [e * n // 2, *[3 * e * n // 4] * 2]), "given twice"),
        (lambda o, e, n: MultiStepLR(o, [e * n // 2, 7 * e * n // 8]), "come at updates"),
        (lambda o, e, n: StepLR(o, e * n // 2), "only once"),
    ],
    "05 gamma": [(0.94, "leaves"), (0.94 ** (1 / 500), "leaves 0.884"), (1.2, "between 0 and 1")],
    "05 reach": [(20, "never arrives"), (5, "rate × slope"), (150, "ten"), ("far", "number")],
    "05 factor": [
        (lambda t: (1 - t / 80) ** 3, "At t = 80"),
        (lambda t: 0.05 + 0.95 * (1 - t / 80) ** 3, "At t = 81"),
    ],
    "05 repair": [
        (lambda o, e, n: LinearLR(o, 0.1, total_iters=e * n), "rises"),
        (lambda o, e, n: LinearLR(o, 1.0, 0.1, e), "no longer changes"),
        (lambda o, e, n: LinearLR(o, 1.0, 0.0, e * n), "is left"),
        (lambda o, e, n: LinearLR(o, 0.9, 0.1, e * n), "first update"),
        (lambda o, e, n: None, "a scheduler"),
    ],
    "06 left": [(0.0955, "share of the peak"), (8e-5, "straight line"), (3.8e-4, "factor of ten")],
    "06 bottom": [(310, "not the last one"), (1000, "Add up"), (1270, "Add up")],
    "06 land": [
        (Cosine(3000), "the old cosine"),
        (Cosine(4000), "At t = 2525"),
        (Cosine(4000).take(2500) >> Linear(1, 0, 500), "jumps back"),
    ],
    "06 repair": [
        (lambda o, e, n, w: warm_cosine(o, w, e, e), "in which unit"),
        (lambda o, e, n, w: warm_cosine(o, w, w, e), "climbs again"),
        (lambda o, e, n, w: warm_cosine(o, w, w, e * n - w), "which eta_min"),
    ],
    "06 extend": [
        (lambda saved, make, total: longer_cosine(saved, make, total, None), "then climbs"),
        (lambda saved, make, total: longer_cosine(saved, make, total, 2 * total), "still"),
        (lambda saved, make, total: make(), "two things"),
    ],
    "09 slope": [(0.8, "over how many"), (-0.8 / 60, "without a sign"), (0.8 / 90, "How much")],
    "09 lengths": [
        ((10_000, 10_000), "keras"),
        ((9_500, 9_500), "transformers"),
        (9_500, "Two numbers"),
    ],
    "09 line": [
        (lambda t: min(1, t / 50), "in the rise"),
        (lambda t: min(1, 0.1 + 0.9 * t / 50), "in the cosine"),
    ],
    "09 repair": [
        (lambda o, w, n: warm_cosine(o, 5, n - w, n), "the rise is wrong"),
        (lambda o, w, n: warm_cosine(o, w, n - w, n - w), "stays at the peak"),
        (lambda o, w, n: warm_cosine(o, w, w, n), "it ends at"),
        (lambda o, w, n: warm_cosine(o, w + 3, w, n - w), "the rise is wrong"),
    ],
    "09 thaw": [
        (lambda n: [lambda t: min(1, t / 20)] * n, "Of 3 parts, number 0"),
        (lambda n: [], "a list of 1"),
    ],
    "10 first": [(0.001, "Adam's"), (0.005, "SGD's"), (0.01, "alpha = 0.99")],
    "10 window": [(0.0003 * 0.1, "upside down"), (3333, "ten"), (10, "forget")],
    "10 mean": [(lambda t: 1 - t / 1000, "In how many"), (lambda t: t < 700, "At t = 700")],
    "10 adam": [
        (lambda w, g, seen, t, rate: w - 3 * rate * g / abs(g), "common weight"),
        (lambda w, g, seen, t, rate: None, "new weights"),
    ],
    "10 modes": [(lambda *a: [1, 2], "three scores"), (lambda *a: [1, 2, 3], "30 updates")],
    "08 first cut": [(4, "second bad epoch"), (8, "By how much"), (6, "row by row")],
    "08 clock": [(5000, "still borne"), (5500, "first value"), (12, "How many evaluations")],
    "08 likelihood": [
        ({}, "stands at -2 is never cut"),
        ({"mode": "max", "patience": 3}, "stands at -2 is never cut"),
        ({"threshold_mode": "abs", "patience": 3}, "slowly falls is never cut"),
        ({"mode": "max", "threshold_mode": "abs"}, "at value 12"),
    ],
    "08 race": [(12, "same value"), (11, "just before"), (10, "cooldown")],
    "08 repair": [
        (lambda model, optimizer, batches, validate, epochs: [], "0 updates"),
        (lambda *a: train_listening(*a, per_batch=True), "within an epoch"),
        (lambda *a: train_listening(*a, mode="max"), "was falling"),
        (lambda *a: train_listening(*a, heed=False), "never hears"),
        (lambda *a: train_listening(*a, patience=3), "wrong epochs"),
    ],
    "02 ramp": [
        (lambda low, high, n: (high - low) / n, "gets to"),
        (lambda low, high, n: (high / low) / n, "gets to"),
    ],
    "07 peak": [(150, "number 0"), (3, "epochs"), (300, "What share")],
    "07 height": [
        (0.017 / 4, "not the rate"),
        (0.004, "stands on the base"),
        (0.009, "Which cycle"),
        (0.017, "first cycle"),
        (0.003, "whole height"),
    ],
    "07 scale": [
        (lambda cycle: 1 / (cycle + 1), "cycle 1 has the height 0.5"),
        (lambda cycle: 0.5 ** (cycle - 1), "cycle 3"),
        (lambda cycle: 1 / (cycle - 1), "ZeroDivisionError"),
    ],
    "07 repair": [
        (lambda o, loader, k, n, peak: OneCycleLR(o, 0.01, total_steps=n), "dies before its end"),
        (lambda o, loader, k, n, peak: OneCycleLR(o, peak, total_steps=n * len(loader)), "longer"),
        (lambda o, loader, k, n, peak: OneCycleLR(o, peak, total_steps=n * 4), "dies before"),
        (lambda o, loader, k, n, peak: OneCycleLR(o, 0.01, total_steps=n * 5), "highest rate"),
        (lambda o, loader, k, n, peak: OneCycleLR(o, peak, total_steps=n * 5), "momentum was"),
        (lambda *a: StepLR(a[0], 3), "return a OneCycleLR"),
    ],
}


def test_each_exercise_is_tried_with_likely_answers():
    assert set(LIKELY) == set(exercises.names()) - {"demo"}


@pytest.mark.parametrize(("name", "answer", "word"), [(n, *c) for n in LIKELY for c in LIKELY[n]])
def test_likely_wrong_answers_get_a_hint(name, answer, word, capsys):
    exercises.check(name, answer)
    out = capsys.readouterr().out
    assert out.startswith(f"✘ {name}: not yet.") and word in out


def test_check_knows_its_names_and_waits_for_an_answer(capsys):
    exercises.check("demo", ...)
    assert capsys.readouterr().out.startswith("☐ demo")
    with pytest.raises(ValueError, match="no exercise is called 'dmeo'"):
        exercises.check("dmeo", 1)
    with pytest.raises(ValueError, match="defined twice"):
        engine.exercise("demo")(lambda answer: None)


def a_run(diverged_at=None):
    loss = np.array([3.0, 2.0, 50.0, np.nan])[: None if diverged_at is None else diverged_at + 1]
    rate = np.full((len(loss), 1), 0.1)
    return Run(loss, rate, loss, loss, diverged_at=diverged_at)


def pictures():
    alt = "Words that say what is seen."
    bowl, box = Quadratic([1.0, 4.0]), {"x": (-1, 1), "y": (-1, 1)}
    frame = pd.DataFrame(
        {"peak": [0.1, 0.1, 1.0, 1.0, 10.0, 10.0], "loss": [3, 4, 1, 1, 2, np.nan]}
    )
    return {
        "lines": plots.lines(
            {"a": [1, 2], "b": ([0, 9], [3, 1])},
            x="x",
            y="y",
            alt=alt,
            log="y",
            rates={"a": [1, 1]},
            across={"1": 1},
            down={"2": 2},
        ),
        "bands": plots.bands({"a": np.random.default_rng(0).random((5, 9))}, x="x", y="y", alt=alt),
        "training": plots.training({"a": a_run(), "b": a_run(2), "c": a_run(3)}, alt=alt, smooth=2),
        "u_curve": plots.u_curve(frame, y="loss", alt=alt),
        "terrain": plots.terrain(bowl, alt=alt, path=[[1, 1], [0, 0]], **box),
        "contours": plots.contours(
            bowl, {"a": [[1, 1], [0, 0]], "b": [[1, 0]]}, alt=alt, minimum=(0, 0), **box
        ),
        "readings": plots.readings(np.ones((2, 8, 8)), [1, 2], {"a": [1, 1]}, alt=alt),
    }


def test_every_figure_is_drawn_with_its_words_and_the_same_bytes_twice():
    first, second = pictures(), pictures()
    assert set(first) == set(plots.__all__) - {"Picture"}
    for name, picture in first.items():
        assert picture.png() == second[name].png(), name
        data, metadata = picture._repr_mimebundle_()
        assert data["text/plain"] == metadata["image/png"]["alt"] == "Words that say what is seen."
        assert json.dumps(data) and picture.png().startswith(b"\x89PNG")
        assert b"matplotlib" not in picture.png().lower()
        assert isinstance(picture.figure, Figure)


def test_a_diverged_run_is_marked_in_its_figure():
    axes = plots.training({"b": a_run(2)}, alt="One run that leaves all bounds.").figure.axes[0]
    assert "X" in [line.get_marker() for line in axes.lines]
    assert axes.lines[0].get_label() == "b (diverged at 2)"


def test_curves_differ_without_colour():
    curves = {str(i): [i, i] for i in range(7)}
    axes = plots.lines(curves, x="x", y="y", alt="Seven flat lines here.").figure.axes[0]
    assert len({str(line._dash_pattern) for line in axes.lines}) == 7


def test_figures_without_words_or_with_bad_arguments_are_refused():
    good = {"x": "x", "y": "y", "alt": "Words that say enough."}
    for bad, match in (
        ({"alt": "plot"}, "alt must say in words"),
        ({"log": "z"}, "log must be"),
        ({"curves": {}}, "curves must map"),
        ({"curves": {"a": ([1, 2], [1, 2, 3])}}, "x and values of one length"),
    ):
        with pytest.raises(ValueError, match=match):
            plots.lines(**({"curves": {"a": [1, 2]}} | good | bad))


def test_the_machine_is_judged_in_words(monkeypatch):
    from importlib import metadata

    needs = ["torch>=99", "numpy>=2,<3", "no-such-package>1", 'other; sys_platform == "none"']
    monkeypatch.setattr(metadata, "requires", lambda name: needs)
    monkeypatch.setattr(metadata, "metadata", lambda name: {"Requires-Python": ">=3.99"})
    monkeypatch.setattr(machine, "MEMORY", 1e9)
    found = machine.problems()
    assert [text.split()[0] for text in found] == ["Python", "torch", "The", "Only"]
    assert "Run: python3 course.py lab" in found[2]

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    assert len(machine.problems()) == 1 and "not installed" in machine.problems()[0]
