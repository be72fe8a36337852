"""Claims fail when false, exercises reject wrong answers, figures carry their words."""

import re
from pathlib import Path

import numpy as np
import pytest

from lrcourse.evidence import ClaimError, claim, measured, myth, paired

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
