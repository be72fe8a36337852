"""Our schedules equal those of transformers and Keras, but for the differences that are listed."""

import ast
import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch.optim import Optimizer, lr_scheduler, swa_utils
from torch.optim import lr_scheduler as lrs

from lrcourse import schedules
from lrcourse.chapters import conventions
from lrcourse.chapters.conventions import (
    DIFFERENCES,
    PHRASES,
    WARMUP_THEN_COSINE,
    Disagreement,
    from_keras,
    from_nanogpt,
    from_transformers,
    habits,
)
from lrcourse.schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    InverseTime,
    Linear,
    OneMinusSqrt,
    Plateau,
    Polynomial,
    Schedule,
    Step,
    Warmup,
    recorded,
    values,
)

drawn = settings(max_examples=25)
lengths = st.integers(1, 40)
warmups = st.integers(0, 20)
factors = st.floats(0, 1)
powers = st.floats(0.3, 4)
rates = st.floats(1e-3, 10)


def equal(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def said(library: str, name: str, **letters: Any) -> Schedule:
    """Our schedule, by the phrase that stands for theirs."""
    return eval(PHRASES[library][name], vars(schedules) | letters)


# ----------------------------------------------------------------------------------- transformers
# A row draws parameters, and gives our schedule and their factors: past the end of the run too,
# wherever the two agree there.

Row = tuple[Schedule, np.ndarray]


def constant(draw: Any) -> Row:
    return said("transformers", "constant"), from_transformers(30, "constant")


def constant_with_warmup(draw: Any) -> Row:
    W = draw(warmups)
    ours = said("transformers", "constant_with_warmup", W=W)
    return ours, from_transformers(40, "constant_with_warmup", W)


def linear(draw: Any) -> Row:
    W, n = draw(warmups), draw(lengths)
    ours = said("transformers", "linear", W=W, N=W + n)
    return ours, from_transformers(W + n + 20, "linear", W, W + n)


def cosine(draw: Any) -> Row:
    W, n = draw(warmups), draw(lengths)
    ours = said("transformers", "cosine", W=W, N=W + n)
    return ours, from_transformers(W + n + 1, "cosine", W, W + n)


def waves(draw: Any) -> Row:
    W, n, k = draw(warmups), draw(lengths), draw(st.integers(1, 5))  # k half waves
    ours = Warmup(W)
    for i in range(k):
        ours = ours >> (Cosine(n, 1, 0) if i % 2 else Cosine(n))
    theirs = from_transformers(W + k * n + 1, "cosine", W, W + k * n, num_cycles=k / 2)
    return ours, theirs


def cosine_with_min_lr(draw: Any) -> Row:
    W, n, end = draw(warmups), draw(lengths), draw(factors)
    ours = said("transformers", "cosine_with_min_lr", W=W, N=W + n, end=end)
    lr = draw(rates)
    floor = {"min_lr_rate": end} if draw(st.booleans()) else {"min_lr": end * lr}
    theirs = from_transformers(W + n + 1, "cosine_with_min_lr", W, W + n, lr, **floor)
    return ours, theirs / lr


def cosine_warmup_with_min_lr(draw: Any) -> Row:
    W, n, end = draw(st.integers(1, 20)), draw(lengths), draw(factors)
    ours = said("transformers", "cosine_warmup_with_min_lr", W=W, N=W + n, end=end)
    name = "cosine_warmup_with_min_lr"
    return ours, from_transformers(W + n, name, W, W + n, min_lr_rate=end)


def cosine_warmup_with_a_first_rate(draw: Any) -> Row:
    W, n, start = draw(st.integers(2, 20)), draw(lengths), draw(factors)
    rest = {"min_lr_rate": 0.1, "warmup_lr_rate": start}
    theirs = from_transformers(W + n, "cosine_warmup_with_min_lr", W, W + n, **rest)
    return Warmup(W - 1, start) >> Cosine(n, 0.1), theirs


def cosine_with_restarts(draw: Any) -> Row:
    W, n, k = draw(warmups), draw(lengths), draw(st.integers(1, 20))  # from 22 on it misses some
    ours = said("transformers", "cosine_with_restarts", W=W, N=W + k * n, k=k)
    theirs = from_transformers(W + k * n + 20, "cosine_with_restarts", W, W + k * n, num_cycles=k)
    return ours, theirs


def polynomial(draw: Any) -> Row:
    W, n, end, power = draw(warmups), draw(lengths), draw(st.floats(0, 0.9)), draw(powers)
    lr, ours = draw(rates), said("transformers", "polynomial", W=W, N=W + n, end=end, power=power)
    rest = {"lr_end": end * lr, "power": power}
    theirs = from_transformers(W + n + 20, "polynomial", W, W + n, lr, **rest)
    return ours, theirs / lr


def inverse_sqrt(draw: Any) -> Row:
    W = draw(st.integers(1, 20))
    return said("transformers", "inverse_sqrt", W=W), from_transformers(100, "inverse_sqrt", W)


def warmup_stable_decay(draw: Any) -> Row:
    W, n, D, end = draw(warmups), draw(warmups), draw(st.integers(1, 20)), draw(factors)
    letters = {"W": W, "N": W + n + D, "D": D, "end": end}
    rest = {"num_decay_steps": D, "min_lr_ratio": end}
    theirs = from_transformers(W + n + D + 20, "warmup_stable_decay", W, W + n + D, **rest)
    return said("transformers", "warmup_stable_decay", **letters), theirs


def warmup_stable_decay_shapes(draw: Any) -> Row:
    W, n, D, end = draw(warmups), draw(warmups), draw(st.integers(1, 20)), draw(factors)
    up, down = draw(st.sampled_from(list(UP))), draw(st.sampled_from(list(DOWN)))
    rest = {"num_decay_steps": D, "min_lr_ratio": end, "warmup_type": up, "decay_type": down}
    theirs = from_transformers(W + n + D + 20, "warmup_stable_decay", W, W + n + D, **rest)
    return UP[up](W, end) >> Constant(1.0, n) >> DOWN[down](D, end), theirs


UP: dict[str, Callable[[int, float], Schedule]] = {
    "linear": Warmup,
    "cosine": lambda n, start: Cosine(n, 1, start),
    "1-sqrt": lambda n, start: Polynomial(start, 1, n, 0.5),
}
DOWN: dict[str, Callable[[int, float], Schedule]] = {
    "linear": lambda n, end: Linear(1, end, n),
    "cosine": Cosine,
    "1-sqrt": OneMinusSqrt,
}


# ------------------------------------------------------------------------------------------ Keras


def keras_cosine(draw: Any) -> Row:
    N, end = draw(lengths), draw(factors)
    ours = said("keras", "CosineDecay", W=0, start=0.0, N=N, end=end)
    return ours, from_keras(N + 20, "CosineDecay", 1.0, N, alpha=end)


def keras_cosine_with_warmup(draw: Any) -> Row:
    W, N, start, end, lr = draw(warmups), draw(lengths), draw(factors), draw(factors), draw(rates)
    ours = said("keras", "CosineDecay", W=W, start=start, N=N, end=end)
    rest = {"alpha": end, "warmup_target": lr, "warmup_steps": W}
    return ours, from_keras(W + N + 20, "CosineDecay", start * lr, N, **rest) / lr


def keras_restarts(draw: Any) -> Row:
    N, k, end = draw(lengths), draw(st.integers(1, 3)), draw(factors)
    ours = said("keras", "CosineDecayRestarts", N=N, k=k, end=end)
    theirs = from_keras(120, "CosineDecayRestarts", 1.0, N, t_mul=float(k), alpha=end)
    if k > 1:  # its logarithm may miss a restart by a hair, and where is the machine's affair
        at = np.flatnonzero(ours(np.arange(120)) == 1)
        assert all(np.isclose(theirs[t], (1, end)).any() for t in at)
        theirs[at] = 1
    return ours, theirs


def keras_restarts_that_shrink(draw: Any) -> Row:
    N, shrink, end = draw(st.integers(8, 40)), draw(factors), draw(factors)
    ours: Schedule = Constant(length=0)
    for i in range(20):
        ours = ours >> Cosine(N, end, end + (1 - end) * shrink**i)
    rest = {"t_mul": 1.0, "m_mul": shrink, "alpha": end}
    return ours, from_keras(120, "CosineDecayRestarts", 1.0, N, **rest)


def keras_exponential(draw: Any) -> Row:
    N, r = draw(lengths), draw(st.floats(0.1, 1.05))
    ours = said("keras", "ExponentialDecay", N=N, r=r)
    return ours, from_keras(100, "ExponentialDecay", 1.0, N, r)


def keras_exponential_staircase(draw: Any) -> Row:
    N, r = draw(lengths), draw(st.floats(0.1, 1.05))
    return Step(N, r), from_keras(100, "ExponentialDecay", 1.0, N, r, staircase=True)


def keras_inverse_time(draw: Any) -> Row:
    N, r = draw(lengths), draw(st.floats(0, 2))
    ours = said("keras", "InverseTimeDecay", N=N, r=r)
    equal(ours(np.arange(100)), InverseTime(r / N)(np.arange(100)))
    return ours, from_keras(100, "InverseTimeDecay", 1.0, N, r)


def keras_inverse_time_staircase(draw: Any) -> Row:
    N, r = draw(lengths), draw(st.floats(0, 2))
    ours: Schedule = Constant(length=0)
    for k in range(101):
        ours = ours >> Constant(InverseTime(r)(k), N)
    return ours, from_keras(100, "InverseTimeDecay", 1.0, N, r, staircase=True)


def keras_piecewise(draw: Any) -> Row:
    m, r = draw(warmups), draw(factors)
    ours = said("keras", "PiecewiseConstantDecay", m=m, r=r)
    return ours, from_keras(60, "PiecewiseConstantDecay", [m], [1.0, r])


def keras_many_pieces(draw: Any) -> Row:
    at = sorted(draw(st.sets(st.integers(0, 50), min_size=1, max_size=5)))
    heights = draw(st.lists(factors, min_size=len(at) + 1, max_size=len(at) + 1))
    ours: Schedule = Constant(length=0)
    for height, first, last in zip(heights, [-1, *at], [*at, 1000], strict=True):
        ours = ours >> Constant(height, last - first)
    return ours, from_keras(60, "PiecewiseConstantDecay", at, heights)


def keras_polynomial(draw: Any) -> Row:
    N, end, power, lr = draw(lengths), draw(factors), draw(powers), draw(rates)
    ours = said("keras", "PolynomialDecay", N=N, end=end, power=power)
    return ours, from_keras(N + 20, "PolynomialDecay", lr, N, end * lr, power) / lr


def keras_polynomial_cycles(draw: Any) -> Row:
    N, end, power = draw(st.integers(2, 40)), draw(factors), draw(powers)
    ours: Schedule = Constant(length=0)
    for i in range(1, 61):
        ours = ours >> Polynomial(end + (1 - end) * i**-power, end, N, power)
    theirs = from_keras(120, "PolynomialDecay", 1.0, N, end, power, cycle=True)
    assert_allclose(theirs[N::N], end, atol=1e-9)  # a listed difference: our cycle begins here
    theirs[N::N] = ours(np.arange(N, 120, N))
    return ours, theirs


# ------------------------------------------------------------------------------------- nanoGPT


def nanogpt(draw: Any) -> Row:
    W, n, end = draw(warmups), draw(lengths), draw(factors)
    ours = Linear(1 / (W + 1), 1, W) >> Cosine(n, end)
    return ours, from_nanogpt(W + n + 20, W, W + n, end)


TRANSFORMERS = [constant, constant_with_warmup, linear, cosine, waves, cosine_with_min_lr]
TRANSFORMERS += [cosine_warmup_with_min_lr, cosine_warmup_with_a_first_rate, cosine_with_restarts]
TRANSFORMERS += [polynomial, inverse_sqrt, warmup_stable_decay, warmup_stable_decay_shapes]
KERAS = [keras_cosine, keras_cosine_with_warmup, keras_restarts, keras_restarts_that_shrink]
KERAS += [keras_exponential, keras_exponential_staircase, keras_inverse_time]
KERAS += [keras_inverse_time_staircase, keras_piecewise, keras_many_pieces, keras_polynomial]
KERAS += [keras_polynomial_cycles]


@pytest.mark.parametrize("row", [*TRANSFORMERS, *KERAS, nanogpt], ids=lambda row: row.__name__)
@drawn
@given(data=st.data())
def test_equals_the_schedule_of_the_library(row: Callable[[Any], Row], data: Any) -> None:
    ours, theirs = row(data.draw)
    equal(values(ours, len(theirs)), theirs)


@drawn
@given(metrics=st.lists(st.integers(-4, 4), min_size=3, max_size=20), patience=st.integers(0, 3))
def test_the_plateau_of_transformers_is_ours(metrics: list[int], patience: int) -> None:
    from transformers import get_scheduler

    settings = {"patience": patience, "factor": 0.5, "eps": 0}
    made: list[Any] = []

    def make(optimizer: Optimizer) -> Any:
        name = "reduce_lr_on_plateau"
        made.append(get_scheduler(name, optimizer, scheduler_specific_kwargs=settings))
        heard = iter(metrics)
        return type("Listening", (), {"step": lambda self: made[0].step(next(heard))})()

    theirs = recorded(make, len(metrics) + 1, 1.0)
    assert isinstance(made[0], lrs.ReduceLROnPlateau)
    plateau = Plateau(patience=patience, factor=0.5)
    equal(np.array([1.0, *map(plateau.update, metrics)]), theirs)


# ---------------------------------------------------------------------------- nothing is forgotten


def test_every_schedule_of_transformers_is_considered() -> None:
    from transformers import SchedulerType

    listening = {"reduce_lr_on_plateau", "greedy"}  # to a metric: no schedule
    assert {*PHRASES["transformers"]} | listening == {kind.value for kind in SchedulerType}


def test_every_schedule_of_keras_is_considered() -> None:
    theirs = conventions._keras().optimizers.schedules
    found = {
        name
        for name, kind in inspect.getmembers(theirs, inspect.isclass)
        if issubclass(kind, theirs.LearningRateSchedule) and kind is not theirs.LearningRateSchedule
    }
    assert set(PHRASES["keras"]) == found


def test_every_phrase_is_run() -> None:
    """`said` is called, in some row, for each phrase there is."""
    calls = [
        node
        for node in ast.walk(ast.parse(Path(__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "said"
    ]
    names = [tuple(getattr(arg, "value", None) for arg in call.args[:2]) for call in calls]
    assert set(names) == {(library, name) for library in PHRASES for name in PHRASES[library]}


def test_every_scheduler_of_torch_is_compared() -> None:
    """Here or in test_schedules.py, each class is built on an optimizer at least once."""
    here = Path(__file__)
    text = "".join(
        path.read_text(encoding="utf-8") for path in (here, here.with_name("test_schedules.py"))
    )
    for module in (lr_scheduler, swa_utils):
        for name, kind in inspect.getmembers(module, inspect.isclass):
            public = not name.startswith("_") and name != "LRScheduler"
            if public and issubclass(kind, lrs.LRScheduler):
                assert f"lrs.{name}(" in text or f"swa_utils.{name}(" in text, name


# ----------------------------------------------------------------------------------- differences


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda d: f"{d.where}: {d.what}")
def test_the_case_still_shows_the_difference(difference: Disagreement) -> None:
    assert difference.holds(), difference.shown()


def test_differences_are_told_apart_and_in_few_words() -> None:
    told = [(d.where, d.what) for d in DIFFERENCES]
    assert len(set(told)) == len(told)
    assert all(len(where) + len(what) < 100 for where, what in told)


def test_a_difference_that_is_none_is_found_out() -> None:
    same = Disagreement("", "", 2, lambda: Step(3), np.ones)
    assert same.shown() == (1.0, 1.0) and not same.holds()


@drawn
@given(W=st.integers(1, 20), n=st.integers(2, 40))
def test_habits(W: int, n: int) -> None:
    N = W + n
    assert habits("transformers", W, N) == conventions.Habits(0.0, W, N, False, True)
    assert habits("keras", W, N) == conventions.Habits(0.0, W, W + N, True, False)
    assert habits("nanoGPT style", W, N) == conventions.Habits(1 / (W + 1), W, N, True, True)
    assert habits("torch", W, N) == conventions.Habits(1 / 3, W, W + N, False, False)
    assert habits("this course", W, N) == conventions.Habits(0.0, W, W + N, True, False)
    assert len(WARMUP_THEN_COSINE) == 5


ALONE = """
import os, sys
from lrcourse.chapters import conventions

assert not {"transformers", "keras"} & set(sys.modules)
before = dict(os.environ)
conventions.from_keras(2, "CosineDecay", 1.0, 3)
assert dict(os.environ) == before
import keras

assert keras.backend.backend() == "torch" and keras.config.floatx() == "float32"
"""


@pytest.mark.slow
def test_libraries_are_imported_late_and_without_a_trace(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    outside = {k: v for k, v in os.environ.items() if not k.startswith("KERAS_")}
    done = subprocess.run([sys.executable, "-c", ALONE], env=outside | home, capture_output=True)
    assert done.returncode == 0 and not done.stderr, done.stderr.decode()
    assert not (tmp_path / ".keras").exists()


# -------------------------------------------------- what test_schedules.py leaves out of PyTorch


@drawn
@given(gammas=st.lists(st.floats(0.5, 1.1), min_size=30, max_size=30))
def test_multiplicative_lr_is_the_product_from_the_second_on(gammas: list[float]) -> None:
    theirs = recorded(lambda o: lrs.MultiplicativeLR(o, gammas.__getitem__), 30, 2.0)
    equal(2 * np.cumprod([1.0, *gammas[1:]]), theirs)


@drawn
@given(n=warmups, end=factors, strategy=st.sampled_from(["cos", "linear"]), lr=rates)
def test_swa_lr_is_a_decay_to_a_floor(n: int, end: float, strategy: Any, lr: float) -> None:
    make = lambda o: swa_utils.SWALR(o, end * lr, n, strategy)  # noqa: E731
    ours = Cosine(n, end) if strategy == "cos" else Linear(1, end, n)
    equal(values(ours, n + 20, lr), recorded(make, n + 20, lr))


def part(draw: Any) -> tuple[Schedule, Callable[[Optimizer], Any]]:
    """A schedule and the torch class that does the same for 40 steps."""
    x, n = draw(st.floats(0.05, 1)), draw(st.integers(40, 80))
    return draw(
        st.sampled_from(
            [
                (Constant(x), lambda o: lrs.LambdaLR(o, lambda t: x)),
                (Linear(x, 1, n // 3), lambda o: lrs.LinearLR(o, x, 1, n // 3)),
                (Constant(x, 9) >> Constant(), lambda o: lrs.ConstantLR(o, x, 9)),
                (Exponential(x), lambda o: lrs.ExponentialLR(o, x)),
                (Step(7, x), lambda o: lrs.StepLR(o, 7, x)),
                (schedules.MultiStep([4, 9], x), lambda o: lrs.MultiStepLR(o, [4, 9], x)),
                (Polynomial(1, 0, n, 1 + x), lambda o: lrs.PolynomialLR(o, n, 1 + x)),
                (Cosine(n), lambda o: lrs.CosineAnnealingLR(o, n)),
                (CosineRestarts(n // 5), lambda o: lrs.CosineAnnealingWarmRestarts(o, n // 5)),
            ]
        )
    )


@drawn
@given(data=st.data(), at=st.lists(st.integers(1, 10), min_size=1, max_size=2))
def test_sequential_lr_is_then(data: Any, at: list[int]) -> None:
    parts = [part(data.draw) for _ in range(len(at) + 1)]
    milestones = np.cumsum(at).tolist()

    def make(o: Optimizer) -> Any:
        return lrs.SequentialLR(o, [build(o) for _, build in parts], milestones)

    ours = parts[-1][0]
    for (first, _), n in zip(parts[-2::-1], at[::-1], strict=True):
        ours = first.take(n) >> ours
    equal(values(ours, 40), recorded(make, 40, 1.0))
