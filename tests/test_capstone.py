"""The race is fair, refuses in words, and keeps its board whole."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR

from lrcourse.chapters import capstone
from lrcourse.chapters.capstone import (
    SEEDS,
    Board,
    Score,
    baseline,
    baselines,
    cited,
    factors,
    score,
)
from lrcourse.schedules import Constant, Linear, Warmup

SHORT = {"updates": 100, "seed": 0}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_a_baseline_entered_by_hand_is_that_baseline():
    """The same seeds and minibatches: nothing but rounding between the two."""
    known = baselines(**SHORT)
    assert baselines(100) is known, "computed once per process"
    made = score(baseline("linear", 100), known.best.loc["linear", "optimum"], **SHORT)
    same = made.difference("linear")
    assert abs(same.mean) < 0.05 and same.n == SEEDS
    assert list(made.losses.index) == list(known.ends.index[:SEEDS])
    assert made.best == known.best["mean"].idxmin(), "chosen on the tuning seeds"
    peak = known.best.loc["linear", "optimum"]
    last = score(lambda t: 1 - t / 100, peak, held_back=True, **SHORT)
    assert abs(last.difference("linear").mean) < 0.05
    assert list(last.losses.index) == list(known.ends.index[SEEDS:])
    assert "8 held-back seeds" in str(last)
    table = capstone.losses({"a": (Constant(), 1e-4), "b": (Constant(), 50.0)}, **SHORT)
    assert table.shape == (2 * SEEDS, 2) and table["b"].isna().all() and table["a"].notna().all()


def test_diverged_seeds_are_reported_and_never_dropped():
    board = Board()
    lost = score(Constant(), 30.0, name="too large", board=board, **SHORT)
    assert lost.losses.isna().all() and set(lost.diverged) == set(lost.losses.index)
    with pytest.raises(ValueError, match=r"8 of 8 runs diverged \(seed 500 at update 1"):
        lost.difference()
    score(Constant(), 1e-5, name="too small", board=board, **SHORT)
    assert list(board.table()["name"]) == ["too small", "too large"]
    assert list(board.table()["diverged"]) == [0, SEEDS]


@pytest.mark.parametrize(
    ("schedule", "peak", "words"),
    [
        ("linear", 0.01, "function of t.*got str"),
        (Linear, 0.01, "function of t.*got Linear"),
        (StepLR(SGD([torch.zeros(1)], 0.1), 3), 0.01, "function of t.*got StepLR"),
        (lambda t: None, 0.01, r"schedule\(0\) is None, expected a finite number >= 0"),
        (lambda t: [1.0], 0.01, r"schedule\(0\) is \[1.0\]"),
        (lambda t: True, 0.01, r"schedule\(0\) is True"),
        (lambda t: np.inf if t == 7 else 1, 0.01, r"schedule\(7\) is inf"),
        (lambda t: np.nan, 0.01, r"schedule\(0\) is nan"),
        (lambda t: 1 - t / 50, 0.01, r"schedule\(51\) is -0.02"),
        (Constant(0.0), 0.01, "0 at every update"),
        (Constant(), 0, "peak is .*, expected a finite number > 0"),
        (Constant(), np.nan, "peak is .*, expected a finite number > 0"),
        (Constant(), "0.1", "peak is .*, expected a finite number > 0"),
        (Constant(), True, "peak is .*, expected a finite number > 0"),
    ],
)
def test_bad_entries_are_refused_at_once_in_words(schedule, peak, words, monkeypatch):
    monkeypatch.setattr(capstone, "sweep", lambda *a, **k: pytest.fail("it was trained"))
    monkeypatch.setattr(capstone, "compare", lambda *a, **k: pytest.fail("it was trained"))
    with pytest.raises((TypeError, ValueError), match=words):
        score(schedule, peak)


def test_bad_races_are_refused_in_words():
    for options, words in (
        ({"updates": 10}, "updates is .*, expected a whole number from 100 to 3000"),
        ({"updates": 300.0}, "updates is .*, expected a whole number from 100 to 3000"),
        ({"seed": -1}, "seed is -1, expected"),
        ({"name": " "}, "one line"),
        ({"name": "linear"}, "no baseline's name"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            score(Constant(), 0.01, **({"updates": 100} | options))
    with pytest.raises(RuntimeError, match="mine"):  # an error of the entry's own stays what it is
        factors(broken, 0.01)


def broken(t):
    raise RuntimeError("mine")


def made(name, peak=0.01, per_cent=0.0, held_back=False, seed=0, schedule=None):
    """A score that no run was needed for."""
    seeds = range(SEEDS)
    rivals = pd.DataFrame({"linear": np.linspace(2, 2.1, SEEDS)}, index=seeds)
    ends = rivals["linear"] * (1 + per_cent / 100)
    rates = factors(schedule or Linear(1, 0, 100), peak, 100)
    return Score(name, peak, rates, ends, {}, rivals, "linear", held_back, seed)


def test_the_board_ranks_counts_and_takes_one_final_entry(tmp_path):
    board = Board(tmp_path / "race")
    for name, per_cent, peak in (("b", 0.5, 0.01), ("a", -0.2, 0.02), ("c", 1.0, 0.03)):
        board.post(made(name, peak, per_cent))
    board.post(made("b again", 0.01, 0.4))  # the same plan: a newer row, no new try
    assert list(board.table()["name"]) == ["a", "b again", "c"]
    board.post(made("a", 0.02, 0.1, held_back=True))
    board.post(made("a", 0.02, 0.1, held_back=True))  # looked at again, not chosen again
    with pytest.raises(ValueError, match=r"'a' was the final entry.*another seed"):
        board.post(made("c", 0.03, held_back=True))
    board.post(made("c", 0.03, held_back=True, seed=1))  # a new race
    with pytest.raises(ValueError, match="another plan is called 'a'"):
        board.post(made("a", 0.04))
    again = Board(tmp_path / "race")
    pd.testing.assert_frame_equal(again.table(), board.table())
    with pytest.raises(ValueError, match="was the final entry"):
        again.post(made("c", 0.03, held_back=True))


def test_the_board_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    board = Board(tmp_path)
    board.post(made("first"))
    kept = (tmp_path / "leaderboard.csv").read_bytes()

    def half(self, path, **_):
        path.write_text("race,pl")
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_csv", half)
        with pytest.raises(OSError, match="disk is full"):
            board.post(made("second", 0.02))
    assert (tmp_path / "leaderboard.csv").read_bytes() == kept
    assert len(board.table()) == len(Board(tmp_path).table()) == 1
    for damage in (b"race,pl", b"", b"\xff\xfe\x00", kept.replace(b"per_cent", b"percent")):
        (tmp_path / "leaderboard.csv").write_bytes(damage)
        with pytest.raises(ValueError, match="no leaderboard, move it away"):
            Board(tmp_path)


def test_what_a_guide_cites_must_stand_in_the_list(capsys):
    cited(("08", "Use the plateau scheduler where the metric is noisy"))
    assert capsys.readouterr().out.startswith("08 · Use the plateau")
    with pytest.raises(ValueError, match="does not hold: 08: All is well; 99: The floor"):
        cited(("08", "All is well"), ("99", "The floor is proportional to the rate"))


def test_factors_of_a_composition():
    plan = Warmup(2) >> Constant(length=2) >> Linear(1, 0, 2)
    assert factors(plan, 0.01, 6).tolist() == [0, 0.5, 1, 1, 1, 0.5]
    assert factors(lambda t: np.float32(1), 1, 3).tolist() == [1, 1, 1]
