"""A recording is made by the protocol and comes back; a false one is found out."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR

from lrcourse.evidence import VERDICTS, ClaimError, claim
from lrcourse.experiments import questions
from lrcourse.experiments.declared import SCALES, AsItComes, Contrast, Experiment, Listener, Part
from lrcourse.experiments.questions import EXPERIMENTS
from lrcourse.experiments.recordings import FOLDER, Recording, provenance, read_recording
from lrcourse.experiments.tasks import task, trained
from lrcourse.schedules import Constant, Linear, OneCycle
from tools import findings
from tools.record import rechecking, running
from tools.record.__main__ import main
from tools.record.rechecking import recheck
from tools.record.running import run_experiment
from tools.record.writing import write_recording

PLANS = {"constant": Constant(), "linear": Linear(1, 0, 200)}
SMALL = {
    "planned": Part(PLANS, [0.002, 0.008, 0.032, 0.128], 200, 16, tuning=1, seeds=2),
    "listening": Part(
        {"listener": Listener(64, {"patience": 1}, every=50), "linear": Linear(1, 0, 200)},
        [0.008], 200, 16, tuning=1, seeds=2, every=50,
    ),
}  # fmt: skip
ASKED = [
    Contrast("constant instead of linear", "planned/constant", "planned/linear"),
    Contrast(
        "more so", "planned/constant", "planned/linear", ("listening/listener", "listening/linear")
    ),
    Contrast("stopped early", "planned/constant", "planned/constant@best"),
]
TRIAL = Experiment(lambda scale: SMALL, lambda parts: ASKED, "Does it?", 4, "Nobody 2026")


@pytest.fixture
def trial(monkeypatch):
    monkeypatch.setitem(questions.EXPERIMENTS, "trial", TRIAL)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    questions.EXPERIMENTS["trial"] = TRIAL
    try:
        run_experiment("trial", folder=folder, tell=lambda said: None)
    finally:
        del questions.EXPERIMENTS["trial"]
    return folder


@pytest.fixture
def folder(kept, tmp_path):
    for path in kept.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def rewritten(folder, change):
    """The recording after `change(frame)`, written so that its digest is right again."""
    recording = read_recording("trial", folder=folder)
    frame = recording.frame.copy()
    change(frame)
    write_recording(Recording(frame, recording.about), "trial", "cpu", folder)


@pytest.mark.slow
def test_a_recording_holds_together_and_what_it_tells_is_computed(trial, folder):
    assert recheck("trial", whole=True, folder=folder) == []
    recording = read_recording("trial", folder=folder)
    ends = recording.ends("planned")
    assert ends.shape == (2, 2) and ends.index.min() >= 500
    found = recording.finding("constant instead of linear")
    by_hand = 100 * (ends["constant"] / ends["linear"] - 1)
    assert found.difference.mean == pytest.approx(by_hand.mean())
    assert found.difference.n == 2 and found.verdict in VERDICTS
    other = recording.ends("listening")
    less = by_hand - 100 * (other["listener"] / other["linear"] - 1)
    assert recording.finding("more so").difference.mean == pytest.approx(less.mean())
    best = recording.outcome("planned/constant@best")
    rows = recording.rows("compared", "planned").query("schedule == 'constant'")
    lowest = rows.sort_values("validation_loss").groupby("seed").first()["test_loss"]
    pd.testing.assert_series_equal(best, lowest, check_names=False)
    with pytest.raises(KeyError, match="'less so' is not asked here"):
        recording.finding("less so")


@pytest.mark.slow
def test_a_killed_run_loses_one_part_and_goes_on_with_the_others(trial, tmp_path, monkeypatch):
    began = []

    def run(part, where, run=running._run):
        began.append(part.steps)
        if len(began) == 2:
            raise KeyboardInterrupt
        return run(part, where)

    monkeypatch.setattr(running, "_run", run)
    monkeypatch.setattr(running, "estimate", lambda *_: (60.0, 0.1))
    with pytest.raises(KeyboardInterrupt):
        run_experiment("trial", folder=tmp_path, tell=lambda said: None)
    assert list(read_recording("trial", folder=tmp_path).about["parts"]) == ["planned"]
    first = read_recording("trial", folder=tmp_path).frame
    whole = run_experiment("trial", folder=tmp_path, tell=lambda said: None)
    assert set(whole.about["parts"]) == {"planned", "listening"}
    assert whole.frame.head(len(first)).equals(first), "a part that is recorded is not run again"
    with pytest.raises(ValueError, match=r"planned of trial needs about 1\.0 min, and 0\.5 are"):
        run_experiment("trial", part="planned", minutes=0.5, folder=tmp_path)
    monkeypatch.setattr(running, "estimate", lambda *_: (60.0, 1e6))
    with pytest.raises(ValueError, match=r"planned of trial needs about 1000000\.0 GB, and"):
        run_experiment("trial", part="planned", folder=tmp_path)


@pytest.mark.slow
def test_time_and_memory_are_estimated_from_a_parts_own_first_updates(monkeypatch):
    """Two seeds make twenty updates in what the clock calls 4 s; evaluations come on top."""
    ticks = iter((0.0, 4.0))
    monkeypatch.setattr(running.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(running.os, "cpu_count", lambda: 2)
    seconds, memory = running.estimate(SMALL["planned"], torch.device("cpu"))
    updates = 2 * (4 * 1 + 2) * 200
    evaluated = 1 + 4096 / 16 / 3 / 100
    assert seconds == pytest.approx(updates * 4 / 2 / 20 * evaluated / 2)
    assert 0 < memory < 0.1


@pytest.mark.slow
def test_a_changed_figure_is_found_out(trial, folder):
    """By its digest at once; and where that was made anew, by what no longer comes out."""
    table = folder / "trial-cpu.parquet"
    whole = table.read_bytes()
    table.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    with pytest.raises(ValueError, match="damaged"):
        recheck("trial", folder=folder)
    table.write_bytes(whole)

    def first(frame):
        at = frame.query("phase == 'compared' and part == 'planned' and step == 100").index[0]
        frame.loc[at, "loss"] *= 1.01

    rewritten(folder, first)
    (said,) = recheck("trial", whole=True, folder=folder)
    assert said.startswith("trial, planned: constant at") and "recorded is" in said

    def all_of_them(frame):
        frame["loss"] *= 1.01

    rewritten(folder, all_of_them)
    assert len(recheck("trial", folder=folder)) == 2, "a drawn run of each part"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "column", "factor", "said"),
    [
        ("phase == 'compared' and schedule == 'linear'", "rate", 0.5, "another rate than its"),
        ("phase == 'compared' and schedule == 'linear'", "peak", 2.0, "tuned is"),
        ("phase == 'tuning' and peak == 0.032", "validation_loss", 0.5, "tuned is"),
    ],
)
def test_a_recording_that_contradicts_itself_is_found_out(
    trial, folder, where, column, factor, said, monkeypatch
):
    def change(frame):
        rows = frame.query(where + " and part == 'planned'").index
        frame.loc[rows, column] *= factor

    rewritten(folder, change)
    monkeypatch.setattr(rechecking, "_repeated", lambda *_: [])
    assert any(said in one for one in recheck("trial", folder=folder))


@pytest.mark.slow
def test_another_declaration_or_another_text_is_found_out(trial, folder, monkeypatch):
    other = replace(TRIAL, contrasts=lambda parts: ASKED[:1])
    monkeypatch.setitem(questions.EXPERIMENTS, "trial", other)
    assert recheck("trial", folder=folder) == [
        "trial: the contrasts were declared otherwise when it was recorded"
    ]
    more = SMALL | {"planned": replace(SMALL["planned"], seeds=3)}
    monkeypatch.setitem(questions.EXPERIMENTS, "trial", replace(TRIAL, parts=lambda scale: more))
    assert "trial, planned: it was declared otherwise when it was recorded" in recheck(
        "trial", folder=folder
    )
    monkeypatch.setattr(rechecking, "sympy_digest", lambda: "another")
    assert recheck("trial", folder=folder)[0].startswith("trial: this sympy is not the one")


@pytest.mark.slow
def test_a_chapter_stops_where_a_recordings_sign_is_flipped(trial, folder, capsys):
    def apart(frame):
        for schedule, factor in (("constant", 1.1), ("linear", 1.0)):
            rows = frame.query(f"phase == 'compared' and schedule == '{schedule}'").index
            noise = 1 + 1e-4 * frame.loc[rows, "seed"]
            frame.loc[rows, "test_loss"] = 2.0 * factor * noise

    rewritten(folder, apart)
    asked = "constant instead of linear"
    found = read_recording("trial", folder=folder).finding(asked)
    claim("A constant rate ends higher than a line", found, "higher")
    assert "✔ A constant rate ends higher than a line  [measured: recorded = +10.00 %" in (
        capsys.readouterr().out
    )
    flipped = {"constant": "linear", "linear": "constant"}

    def flip(frame):
        planned = frame["part"] == "planned"
        frame.loc[planned, "schedule"] = frame.loc[planned, "schedule"].replace(flipped)

    rewritten(folder, flip)
    found = read_recording("trial", folder=folder).finding(asked)
    with pytest.raises(ClaimError, match="does not hold in this run: A constant rate"):
        claim("A constant rate ends higher than a line", found, "higher")


FRAME = pd.DataFrame({"schedule": ["a", "b"], "seed": [0, 1], "test_loss": [2.5, None]})


def test_the_gpu_goes_first_and_what_is_wrong_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no recording of 'trial'.*record run trial"):
        read_recording("trial", folder=tmp_path)
    table = write_recording(Recording(FRAME, {"scale": "cpu"}), "trial", "cpu", tmp_path)
    pd.testing.assert_frame_equal(read_recording("trial", folder=tmp_path).frame, FRAME)
    write_recording(Recording(FRAME.head(1), {"scale": "gpu"}), "trial", "gpu", tmp_path)
    assert len(read_recording("trial", folder=tmp_path).frame) == 1
    assert len(read_recording("trial", "cpu", tmp_path).frame) == 2
    about = table.with_suffix(".json").read_text(encoding="utf-8")
    for text in ("", "[1, 2]", about[:40], "{}"):
        table.with_suffix(".json").write_text(text)
        with pytest.raises(ValueError, match=r"trial-cpu\.json is not the provenance of"):
            read_recording("trial", "cpu", folder=tmp_path)
    table.with_suffix(".json").write_text(json.dumps(json.loads(about) | {"format": 99}))
    with pytest.raises(ValueError, match=r"has format 99, this course reads 2"):
        read_recording("trial", "cpu", folder=tmp_path)
    assert {"date", "versions", "commit", "changed", "code"} <= set(provenance())


def test_the_command_line_says_what_it_has(capsys):
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in EXPERIMENTS)
    assert main(["run", "law", "--part", "two"]) == 2
    assert capsys.readouterr().err == "part is 'two', expected 'one'\n"
    assert main(["run", "cuts", "--scale", "gpu"]) == 2
    assert capsys.readouterr().err == "scale is 'gpu', expected 'cpu'\n"


def test_one_cycle_as_it_comes_has_the_planned_rates_and_a_momentum_that_moves():
    sgd = {"optimizer": SGD, "settings": {"momentum": 0.9}, "every": 50}
    part = Part({"moves": AsItComes(200), "stays": OneCycle(200)}, [0.2], 200, 16, **sgd)
    settings = task(part, torch.device("cpu"))
    rows = trained(peaks=[0.2], seeds=[1], schedules=part.schedules, steps=200, **settings)
    ends = rows[rows["step"] == 200].set_index("schedule")
    rates = rows.pivot(index="step", columns="schedule", values="rate")
    np.testing.assert_allclose(rates["moves"], rates["stays"], rtol=1e-9)
    net, batches = settings["model"](1), settings["batches"](1)
    optimizer = SGD(net.parameters(), lr=1.0, momentum=0.9)
    scheduler = OneCycleLR(optimizer, 0.2, total_steps=200)
    for t in range(200):
        x, y = batches(t)
        optimizer.zero_grad()
        cross_entropy(net(x), y).backward()
        optimizer.step()
        scheduler.step()
    by_hand = settings["evaluate"](net)["test_loss"].item()
    assert ends["test_loss"]["moves"] == pytest.approx(by_hand, rel=1e-5)
    assert abs(ends["test_loss"]["stays"] / by_hand - 1) > 1e-4


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_what_is_declared_fits_together(name):
    """Contrasts name runs that there are; a hundred updates is a row; enough seeds judge."""
    experiment = EXPERIMENTS[name]
    for scale in experiment.scales:
        parts = experiment.parts(SCALES[scale])
        runs = {f"{title}/{one}" for title, part in parts.items() for one in part.schedules}
        asked = experiment.contrasts(parts)
        for one in asked:
            assert {n.removesuffix("@best") for n in (one.a, one.b, *(one.less or ()))} <= runs
        assert len({one.asks for one in asked}) == len(asked)
        for title, part in parts.items():
            assert 100 % part.every == 0 and part.steps >= 100
            largest = name == "growth" and part.model["width"] == 48
            least = 4 if scale == "gpu" else 8 if largest else 16
            assert part.seeds >= least, title
        assert list((FOLDER.parents[1] / "notebooks").glob(f"{experiment.chapter:02}_*.ipynb"))


def test_every_recording_that_is_committed_is_whole_and_in_the_readme():
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    tables = sorted(FOLDER.glob("*.parquet"))
    assert {path.stem.rsplit("-", 1)[0] for path in tables} == set(EXPERIMENTS)
    for table in tables:
        name, scale = table.stem.rsplit("-", 1)
        recording = read_recording(name, scale)
        assert f"python -m tools.record run {name} --scale {scale}`" in readme
        for title, part in recording.about["parts"].items():
            assert not part["changed"], f"{table.name}, {title}: by code that is not committed"
        assert np.isfinite([one.difference.mean for one in recording.findings()]).all()


def test_the_page_of_findings_is_that_of_the_recordings():
    assert findings.FINDINGS.read_text(encoding="utf-8") == findings.findings_page(), (
        "make it anew: python -m tools.findings"
    )
    for name, recording in findings.latest().items():
        if recording.about["contrasts"]:
            image = (findings.FORESTS / f"{name}.png").read_bytes()
            assert image == findings.draw_forest(recording).png(), name
