"""The table of named models: what each row says of its run is what its stages do."""

import re

import numpy as np
import pandas as pd
import pytest

from lrcourse.chapters.recipes import PATH, Excerpt, recipes, schedule
from lrcourse.schedules import Constant, Cosine, Linear, OneMinusSqrt

ROWS = recipes()


DRAWN = ROWS[ROWS["stages"] != ""]


def parts(plan):
    return getattr(plan, "parts", (plan,))


@pytest.mark.parametrize("model", DRAWN.index)
def test_facts_and_stages_of_a_row_agree(model):
    row = ROWS.loc[model]
    plan = row["schedule"]
    assert plan.length == row["total"]
    assert plan(plan.length) == pytest.approx(row["end"], abs=6e-5)
    factors = plan(np.linspace(0, plan.length - 1, 2001).astype(np.int64))
    assert 0 <= factors.min() < factors.max() <= 1
    warmup = 0 if np.isnan(row["warmup"]) else int(row["warmup"])
    assert plan(warmup) == pytest.approx(1)
    # Until its warmup is over a run is below its peak, and after it the rate never rises.
    assert warmup == 0 or plan(int(0.9 * warmup)) < 0.95
    later = factors[np.linspace(0, 1, 2001) >= warmup / row["total"]]
    assert np.diff(later).clip(0).sum() < 1e-3  # OLMo 2 rises by half a thousandth at its seam


@pytest.mark.parametrize("model", DRAWN.index)
def test_stages_join_without_a_jump_but_for_steps(model):
    plan = ROWS.loc[model, "schedule"]
    jumps = [a(a.length) - b(0) for a, b in zip(parts(plan), parts(plan)[1:], strict=False)]
    cuts = [jump for jump in jumps if abs(jump) > 1e-3]
    expected = {"DeepSeek LLM 67B": 2, "DeepSeek-V2-Lite": 2, "DeepSeek-V3": 1, "MiniMax-01": 1}
    assert len(cuts) == expected.get(model, 0) and all(jump > 0 for jump in cuts)


def test_the_table_is_whole_and_each_row_has_its_source():
    text = PATH.read_text(encoding="utf-8")
    frame = pd.read_csv(PATH, keep_default_na=False)
    assert frame["model"].is_unique and frame["year"].is_monotonic_increasing
    # What a source does not give is empty: the row then says so.
    silent = (frame[["warmup", "total", "end", "stages"]] == "").any(axis=1)
    assert (frame.loc[silent, "note"] != "").all()
    always = frame[["model", "lab", "family", "unit", "source", "checked"]]
    assert (always != "").all().all() and text.endswith("\n")
    assert set(frame["family"]) == {"inverse sqrt", "linear", "cosine", "steps", "WSD"}
    assert set(frame["unit"]) == {"steps", "tokens", "samples"}
    assert (
        ROWS["peak"].dropna().between(5e-6, 0.1).all() and frame["year"].between(2017, 2026).all()
    )
    where = re.compile(r"\d{4}\.\d{5}|arXiv \d{4}\.\d{4,5}|[\w-]+/[\w.-]+, |blog")
    assert all(where.search(source) for source in frame["source"])
    assert frame["checked"].str.len().between(20, 400).all()  # a few words, no one's text
    assert (frame["note"].str.len() < 200).all()


def test_families_are_what_their_curves_show():
    for model, row in DRAWN.iterrows():
        plan, total = row["schedule"], row["total"]
        at = plan(np.array([int(share * total) for share in (0.3, 0.5, 0.7)]))
        if row["family"] in ("WSD", "steps"):
            assert at[0] == 1, model
        if row["family"] == "cosine":
            assert any(isinstance(p, Cosine | Excerpt) for p in parts(plan)) and at[1] < 0.9, model
        if row["family"] == "linear":
            assert np.diff(at) == pytest.approx(at[1] - at[0]), model


def test_olmo_2_goes_on_where_its_cosine_was_cut():
    """Two files of the source, one number: the rate at the cut is the next stage's peak."""
    cosine = ROWS.loc["OLMo 2 7B", "schedule"].parts[1]
    assert cosine(cosine.length) == pytest.approx(0.000061499 / 3e-4, rel=0.003)


def test_stages_are_read_as_they_are_written():
    assert schedule("linear 0 1 4; constant 1 6") == Linear(0.0, 1.0, 4) >> Constant(1.0, 6)
    cut = schedule("cosine 1 0.1 100 @ 20:50")
    whole = Cosine(100, end=0.1)
    assert cut.length == 30 and (cut(np.arange(30)) == whole(np.arange(20, 50))).all()
    assert cut(99) == whole(50)
    fast = schedule("exponential 0.65 0.15 100")
    assert fast.length == 100 and fast(np.array([0, 50, 100])) == pytest.approx(
        [0.65, (0.65 * 0.15) ** 0.5, 0.15]
    )
    assert schedule("sqrt 1 0.1 9") == OneMinusSqrt(9, end=0.1)
    root = schedule("constant 1 100; isqrt 100 @ 100:400")
    assert root(99) == root(100) == 1 and root(400) == 0.5
    for wrong in (
        "",
        "linear 0 1",
        "spline 0 1 5",
        "linear a b 5",
        "cosine 1 0 9 @ 5",
        "constant -1 5",
    ):
        with pytest.raises(ValueError, match=r"stage is .*, expected one of linear, "):
            schedule(wrong)
    with pytest.raises(ValueError, match=r"stage is .*, expected one that ends"):
        schedule("isqrt 100")
    with pytest.raises(ValueError, match="expected >= first"):
        Excerpt(whole, 9, 5)
