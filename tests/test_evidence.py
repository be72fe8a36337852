"""Claims fail when false, exercises reject wrong answers, figures carry their words."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrcourse.evidence import (
    VERDICTS,
    ClaimError,
    Difference,
    Finding,
    claim,
    measured,
    myth,
    paired,
    verdict,
)

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


def test_paired_is_the_t_test():
    from scipy.stats import ttest_rel

    a, b = np.random.default_rng(0).normal(size=(2, 9))
    difference, scipys = paired(a, b), ttest_rel(a, b)
    assert difference.p_value == pytest.approx(scipys.pvalue)
    assert difference.interval == pytest.approx(tuple(scipys.confidence_interval()))
    assert paired([1, 2], [0, 1]).p_value == 0
    assert paired([1, 2], [1, 2]).p_value == 1
    for bad in (([1], [1]), ([1, 2], [1, 2, 3]), ([1, np.nan], [1, 2])):
        with pytest.raises(ValueError):
            paired(*bad)


@given(st.floats(-9, 9), st.floats(0.001, 9), st.integers(2, 40), st.floats(0.01, 9))
def test_a_verdict_follows_from_interval_and_margin(mean, se, n, margin):
    found = Difference(mean, se, n)
    low, high = found.interval
    said = verdict(found, margin)
    assert said in VERDICTS
    assert said.startswith("higher") == (low > 0) and said.startswith("lower") == (high < 0)
    within = -margin < low and high < margin
    assert within == ("matter" in said)
    assert (said == "not settled") == (not within and low <= 0 <= high)
    mirrored = {"higher": "lower", "lower": "higher"}
    turned = re.sub("higher|lower", lambda word: mirrored[word[0]], said)
    assert verdict(Difference(-mean, se, n), margin) == turned


def test_claims_and_myths_stand_on_the_verdict_they_put_into_words(capsys):
    higher = Finding("a above b", Difference(2.0, 0.1, 16), margin=0.5)
    open_ = Finding("a above b", Difference(0.4, 0.5, 16), margin=0.5)
    claim("A ends higher", higher, "higher")
    myth("A ends lower", false_because=higher, says="higher")
    myth("A ends higher", true_when={"it is run for long": higher}, says="higher")
    myth("A ends higher", not_settled=open_)
    effect = "[measured: recorded = +2.00 % (95 %: +1.79 … +2.21, n = 16), verdict = higher]"
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"✔ A ends higher  {effect}"
    assert said[1] == f"✔ Myth refuted: “A ends lower”  {effect}"
    assert said[2].startswith("✔ Myth, true when it is run for long: “A ends higher”  [measured")
    assert said[3].startswith("✔ Myth, not settled: “A ends higher”  [measured: recorded = +0.40")
    for stops in (
        lambda: claim("A ends lower", higher, "lower"),
        lambda: claim("A ends higher", open_, "higher"),
        lambda: myth("A ends higher", not_settled=higher),
        lambda: myth("A ends lower", false_because=open_, says="higher"),
        lambda: myth("So it is", true_when={"it rains": False}),
    ):
        with pytest.raises(ClaimError):
            stops()
    for refused in (
        lambda: claim("A ends higher", higher, "upper"),
        lambda: claim("A ends higher", higher),
        lambda: claim("Two is two", True, "higher"),
        lambda: myth("A ends higher", false_because=higher),
        lambda: myth("A ends higher", false_because=True, not_settled=open_),
    ):
        with pytest.raises(ValueError, match="expected"):
            refused()
