"""Each schedule is tuned on some seeds and compared on others."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrcourse.evidence import paired
from lrcourse.schedules import Constant, Linear
from lrcourse.sweeps import final, sweep
from tools.record.comparison import best, compare, holm, leaders


class Point(nn.Module):
    """One weight; where it starts depends on the seed."""

    def __init__(self, seed):
        super().__init__()
        self.at = nn.Parameter(torch.tensor([1.0 + seed % 500 / 10], dtype=torch.float64))

    def forward(self, x):
        return self.at * x


def batches(seed):
    x = torch.ones(1, dtype=torch.float64)
    return lambda t: (x, 0 * x)


def loss(out, y):
    return ((out - y) ** 2).sum() / 2


def score(model):
    x = torch.ones(1, dtype=torch.float64)
    return {"gap": model(x).square().sum() + 1.0}


def go(**options):
    options = {
        "peaks": [0.3, 0.6, 1.2, 1.8], "steps": 2, "evaluate": score, "value": "gap",
        "loss": loss, "progress": False,
    } | options  # fmt: skip
    return compare(Point, batches, {"whole": Constant(), "half": Constant(0.5)}, **options)


def test_each_schedule_gets_its_own_peak_and_fresh_seeds():
    # A rate of 1 reaches the minimum of this parabola at once: a factor of a half needs twice that.
    result = go(peaks=[0.5, 1.0, 2.0, 4.0], seed=2, pairs=4)
    assert result.best["peak"].to_dict() == {"whole": 1.0, "half": 2.0}
    assert list(result.tuning["seed"].unique()) == [2000, 2001, 2002]
    assert list(result.ends.index) == [2500, 2501, 2502, 2503]
    assert list(result.ends) == ["whole", "half"]
    optimum = result.best["optimum"]
    runs = final(result.compared)
    assert (runs["peak"] == runs["schedule"].map(optimum)).all()
    assert optimum["half"] == pytest.approx(2 * optimum["whole"])
    again = final(
        sweep(
            Point, batches, peaks=[optimum["whole"]], seeds=result.ends.index, steps=2,
            evaluate=score, loss=loss, progress=False,
        )
    )  # fmt: skip
    np.testing.assert_allclose(result.ends["whole"], again["gap"])
    assert result.difference("half", "whole").mean == pytest.approx(0, abs=1e-9)
    higher = runs["schedule"].map({"whole": 1.0, "half": 1.02}) * 2.0
    difference = replace(result, compared=runs.assign(gap=higher)).difference("half", "whole")
    assert (difference.mean, difference.n) == (pytest.approx(2), 4)


def test_refuses_what_would_not_be_a_comparison():
    with pytest.raises(ValueError, match="edge of the grid"):
        go(peaks=[0.01, 0.02, 0.03])
    for options, match in (
        ({"pairs": 1}, "pairs"),
        ({"tuning": 0}, "tuning"),
        ({"seed": -1}, "seed"),
    ):
        with pytest.raises(ValueError, match=match):
            go(**options)
    with pytest.raises(ValueError, match="schedule is 'cosine', expected 'whole' or 'half'"):
        go(peaks=[0.5, 1.0, 2.0, 4.0]).difference("cosine", "whole")


def test_the_same_schedule_twice_makes_no_difference():
    """The negative control of every comparison."""
    twice = {"a": Linear(1, 0, 3), "b": Linear(1, 0, 3)}
    result = compare(
        Point, batches, twice, peaks=[0.5, 1.0, 2.0, 4.0], steps=3, evaluate=score, value="gap",
        loss=loss, progress=False,
    )  # fmt: skip
    assert (result.ends["a"] == result.ends["b"]).all()
    assert result.difference("a", "a").mean == result.difference("a", "b").mean == 0


def test_refuses_a_run_that_used_another_rate():
    def slower(*arguments, seeds, **options):
        frame = sweep(*arguments, seeds=seeds, **options)
        return frame.assign(rate=0.5 * frame["rate"]) if min(seeds) >= 500 else frame

    with pytest.raises(AssertionError, match="another rate"):
        go(peaks=[0.5, 1.0, 2.0, 4.0], trained=slower)


def test_a_grid_goes_on_beyond_its_edge_once_and_for_those_that_need_it():
    """The whole factor finds 1 inside the grid, the half one looks for its 2 outside."""
    result = go(peaks=[0.5, 1.0, 1.5])
    tried = result.tuning.groupby("schedule")["peak"].unique()
    assert sorted(tried["whole"]) == [0.5, 1.0, 1.5]
    assert sorted(tried["half"]) == [0.5, 1.0, 1.5, 2.25, 3.375]
    assert result.best["peak"].to_dict() == {"whole": 1.0, "half": 2.25}
    one = go(peaks=[0.7])
    assert one.best["optimum"].to_dict() == {"whole": 0.7, "half": 0.7}, "one peak is not tuned"


def test_peaks_are_tuned_on_validation_data_and_judged_on_test_data():
    """Validation likes to end at 0.5, the test at 0: the peak follows the one, the figure both."""

    def validate(model):
        return {"validation_loss": (model(torch.ones(1, dtype=torch.float64)) - 0.5).square().sum()}

    peaks = [0.1, 0.2, 0.3, 0.5, 1.0, 1.5]
    result = go(peaks=peaks, validate=validate, steps=1, tuning=1)
    # From 1 to 0.5 in one update: a rate of 0.5 for the whole factor, of 1 for the half.
    assert result.best["peak"].to_dict() == {"whole": 0.5, "half": 1.0}
    assert "gap" not in result.tuning and (result.ends > 1.2).all(axis=None)


def test_leaders_are_those_that_cannot_be_told_from_the_lowest():
    luck = np.random.default_rng(0).normal(size=(3, 16)) / 100
    ends = pd.DataFrame({"a": luck[0], "b": luck[1] + 0.001, "c": luck[2] + 1})
    assert leaders(ends) == ["a", "b"] or leaders(ends) == ["b", "a"]
    assert leaders(ends.assign(a=ends["a"] - 1)) == ["a"]


def test_best_tunes_each_group_and_refuses_the_edge():
    rows = [
        {"schedule": name, "peak": p, "seed": s, "loss": (np.log2(p) - at) ** 2 + s / 10}
        for name, at in (("a", 0.2), ("b", 2))
        for p in (0.5, 1, 2, 4, 8)
        for s in (0, 1)
    ]
    frame = pd.DataFrame(rows)
    tuned = best(frame, "loss")
    assert tuned["peak"].to_dict() == {"a": 1, "b": 4}
    assert tuned.loc["a", "mean"] == pytest.approx(0.09)
    assert tuned["optimum"].to_dict() == pytest.approx({"a": 2**0.2, "b": 4})
    assert tuned.loc["a", "se"] == pytest.approx(paired([0.1, 0], [0, 0]).se)
    with pytest.raises(ValueError, match="best peak of b is 4, the edge of the grid"):
        best(frame[frame["peak"] <= 4], "loss")
    # A peak that loses one seed must not win with the other one.
    frame.loc[frame.eval("schedule == 'a' and peak == 1 and seed == 1"), "loss"] = np.nan
    assert best(frame, "loss").loc["a", ["peak", "optimum"]].tolist() == pytest.approx([2, 2**0.2])


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_never_below_the_p_value_nor_above_bonferronis(p_values):
    found = holm(p_values)
    assert found.keys() == p_values.keys()
    for name, p in p_values.items():
        assert p <= found[name] <= min(1.0, len(p_values) * p)
    by_size = sorted(p_values, key=p_values.__getitem__)
    assert [found[name] for name in by_size] == sorted(found.values())
