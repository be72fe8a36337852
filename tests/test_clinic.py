"""Each case of the clinic is sick in the way it says, and its cure cures it."""

import warnings

import numpy as np
import pytest

from lrcourse.chapters.clinic import (
    STEPS,
    WARDS,
    Case,
    Patient,
    Sharp,
    admit,
    causes,
    remedy,
    warm_cosine,
)

CASES = [case for cases, _ in WARDS.values() for case in cases]


def name(case):
    return type(case).__name__


pytestmark = pytest.mark.slow  # `stays` runs every case twice


@pytest.fixture(scope="module")
def stays():
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # whatever torch says is caught and kept
        return {case: admit(case, seed=0) for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=name)
def test_each_case_shows_its_symptom_and_its_cure_does_not(case, stays):
    stay = stays[case]
    assert case.symptom(stay.broken, stay.well)
    assert not case.symptom(stay.well, stay.well)
    np.testing.assert_allclose(stay.well.rate[:, 0], case.plan(stay.well), rtol=1e-6, atol=1e-9)
    assert not np.allclose(stay.broken.rate[:, 0], stay.well.rate[:, 0]) or isinstance(case, Sharp)


@pytest.mark.parametrize("case", CASES[:12], ids=name)
def test_the_rates_of_the_first_three_wards_are_off_their_plan(case, stays):
    """Also where the plan is a rule: here it is fed with what the broken run itself heard."""
    run = stays[case].broken
    assert not np.allclose(run.rate[:, 0], case.plan(run), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("ward", WARDS)
def test_no_symptom_fits_another_case_of_the_ward(ward, stays):
    """Or the curves would not tell which of the causes it is."""
    cases, _ = WARDS[ward]
    for case in cases:
        for other in cases:
            if other is not case:
                stay = stays[other]
                assert not case.symptom(stay.broken, stay.well), (name(case), name(other))


def test_wards_hold_every_case_once_and_offer_causes_to_choose_from():
    assert {type(case) for case in CASES} == set(Case.__subclasses__()) and len(CASES) == 16
    for ward, (cases, _) in WARDS.items():
        offered = causes(ward)
        assert len(set(offered)) == 6 and {case.cause for case in cases} < set(offered)


def test_torch_warns_of_the_order_alone(stays):
    said = {name(case): stay.said for case, stay in stays.items() if stay.said}
    assert set(said) == {"Order", "Pieces"} and "before `optimizer.step()`" in said["Order"][0]


def test_a_remedy_is_short():
    for case in CASES:
        marks = [line[0] for line in remedy(case).splitlines()]
        assert 1 <= marks.count("+") + marks.count("-") <= 5, name(case)


def test_the_chart_is_what_train_would_have_written():
    a, b = Patient(0), Patient(0)
    run = a.train(warm_cosine(a.optimizer), steps=30, norms=False)
    scheduler = warm_cosine(b.optimizer)
    for t in range(30):
        b.backward(t)
        b.optimizer.step()
        scheduler.step()
    chart = b.chart()
    for name in ("loss", "rate", "gradient_norm", "update_norm"):
        np.testing.assert_array_equal(getattr(chart, name), getattr(run, name), err_msg=name)
    assert len(run) == 30 < STEPS
