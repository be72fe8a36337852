"""The bound bounds, in closed cases equals them; the law finds what was planted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrcourse.chapters.theory import LossLaw, areas, bound, fit_law
from lrcourse.landscapes import Quadratic, descend
from lrcourse.schedules import Constant, Cosine, Linear, Schedule, Step, values, wsd

FACTORS = st.lists(st.just(0.0) | st.floats(1e-6, 10), min_size=1, max_size=40).filter(any)


def harmonic(n: int) -> float:
    return float(np.sum(1 / np.arange(1, n + 1)))


@pytest.mark.parametrize("steps", [1, 2, 10, 1000])
def test_closed_cases(steps):
    constant = bound(Constant(), steps)
    assert constant.distance == pytest.approx(1 / (2 * steps))
    assert constant.noise == pytest.approx((1 + harmonic(steps - 1)) / 2)
    # Factors T, T − 1, …, 1 over T: sums m (m + 1) / 2 and of squares m (m + 1) (2 m + 1) / 6.
    line = bound(Linear(1, 0, steps), steps)
    assert line.distance == pytest.approx(1 / (steps + 1))
    sums = (2 * steps + 1) / 3 + 2 / 3 * (2 * (steps - 1) + 3 * harmonic(steps - 1))
    assert line.noise == pytest.approx(sums / 2 / steps)


@given(FACTORS, st.floats(0.01, 100), st.integers(0, 5))
def test_a_larger_factor_is_a_smaller_peak_and_idle_updates_at_the_end_do_not_count(a, k, idle):
    one = bound(lambda t: a[t], len(a))
    other = bound(lambda t: k * a[t] if t < len(a) else 0.0, len(a) + idle)
    assert other.lowest == pytest.approx(one.lowest)
    assert other.best_peak == pytest.approx(one.best_peak / k)
    around = one.best_peak * np.array([0.5, 0.9, 1.0, 1.1, 2])
    heights = one.distance / around + one.noise * around
    assert heights[2] == pytest.approx(one.lowest) and heights.argmin() == 2


@given(FACTORS, st.floats(0.01, 3), st.integers(0, 2**32 - 1))
def test_no_convex_function_breaks_it(a, peak, seed):
    # f(x) = max of |⟨u, x⟩| over unit vectors u: convex, gradients of length 1, lowest at 0.
    draw = np.random.default_rng(seed)
    directions = draw.normal(size=(draw.integers(1, 5), 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    x = draw.normal(size=3)
    x /= np.linalg.norm(x)
    for n, factor in enumerate(a, start=1):
        slopes = directions @ x
        steepest = int(np.abs(slopes).argmax())
        if factor > 0:  # the point at which update n takes its gradient
            promised = bound(lambda t: a[t], n)
            limit = promised.distance / peak + promised.noise * peak
            assert abs(slopes[steepest]) <= limit + 1e-9
        x = x - peak * factor * np.sign(slopes[steepest]) * directions[steepest]


def test_the_bound_along_a_run_has_the_shape_of_its_loss():
    """Taken as if the run ended at each update: a cooldown's drops, as Schaipp et al. (2025) draw.

    No data enters.
    """
    left = {}
    for name, schedule in {"constant": Constant(), "wsd": wsd(400, 0, 80)}.items():
        runs = {n: bound(schedule, n) for n in (320, 400)}
        peak = runs[400].best_peak
        seen = [run.distance / peak + run.noise * peak for run in runs.values()]
        left[name] = seen[1] / seen[0]
    assert 0.88 < left["constant"] < 0.95 and left["wsd"] < 0.75


def test_what_the_bound_does_not_say():
    """It is for the worst case, and for gradients no longer than G."""
    bowl, steps, start = Quadratic([0.1, 1.0]), 60, np.ones(2)
    rates, line = np.linspace(0.05, 1.99, 60), Linear(1, 0, steps)
    assert bound(line, steps).lowest < bound(Constant(), steps).lowest
    constant = descend(bowl, start, rates, steps).losses[-1].min()
    falling = descend(bowl, start, lambda t: rates * line(t), steps).losses[-1].min()
    assert falling > 10_000 * constant  # a smooth bowl without noise
    promised, first = bound(Constant(), 120), np.linalg.norm(bowl.gradient(start))
    for rate, kept in ((1.9, True), (2.1, False)):  # before and beyond the cliff
        limit = promised.distance * 2 / rate + promised.noise * first**2 * rate
        end = descend(bowl, start, rate, 120).losses[-1]
        assert end < limit if kept else end > 1000 * limit


def test_refusals_of_the_bound():
    for wrong in (lambda t: -1.0, lambda t: 0.0, lambda t: np.nan, lambda t: np.inf):
        with pytest.raises(ValueError, match=r"schedule is .*, expected (finite|a factor)"):
            bound(wrong, 3)
    with pytest.raises(
        ValueError, match=r"factors of schedule is .*-1.*, expected finite numbers >= 0"
    ):
        bound(lambda t: 1.0 - t, 3)


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=30), st.floats(0.01, 0.99))
def test_areas_are_the_papers_double_sum(rates, memory):
    falls = [rates[i - 1] - rates[i] if i else 0.0 for i in range(len(rates))]
    first = next((i for i, fall in enumerate(falls) if fall > 0), len(falls))
    falls[:first] = [0.0] * first  # the first rise
    pushes = [sum(falls[k] * memory ** (i - k) for k in range(i + 1)) for i in range(len(rates))]
    way, annealed = areas(rates, memory)
    np.testing.assert_allclose(way, np.cumsum(rates))
    np.testing.assert_allclose(annealed, np.cumsum(pushes), atol=1e-12)


def test_a_second_and_higher_peak_does_not_hide_the_first_fall():
    """The rise to it counts against annealing; only a warmup is no annealing."""
    up = np.linspace(0.1, 1, 10)
    once = areas(up, 0.9)[1]
    twice = areas(np.concatenate([up, up[::-1], 1.5 * up]), 0.9)[1]
    assert (once == 0).all() and (twice[:11] == 0).all()
    assert (twice[11:20] > 0).all() and twice[-1] < twice[19]


def curve(law: LossLaw, schedule: Schedule, noise: float = 0.0, seed: int = 0):
    rates = values(schedule, 800, 0.01)
    at = np.arange(50, 801, 10)
    loss = law(rates)[at - 1]
    return rates, at, loss * (1 + noise * np.random.default_rng(seed).normal(size=len(at)))


@pytest.mark.parametrize("noise", [0, 0.002])
def test_a_planted_law_predicts_schedules_it_has_not_seen(noise):
    planted = LossLaw(floor=1.8, scale=0.5, power=0.5, gain=0.4, memory=0.99)
    seen = [curve(planted, s, noise, i) for i, s in enumerate((Constant(), Cosine(800)))]
    found, blind = fit_law(seen), fit_law(seen, annealing=False)
    assert blind.gain == 0
    if not noise:
        assert found.power == pytest.approx(planted.power, rel=0.02)
        assert found.memory == pytest.approx(planted.memory, abs=1e-3)
        assert found.gain == pytest.approx(planted.gain, rel=0.05)
    for unseen in (wsd(800, 0, 160), Linear(1, 0, 800), Step(300)):
        rates, at, loss = curve(planted, unseen)
        assert np.abs(found(rates)[at - 1] / loss - 1).max() < 0.004
        assert np.abs(blind(rates)[at - 1] / loss - 1).max() > 0.02


def test_refusals_of_the_law():
    good = (np.ones(9), np.arange(1, 10), np.linspace(3, 2, 9))
    for curves, word in [
        ([], "points in curves is 0, expected at least 5"),
        ([(np.ones(9), [1, 2], [3.0, 2.0])], "points in curves is 2, expected at least 5"),
        ([(np.ones(9), [1, 10], [3.0, 2.0]), good], "expected whole numbers from 1 to 9"),
        ([(np.ones(9), [1.0, 2.0], [3.0, 2.0]), good], "expected whole numbers from 1 to 9"),
        (
            [(np.ones(9), [1, 2], [3.0, np.nan]), good],
            "losses of a curve is .*, expected finite numbers > 0",
        ),
        (
            [(np.zeros(9), [1, 2], [3.0, 2.0]), good],
            "rates is .*, expected a row of finite numbers",
        ),
        (
            [(-np.ones(9), [1, 2], [3.0, 2.0]), good],
            "rates is .*, expected a row of finite numbers",
        ),
    ]:
        with pytest.raises(ValueError, match=word):
            fit_law(curves)
    for memory in (1.5, -0.5, np.nan):
        with pytest.raises(ValueError, match=r"memory is .*, expected a number from 0 to 1"):
            areas([1.0], memory)
