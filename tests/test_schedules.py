"""The schedules equal PyTorch's classes, obey their algebra, and travel through checkpoints."""

import copy
import io
import math
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from torch.optim import SGD, Adam, Optimizer
from torch.optim import lr_scheduler as lrs

from lrcourse import schedules
from lrcourse.schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    Cyclic,
    Exponential,
    InverseSqrt,
    InverseTime,
    Linear,
    MultiStep,
    Noam,
    OneCycle,
    OneMinusSqrt,
    Plateau,
    Polynomial,
    Schedule,
    Step,
    Warmup,
    recorded,
    values,
    wsd,
)

drawn = settings(max_examples=40)


def close(actual: np.ndarray, expected: np.ndarray, peak: float = 1.0) -> None:
    """Equal but for rounding: 1e-12 of the value, or of the peak where it comes close to 0."""
    assert_allclose(actual, expected, rtol=1e-12, atol=1e-12 * peak)


# ---------------------------------------------------------------------- equal to PyTorch's classes
# A row draws a schedule, and the scheduler that should do the same on the optimizer `o`, for so
# many steps: past the end wherever the two agree there by design. `e` is the rate of `o`.

counts = st.integers(1, 60)
parts = st.floats(0, 1)
positive = st.floats(1e-3, 1)
gammas = st.floats(0.05, 1.05)

Make = Callable[[Optimizer], Any]
Row = tuple[Schedule, Make, int]


def constant(draw: Any, e: float) -> Row:
    f, n = draw(positive), draw(counts)
    return Constant(f, n) >> Constant(), lambda o: lrs.ConstantLR(o, f, n), n + 20


def linear(draw: Any, e: float) -> Row:
    start, end, n = draw(positive), draw(parts), draw(counts)
    return Linear(start, end, n), lambda o: lrs.LinearLR(o, start, end, n), n + 20


def polynomial(draw: Any, e: float) -> Row:
    n, power = draw(counts), draw(st.floats(0.3, 4))
    return Polynomial(1, 0, n, power), lambda o: lrs.PolynomialLR(o, n, power), n + 20


def exponential(draw: Any, e: float) -> Row:
    gamma = draw(gammas)
    return Exponential(gamma), lambda o: lrs.ExponentialLR(o, gamma), 200


def step(draw: Any, e: float) -> Row:
    n, gamma = draw(counts), draw(gammas)
    return Step(n, gamma), lambda o: lrs.StepLR(o, n, gamma), 200


def multi_step(draw: Any, e: float) -> Row:
    at, gamma = sorted(draw(st.lists(st.integers(0, 150), max_size=6))), draw(gammas)
    return MultiStep(at, gamma), lambda o: lrs.MultiStepLR(o, at, gamma), 200


def cosine(draw: Any, e: float) -> Row:
    n, end = draw(counts), draw(parts)
    return Cosine(n, end), lambda o: lrs.CosineAnnealingLR(o, n, eta_min=end * e), n + 1


def cosine_restarts(draw: Any, e: float) -> Row:
    n, mult, end = draw(counts), draw(st.integers(1, 4)), draw(parts)
    make = lambda o: lrs.CosineAnnealingWarmRestarts(o, n, mult, eta_min=end * e)  # noqa: E731
    return CosineRestarts(n, mult, end), make, 300


def cyclic(draw: Any, e: float) -> Row:
    base, peak, up, gamma = draw(parts), draw(parts), draw(counts), draw(st.floats(0.9, 1.01))
    mode = draw(st.sampled_from(["triangular", "triangular2", "exp_range"]))
    down = draw(st.none() | counts)
    options = {"mode": mode, "gamma": gamma, "cycle_momentum": draw(st.booleans())}
    make = lambda o: lrs.CyclicLR(o, base * e, peak * e, up, down, **options)  # noqa: E731
    return Cyclic(base, peak, up, down, mode, gamma), make, 300


def one_cycle(draw: Any, e: float) -> Row:
    three_phase, n = draw(st.booleans()), draw(st.integers(2, 200))
    pct = draw(st.floats(0, 0.5 if three_phase else 1).filter(lambda p: p * n != 1))
    options = {
        "pct_start": pct,
        "div_factor": draw(st.floats(1, 100)),
        "final_div_factor": draw(st.floats(1, 1e4)),
        "anneal_strategy": draw(st.sampled_from(["cos", "linear"])),
        "three_phase": three_phase,
    }
    momentum = draw(st.booleans())
    make = lambda o: lrs.OneCycleLR(o, e, n, cycle_momentum=momentum, **options)  # noqa: E731
    return OneCycle(n, **options), make, n


def recipe(draw: Any, e: float) -> Row:
    warmup, stable, cooldown, end = draw(counts), draw(counts), draw(counts), draw(parts)
    total, start = warmup + stable + cooldown, draw(positive)

    def make(o: Optimizer) -> Any:
        up = lrs.LinearLR(o, start, 1, warmup)
        flat = lrs.ConstantLR(o, 1, 0)
        down = lrs.LinearLR(o, 1, end, cooldown)
        return lrs.SequentialLR(o, [up, flat, down], [warmup, warmup + stable])

    schedule = Linear(start, 1, warmup) >> wsd(total - warmup, 0, cooldown, end=end)
    return schedule, make, total + 20


# Those without a class of their own: the formula, written out, in LambdaLR.


def one_minus_sqrt(draw: Any, e: float) -> Row:
    n, end, start = draw(counts), draw(parts), draw(parts)
    f = lambda t: end + (start - end) * (1 - math.sqrt(min(t, n) / n))  # noqa: E731
    return OneMinusSqrt(n, end, start), lambda o: lrs.LambdaLR(o, f), n + 20


def inverse_time(draw: Any, e: float) -> Row:
    rate = draw(st.floats(0, 2))
    return InverseTime(rate), lambda o: lrs.LambdaLR(o, lambda t: 1 / (1 + rate * t)), 100


def inverse_sqrt(draw: Any, e: float) -> Row:
    n = draw(counts)
    f = lambda t: t / n if t < n else math.sqrt(n / t)  # noqa: E731
    return InverseSqrt(n), lambda o: lrs.LambdaLR(o, f), 200


def noam(draw: Any, e: float) -> Row:
    d, n = draw(counts), draw(counts)
    f = lambda t: d**-0.5 * min((t + 1) ** -0.5, (t + 1) * n**-1.5)  # noqa: E731
    return Noam(d, n), lambda o: lrs.LambdaLR(o, f), 200


ROWS = [constant, linear, polynomial, exponential, step, multi_step, cosine, cosine_restarts]
ROWS += [cyclic, one_cycle, recipe, one_minus_sqrt, inverse_time, inverse_sqrt, noam]


@pytest.mark.filterwarnings("ignore:Detected call of")  # SequentialLR warns about itself
@pytest.mark.parametrize("row", ROWS)
@drawn
@given(data=st.data(), rate=st.floats(1e-5, 10))
def test_equals_the_torch_scheduler(row: Callable[..., Row], data: Any, rate: float) -> None:
    schedule, make_scheduler, steps = row(data.draw, rate)
    close(values(schedule, steps, rate), recorded(make_scheduler, steps, rate), rate)


@pytest.mark.parametrize("kind", [lambda p, lr: SGD(p, lr, momentum=0.9), Adam])
@pytest.mark.parametrize("cycle_momentum", [False, True])
def test_moving_the_momentum_does_not_move_the_rate(kind: Any, cycle_momentum: bool) -> None:
    option = {"cycle_momentum": cycle_momentum}
    one = recorded(lambda o: lrs.OneCycleLR(o, 0.3, 50, **option), 50, 1.0, kind)
    close(values(OneCycle(50), 50, 0.3), one)
    many = recorded(lambda o: lrs.CyclicLR(o, 0.1, 0.6, 7, 4, **option), 50, 1.0, kind)
    close(values(Cyclic(0.1, 0.6, 7, 4), 50), many)


# Few values, so that many lie exactly on a threshold.
metrics = st.sampled_from([math.nan, math.inf, -math.inf]) | st.integers(-8, 8).map(lambda i: i / 4)


@settings(max_examples=200)
@given(
    metrics=st.lists(metrics, min_size=5, max_size=30),
    options=st.fixed_dictionaries(
        {
            "mode": st.sampled_from(["min", "max"]),
            "factor": st.floats(0.1, 0.9),
            "patience": st.integers(0, 3),
            "threshold": st.sampled_from([0.0, 0.25, 1.0, 1.5]),
            "threshold_mode": st.sampled_from(["rel", "abs"]),
            "cooldown": st.integers(0, 3),
        }
    ),
    floor=st.sampled_from([0.0, 0.3]),
    cut=st.integers(0, 20),
)
def test_plateau_equals_torch(metrics: Any, options: Any, floor: float, cut: int) -> None:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = lrs.ReduceLROnPlateau(optimizer, min_lr=2 * floor, eps=0, **options)
    plateau = Plateau(min_factor=floor, **options)
    for i, metric in enumerate(metrics):
        scheduler.step(metric)
        if i == cut:  # save and resume
            plateau = Plateau(**copy.copy(vars(plateau)))
        close(2 * plateau.update(metric), optimizer.param_groups[0]["lr"])


# ----------------------------------------------------------------- where PyTorch differs, by design


def test_cosine_holds_where_torch_rises_again() -> None:
    torch_rates = recorded(lambda o: lrs.CosineAnnealingLR(o, T_max=10), 21, 1.0)
    assert torch_rates[10] == 0 and torch_rates[20] == pytest.approx(1)
    assert_array_equal(values(Cosine(10), 21)[10:], 0)


@pytest.mark.parametrize("strategy", ["linear", "cos"])
def test_one_cycle_holds_where_torch_goes_on_and_raises(strategy: str) -> None:
    make = lambda o: lrs.OneCycleLR(o, 1.0, 10, anneal_strategy=strategy)  # noqa: E731
    last, beyond = recorded(make, 11, 1.0)[-2:]
    assert beyond < 0 if strategy == "linear" else beyond > 1000 * last
    with pytest.raises(ValueError, match="Tried to step 11 times"):
        recorded(make, 12, 1.0)
    assert_allclose(values(OneCycle(10, anneal_strategy=strategy), 30)[9:], last, rtol=1e-9)


def test_where_torch_divides_by_zero() -> None:
    with pytest.raises(ZeroDivisionError):
        recorded(lambda o: lrs.OneCycleLR(o, 1.0, 10, pct_start=0.1), 10, 1.0)
    assert OneCycle(10, pct_start=0.1)(0) == 1  # a rise without steps is over at once
    close(values(OneCycle(3, pct_start=1.0, div_factor=2), 5), [0.5, 0.75, 1, 1, 1])
    with pytest.raises(ZeroDivisionError):
        recorded(lambda o: lrs.ConstantLR(o, 0.0, 3), 5, 1.0)
    assert_array_equal(values(Constant(0, 3) >> Constant(), 5), [0, 0, 0, 1, 1])
    with pytest.raises(ZeroDivisionError):
        recorded(lambda o: lrs.CosineAnnealingLR(o, T_max=0), 3, 1.0)
    assert_array_equal(values(Cosine(0, end=0.2), 3), 0.2)


def test_warmup_can_start_at_zero_which_linear_lr_refuses() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        recorded(lambda o: lrs.LinearLR(o, start_factor=0.0), 3, 1.0)
    assert_array_equal(values(Warmup(4), 6), [0, 0.25, 0.5, 0.75, 1, 1])


def test_restarts_are_not_missed_by_a_hair() -> None:
    def jumped(o: Optimizer) -> Any:
        scheduler = lrs.CosineAnnealingWarmRestarts(o, T_0=1, T_mult=3)
        scheduler.step(121)  # 1 + 3 + 9 + 27 + 81: a restart, where the rate is 1
        return scheduler

    assert recorded(jumped, 1, 1.0)[0] == 0  # it takes it for the end of the cycle before
    assert CosineRestarts(1, T_mult=3)(121) == 1
    restart = 3**20 // 2  # far out it is still exact
    assert CosineRestarts(1, T_mult=3)(restart) == 1 > CosineRestarts(1, T_mult=3)(restart - 1)


def test_multiplicative_lr_is_a_running_product_that_skips_the_first() -> None:
    asked: list[int] = []

    def f(t: int) -> float:
        asked.append(t)
        return 0.9 + 0.01 * t

    rates = recorded(lambda o: lrs.MultiplicativeLR(o, f), 5, 2.0)
    assert asked == [1, 2, 3, 4]
    close(rates, 2 * np.cumprod([1, *(0.9 + 0.01 * t for t in range(1, 5))]))


@drawn
@given(start=positive, end=parts, n=counts, gamma=gammas, size=counts)
def test_chained_scheduler_is_the_product(
    start: float, end: float, n: int, gamma: float, size: int
) -> None:
    def make(o: Optimizer) -> Any:
        recursive = [lrs.LinearLR(o, start, end, n), lrs.StepLR(o, size, gamma)]
        return lrs.ChainedScheduler([*recursive, lrs.ExponentialLR(o, 0.99)])

    product = Linear(start, end, n) * Step(size, gamma) * Exponential(0.99)
    close(values(product, n + 40), recorded(make, n + 40, 1.0))


def test_a_lambda_in_chained_scheduler_overwrites_the_others() -> None:
    def make(o: Optimizer) -> Any:
        return lrs.ChainedScheduler([lrs.ExponentialLR(o, 0.5), lrs.LambdaLR(o, Warmup(4))])

    close(recorded(make, 6, 1.0), values(Warmup(4), 6))
    close(values(Exponential(0.5) * Warmup(4), 6), [0, 1 / 8, 1 / 8, 3 / 32, 1 / 16, 1 / 32])


# ------------------------------------------------------------------------------------- the algebra


@dataclass(frozen=True)
class Sawtooth(Schedule):
    """A student's own: an ordinary dataclass, without slots."""

    period: int
    length = None

    def formula(self, t: np.ndarray) -> np.ndarray:
        return 1 - (t % self.period) / self.period


lengths = st.integers(0, 30)
finite_leaf = st.one_of(
    st.builds(Constant, parts, lengths),
    st.builds(Linear, parts, parts, lengths),
    st.builds(Polynomial, parts, parts, lengths, st.floats(0.3, 3)),
    st.builds(Cosine, lengths, parts, parts),
    st.builds(OneMinusSqrt, lengths, parts, parts),
    st.builds(Exponential, gammas, lengths),
    st.builds(InverseTime, positive, lengths),
    st.builds(OneCycle, st.integers(1, 30), st.floats(0, 0.5), three_phase=st.booleans()),
)
endless_leaf = st.one_of(
    st.builds(Constant, parts),
    st.builds(Step, counts, gammas),
    st.builds(MultiStep, st.lists(st.integers(0, 50)).map(sorted), gammas),
    st.builds(CosineRestarts, counts, st.integers(1, 4), parts),
    st.builds(Cyclic, parts, parts, counts, st.none() | counts),
    st.builds(InverseSqrt, counts),
    st.builds(Noam, counts, counts),
    st.builds(Sawtooth, counts),
)
ratios = st.sampled_from([1, 2, 3, 0.5, 1.1, 2.7])
finite = st.recursive(
    finite_leaf | st.builds(Schedule.take, endless_leaf, lengths),
    lambda inner: st.one_of(
        st.builds(Schedule.__rshift__, inner, inner),
        st.builds(Schedule.__mul__, inner, inner),
        st.builds(Schedule.scale, inner, parts),
        st.builds(Schedule.stretch, inner, ratios),
        st.builds(Schedule.take, inner, lengths),
    ),
    max_leaves=4,
)
either = finite | endless_leaf | st.builds(Schedule.__rshift__, finite, endless_leaf)
T = np.arange(150)


@drawn
@given(finite, finite, either)
def test_then_is_associative_and_runs_each_on_its_own_clock(
    a: Schedule, b: Schedule, c: Schedule
) -> None:
    assert (a >> b) >> c == a >> (b >> c)
    if a.length and b.length != 0:
        assert (a >> b).length == a.length + b.length
        assert (a >> Step(3)).length is None
        by_hand = [a(t) if t < a.length else b(t - a.length) for t in range(150)]
        assert_array_equal((a >> b)(T), by_hand)


@drawn
@given(either, finite)
def test_zero_length_is_the_identity_of_then(a: Schedule, b: Schedule) -> None:
    nothing = b.take(0)
    assert nothing.length == 0
    assert nothing >> a == a
    if a.length != 0:
        assert a >> nothing == a
    else:
        assert a >> nothing == nothing


@drawn
@given(either, either, either)
def test_product_is_pointwise_and_associative(a: Schedule, b: Schedule, c: Schedule) -> None:
    assert (a * b) * c == a * (b * c)
    close((a * b)(T), a(T) * b(T))
    longest = None if None in (a.length, b.length) else max(a.length, b.length)
    assert (a * b).length == longest
    assert 0.3 * a == a * 0.3 == np.float64(0.3) * a == a.scale(0.3)
    assert_array_equal(a.scale(0.3)(T), a(T) * 0.3)
    assert a.scale(0.3).length == a.length


@drawn
@given(either, st.integers(1, 5), st.integers(0, 60))
def test_stretch_and_take_change_the_clock(a: Schedule, r: int, n: int) -> None:
    slow = a.stretch(r)
    assert slow.length == (None if a.length is None else r * a.length)
    assert_array_equal(slow(r * T), a(T))
    assert a.take(n).length == n
    assert_array_equal(a.take(n)(T), a(np.minimum(T, n)))


@drawn
@given(finite_leaf, finite_leaf, st.integers(1, 5))
def test_stretch_and_take_go_through_the_others(a: Schedule, b: Schedule, r: int) -> None:
    close((a >> b).stretch(r)(T), (a.stretch(r) >> b.stretch(r))(T))
    close((a * b).stretch(r)(T), (a.stretch(r) * b.stretch(r))(T))
    assert_array_equal((a * b).take(r)(T), (a.take(r) * b.take(r))(T))


def test_stretch_by_a_fraction_rounds_the_length_up() -> None:
    assert [Warmup(50).stretch(r).length for r in (0.1, 0.15, 1.1, 1 / 3)] == [5, 8, 55, 17]
    close(values(Warmup(10).stretch(1.5), 18), np.minimum(np.arange(18) / 15, 1))
    # 33 / 1.1 is a hair less than 30, and yet the cut at 30 must not be lost.
    cut = Step(30, 0.5).take(30).stretch(1.1)
    assert cut(32) == 1 and cut(33) == cut(10**6) == 0.5


@drawn
@given(start=parts, end=parts, n=st.integers(1, 30))
def test_starts_and_ends_exactly(start: float, end: float, n: int) -> None:
    for schedule in (
        Linear(start, end, n),
        Polynomial(start, end, n, 1.5),
        Cosine(n, end, start),
        OneMinusSqrt(n, end, start),
    ):
        assert schedule(0) == start and schedule(n) == end


@drawn
@given(either)
def test_is_a_value(a: Schedule) -> None:
    names = {**vars(schedules), "Sawtooth": Sawtooth}
    for twin in (eval(repr(a), names), pickle.loads(pickle.dumps(a)), copy.deepcopy(a)):
        assert twin == a and hash(twin) == hash(a) and repr(twin) == repr(a)
        assert_array_equal(twin(T), a(T))
    assert a != a.take(7)
    # Held at the end, and the same, to the last bit, one at a time, in any order and any shape.
    if a.length is not None:
        assert_array_equal(a(a.length + T), a(a.length))
    assert a(T).dtype == np.float64 and all(type(a(t)) is float for t in (0, np.int32(3)))
    assert_array_equal(a(T), [a(int(t)) for t in T])
    assert_array_equal(a(T[::-2].reshape(3, 25).T), a(T)[::-2].reshape(3, 25).T)
    assert a(T[:0]).shape == (0,)


def test_long_runs_equal_single_calls_to_the_last_bit() -> None:
    for schedule in (OneCycle(50_000), Warmup(100) >> Cosine(49_900), CosineRestarts(7, 2)):
        at = [0, 99, 100, 8191, 8192, 8193, 30_000, 49_998, 49_999, 50_000, 59_999]
        assert_array_equal(values(schedule, 60_000)[at], [schedule(t) for t in at])


def test_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Cosine(10).length = 20  # type: ignore[misc]
    milestones = [3, 5]
    schedule = MultiStep(milestones)
    milestones.append(6)
    assert schedule == MultiStep((3, 5))


def test_is_printed_as_it_is_written() -> None:
    a, b = Constant(1.0, 2), Step(3)
    assert repr(a >> b) == f"{a} >> {b}"
    assert repr((a >> b) * b * a) == f"({a} >> {b}) * {b} * {a}"
    assert repr((a >> a).stretch(2).take(3)) == f"({a} >> {a}).stretch(2).take(3)"
    assert repr(Exponential(np.float64(0.5))) == "Exponential(gamma=0.5, length=None)"


def test_wsd() -> None:
    assert wsd(10, 2, 4, OneMinusSqrt, 0.1) == (
        Warmup(2) >> Constant(1.0, 4) >> OneMinusSqrt(4, end=0.1)
    )
    assert wsd(10, 2, 4).length == wsd(10, 0, 0).length == wsd(10, 3, 7).length == 10
    for shape in (Linear, Polynomial, Cosine, OneMinusSqrt):
        assert wsd(10, 2, 4, shape, 0.1)(10) == 0.1


def test_values_takes_any_function() -> None:
    assert_array_equal(values(lambda t: 0.5**t, 3, peak=2), [2, 1, 0.5])
    assert values(Step(3), 0).shape == values(float, 0).shape == (0,)


# ---------------------------------------------------------------------------------- wrong arguments

WRONG = """
length: Constant(1, -1)  Constant(1, 2.0)  Linear(0, 1, True)  Linear(0, 1, None)  Cosine("9")
length: Polynomial(0, 1, -1)  OneMinusSqrt(1.5)  Exponential(0.5, -1)  InverseTime(1, nan)
length: Warmup(-1)  Cosine(nan)
factor: Constant(-1)  Constant(nan)  Constant(inf)  Constant("1")  Constant(True)  Constant(None)
factor: Step(1).scale(-1)  -1 * Step(1)  Step(1) * nan  Step(1).scale("2")
start: Linear(-1, 1, 9)  Linear(nan, 1, 9)  Warmup(9, -1)  Polynomial(-1, 0, 9)
start: Cosine(9, 0, -1)  OneMinusSqrt(9, 0, nan)
end: Linear(1, -1, 9)  Polynomial(1, nan, 9)  Cosine(9, inf)  OneMinusSqrt(9, -1)
end: CosineRestarts(9, 1, -1)  wsd(9, 1, 1, end=-1)
power: Polynomial(1, 0, 9, 0)  Polynomial(1, 0, 9, -1)  Polynomial(1, 0, 9, nan)
gamma: Exponential(0)  Exponential(-1)  Exponential(nan)  Step(9, 0)  MultiStep([9], 0)
gamma: Cyclic(0, 1, 9, mode="exp_range", gamma=0)  Step(9, inf)
rate: InverseTime(-1)  InverseTime(nan)
step_size: Step(0)  Step(-1)  Step(1.0)  Step(True)
milestones: MultiStep([2, 1])  MultiStep([-1])  MultiStep([1.5])  MultiStep(3)  MultiStep("12")
milestones: MultiStep([True])
T_0: CosineRestarts(0)  CosineRestarts(1.5)
T_mult: CosineRestarts(9, 0)  CosineRestarts(9, 1.5)
base: Cyclic(-1, 1, 9)
peak: Cyclic(0, nan, 9)  values(Step(1), 9, peak=-1)  values(Step(1), 9, peak=nan)
step_size_up: Cyclic(0, 1, 0)  Cyclic(0, 1, 1.5)
step_size_down: Cyclic(0, 1, 9, 0)
mode: Cyclic(0, 1, 9, mode="square")  Cyclic(0, 1, 9, mode=[])  Plateau("least")
total_steps: OneCycle(0)  OneCycle(-9)  OneCycle(9.0)
pct_start: OneCycle(9, -0.1)  OneCycle(9, 1.1)  OneCycle(9, nan)  OneCycle(9, 0.6, three_phase=True)
div_factor: OneCycle(9, div_factor=0)  OneCycle(9, div_factor=inf)
final_div_factor: OneCycle(9, final_div_factor=-1)
anneal_strategy: OneCycle(9, anneal_strategy="sin")
three_phase: OneCycle(9, three_phase="no")
warmup: InverseSqrt(0)  Noam(9, 0)  wsd(9, -1, 1)
d_model: Noam(0, 9)
total: wsd(-1, 0, 0)  wsd(9, 5, 5)  wsd(9.5, 1, 1)
cooldown: wsd(9, 1, 1.5)  Plateau(cooldown=-1)
r: Step(1).stretch(0)  Step(1).stretch(-1)  Step(1).stretch(nan)
n: Step(1).take(-1)  Step(1).take(1.5)
factor: Plateau(factor=0)  Plateau(factor=1.0)  Plateau(factor=nan)
patience: Plateau(patience=-1)  Plateau(patience=1.5)
threshold: Plateau(threshold=-1)
threshold_mode: Plateau(threshold_mode="both")
min_factor: Plateau(min_factor=-1)  Plateau(min_factor=2)
steps: values(Step(1), -1)  values(Step(1), 1.5)  recorded(None, -1, lr=1.0)
t: Step(1)(-1)  Step(1)(np.array([3, -1]))
"""


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (name, code)
        for line in WRONG.strip().splitlines()
        for name, codes in [line.split(": ", 1)]
        for code in codes.split("  ")
    ],
)
def test_a_wrong_argument_is_named(name: str, code: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name} is .*, expected "):
        eval(code, {**vars(schedules), "nan": math.nan, "inf": math.inf})


@pytest.mark.parametrize("t", [1.0, True, "1", None, np.array([0.5]), np.array([True]), 2**70])
def test_time_is_a_whole_number(t: Any) -> None:
    with pytest.raises(TypeError, match=r"^t is .*, expected an integer"):
        Step(1)(t)


def test_nothing_can_follow_an_endless_part() -> None:
    with pytest.raises(ValueError, match=r"Step.* never ends.*\.take\(n\)"):
        (Warmup(3) >> Step(2)) >> Warmup(3)
    assert (Step(2).take(4) >> Warmup(3)).length == 7
    for other in (0.5, None, abs):
        with pytest.raises(TypeError):
            Step(2) >> other  # type: ignore[operator]
        if other != 0.5:
            with pytest.raises(TypeError):
                Step(2) * other


# ------------------------------------------------------------------------------- inside PyTorch


def trainer(schedule: Schedule) -> tuple[Optimizer, lrs.LambdaLR]:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    return optimizer, lrs.LambdaLR(optimizer, schedule)


def run(optimizer: Optimizer, scheduler: lrs.LambdaLR, steps: int) -> list[float]:
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    "schedule",
    [Cosine(30), MultiStep([5, 20]), Sawtooth(7), wsd(30, 5, 10) * Step(8, 0.9).stretch(1.5)],
)
def test_a_checkpoint_resumes_the_uninterrupted_run(schedule: Schedule) -> None:
    whole = run(*trainer(schedule), 40)
    assert_array_equal(whole, values(schedule, 40, 0.3))

    optimizer, scheduler = trainer(schedule)
    first = run(optimizer, scheduler, 12)
    file = io.BytesIO()
    torch.save([optimizer.state_dict(), scheduler.state_dict()], file)
    file.seek(0)
    optimizer, scheduler = trainer(copy.deepcopy(schedule))
    for part, state in zip((optimizer, scheduler), torch.load(file), strict=True):
        part.load_state_dict(state)
    assert first + run(optimizer, scheduler, 28) == whole


def test_a_checkpoint_holds_the_step_and_leaves_the_schedule_to_the_code() -> None:
    _, scheduler = trainer(Warmup(3) >> Cosine(10))
    state = scheduler.state_dict()
    assert state["lr_lambdas"] == [{}]
    longer = Warmup(3) >> Cosine(1000)
    optimizer, scheduler = trainer(longer)
    scheduler.load_state_dict(state)
    assert_array_equal(run(optimizer, scheduler, 100), values(longer, 100, 0.3))


def test_importing_schedules_does_not_import_torch() -> None:
    code = "import sys, lrcourse.schedules; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_rules_hold_also_where_annotations_are_texts():
    """`from __future__ import annotations`, in a module of a learner's or in a notebook."""
    learner = {"__name__": "__main__"}
    code = """
from __future__ import annotations
from dataclasses import dataclass
from lrcourse.arguments import Count
from lrcourse.schedules import Schedule

@dataclass(frozen=True, slots=True)
class Teeth(Schedule):
    period: Count
    length = None
    def formula(self, t):
        return 1 - (t % self.period) / self.period

@dataclass(frozen=True)
class Odd(Schedule):
    period: Unheard
    length = None
"""
    exec(compile(code, "learner", "exec", dont_inherit=True), learner)
    assert learner["Teeth"](4)(2) == 0.5
    with pytest.raises(ValueError, match="period is 0, expected a whole number >= 1"):
        learner["Teeth"](0)
    with pytest.raises(TypeError, match=r"a field of Odd has a kind that is unknown: .*Unheard"):
        learner["Odd"](1)
