"""Open exercises are judged on seeds that nobody has seen; live runs agree with recorded ones."""

import re

import numpy as np
import pandas as pd
import pytest

from lrcourse.exercises import chapter_01, check, contest
from lrcourse.exercises.contest import Contest, name_of, rates_of
from lrcourse.experiments import repeating
from lrcourse.experiments.recordings import read_recording
from lrcourse.experiments.repeating import declared, repeat, run_again
from lrcourse.landscapes import descend

RACE = Contest("04 open", "cuts", "at 80 %")


def verdict(entry):
    """The first hint, or None and the praise."""
    judging = RACE.judge(entry)
    try:
        return next(judging), ""
    except StopIteration as end:
        return None, end.value


@pytest.fixture
def runs(monkeypatch, tmp_path):
    """Runs that end as a test says, in an empty folder; gives the calls."""
    calls = []

    def ended(recording, entries, *, seeds, part):
        calls.append(list(seeds))
        noise = np.random.default_rng(0).normal(0, 0.002, len(calls[-1]))
        base = pd.Series(2.3, index=calls[-1])
        peak = entries["entry"][1]  # the larger the worse, for these
        return pd.DataFrame({"entry": base * (0.98 + peak + noise), "base": base})

    monkeypatch.setattr(contest, "run_again", ended)
    monkeypatch.chdir(tmp_path)
    return calls


def test_each_entry_has_seeds_of_its_own_that_no_recording_has(runs):
    for peak in (0.01, 0.011, 0.01):
        verdict(lambda t, peak=peak: peak * (1 - t / 1000))
    first, other, again = map(set, runs)
    assert first == again and not first & other
    seen = read_recording("cuts").frame["seed"]
    assert not (first | other) & {*seen} and min(first) > 10_000 > seen.max()
    assert len(first) == contest.PAIRS == 16


def test_who_is_lower_for_sure_is_right_and_who_is_not_is_told_by_how_much(runs):
    hint, praise = verdict(lambda t: 0.001)
    assert hint is None and "place = 1 of 1" in praise
    told = r"test loss lower by = (1\.\d\d) % \(95 %: (\d\.\d\d) … (\d\.\d\d)\)"
    lower, low, high = map(float, re.search(told, praise).groups())
    assert 0 < low < lower < high
    hint, _ = verdict(lambda t: 0.1)
    assert hint.startswith("Against at 80 % it ends +7.9") and ": higher." in hint
    assert "higher" not in verdict(lambda t: 0.02)[0] and "share of a peak" not in hint
    hint, _ = verdict(lambda t: 1 - t / 1000)
    assert re.search(r"1, is \d\d+ times that of at 80 %: give the rate itself, not a share", hint)


def test_the_board_lies_in_the_learners_folder_and_nowhere_else(runs, tmp_path, capsys):
    verdict(lambda t: 0.001)
    assert not [*tmp_path.iterdir()]
    (tmp_path / contest.MARK).touch()
    hint, _ = verdict(lambda t: 0.1)
    assert "Place 1 of 1" in hint
    assert "place = 1 of 2" in verdict(lambda t: 0.001)[1]
    assert "Place 2 of 2" in verdict(lambda t: 0.1)[0], "the same entry stands there once"
    board = pd.read_csv(tmp_path / "boards" / "04_open.csv")
    assert board["per_cent"].is_monotonic_increasing and len(board) == 2
    check("04 open", lambda t: 0.002, board=False)  # a solution: told its place, and not kept
    assert "place = 2 of 3" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "boards" / "04_open.csv").equals(board)


def test_a_name_does_not_hang_on_the_last_digits():
    with pytest.raises(StopIteration) as end:
        next(rates_of(lambda t: 0.02 * (1 - t / 1000), 1000))
    rates = end.value.value
    assert name_of(rates) == name_of(rates * (1 + 1e-12)) != name_of(rates * 1.01)


def test_each_walk_of_chapter_01_has_valleys_of_its_own(monkeypatch, tmp_path):
    """As narrow as it says, none of them seen before; better is right, and equal is not."""
    seen = []

    def noted(valley, start, rate, steps, **how):
        seen.append((*valley.curvatures, *start))
        return descend(valley, start, rate, steps, **how)

    monkeypatch.setattr(chapter_01, "descend", noted)
    monkeypatch.chdir(tmp_path)
    drawn = []
    for rate, momentum in ((0.002, 0.9), (0.002, 0.8), (0.0021, 0.9), (0.002, 0.9)):
        seen.clear()
        hints = [*chapter_01.check_01_open((lambda t, rate=rate: rate, momentum))]
        assert len(hints) == (momentum == 0.8)
        drawn.append(frozenset(seen))
        assert {(min(one[:20]), max(one[:20])) for one in seen} == {(1, 1000)}
    first, other, third, again = drawn
    assert first == again and len(first) == 16
    assert not first & other and not first & third and not other & third
    assert not [*tmp_path.iterdir()]


@pytest.mark.slow
def test_the_baseline_is_no_better_than_itself_and_a_wild_rate_diverges():
    recording = read_recording("cuts")
    peak = recording.about["parts"]["one"]["tuned"]["at 80 %"]
    schedule = declared(recording).schedules["at 80 %"]
    hint, _ = verdict(lambda t: peak * schedule(t))
    assert "+0.00 %" in hint and "no difference that matters" in hint
    both = {"as recorded": (schedule, peak), "wild": (lambda t: 1.0, 1e4)}
    ends = run_again(recording, both, seeds=[500, 501])
    assert ends["wild"].isna().all() or (ends["wild"] > 10).all()
    assert np.allclose(ends["as recorded"], recording.outcome("one/at 80 %").loc[[500, 501]], 1e-3)


@pytest.mark.slow
def test_live_runs_agree_with_the_recording_or_stop_the_chapter(monkeypatch):
    recording = read_recording("cuts")
    live = repeat(recording, ["at 80 %", "constant"], seeds=[901, 902])
    assert live.shape == (2, 2) and live.index.tolist() == [901, 902]
    monkeypatch.setattr(repeating, "run_again", lambda *_, **__: live + 0.15)
    with pytest.raises(
        RuntimeError, match=r"ends at 2\.\d+ nats on 2 seeds, recorded are 2\.\d+: "
    ):
        repeat(recording, ["at 80 %", "constant"], seeds=[901, 902])
    monkeypatch.setattr(repeating, "sympy_digest", lambda: "another")
    repeat(recording, ["at 80 %", "constant"], seeds=[901, 902])  # says so, and goes on
    with pytest.raises(ValueError, match="a schedule is 'at 81 %', expected"):
        repeat(recording, ["at 81 %"], seeds=[901, 902])
