"""Each case of the clinic has the fault that it says, in few lines, and a log to be read."""

import warnings

import numpy as np
import pandas as pd
import pytest

from lrcourse.chapters.clinic import AS_PLANNED, BEDS, CASES, STEPS, examine, log_of

OFF_THE_PLAN = set(CASES) - AS_PLANNED - {"bad", "slipped"}
SAME_END = {"order", "jump", "skipped"}  # the fault may cost nothing in so small a network


@pytest.mark.slow  # each case is trained twice
@pytest.mark.parametrize("name", CASES)
def test_a_case_has_its_fault_and_its_cure_cures_it(name):
    sick, well = log_of(name, seed=0), log_of(name, seed=0, mended=True)
    off, cured = (~np.isclose(log["rate"], log["planned"], 1e-6, 1e-9) for log in (sick, well))
    assert off[~sick["skipped"]].any() == (name in OFF_THE_PLAN)
    assert not cured[~well["skipped"]].any() and len(sick) == len(well) == STEPS
    assert sick["skipped"].any() == (name == "skipped")
    late = [log["loss"][-60:].mean() for log in (sick, well)]
    assert late[0] > 2 * late[1] or name in SAME_END


def test_a_script_has_few_marked_lines_and_every_case_a_bed():
    for name, case in CASES.items():
        assert 1 <= sum(line[0] in "+-" for line in case.lines) <= 4, name
        assert {line[:2] for line in case.lines} <= {"  ", "- ", "+ "}, name
    assert sorted(BEDS) == sorted(CASES) and len(BEDS) == 16


@pytest.mark.parametrize("name", ["order", "pieces", "skipped", "resume", "unit"])
def test_torch_warns_of_the_order_where_the_first_call_comes_before_an_update(name, monkeypatch):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "simplefilter", lambda *_: None)  # log_of would hide them
        log_of(name, seed=5)
        said = " ".join(str(warning.message) for warning in caught)
    assert ("before `optimizer.step()`" in said) == (name in {"order", "pieces", "skipped"})


def test_a_log_comes_back_from_a_file(tmp_path):
    log = log_of("resume", seed=0)
    log.to_csv(tmp_path / "log.csv", index=False)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "log.csv"), log)
    assert log.loc[60, "planned"] / log.loc[60, "rate"] == pytest.approx(10, rel=0.01)


def test_the_cause_is_told_when_it_is_asked_for(capsys):
    first = examine(1)
    cause, said = CASES[BEDS[0]].cause, capsys.readouterr().out
    assert CASES[BEDS[0]].report in said and cause not in said + first.alt
    assert cause in (examine(1, told=True), capsys.readouterr().out)[1]
    for number in (0, 17, 1.5, "resume"):
        with pytest.raises(ValueError, match="expected a whole number from 1 to 16"):
            examine(number)
    with pytest.raises(ValueError, match="name is 'Resume', expected 'order' or"):
        log_of("Resume", seed=0)
