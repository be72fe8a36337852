"""A recording comes back as it was written, or says in words why it cannot."""

import json

import pandas as pd
import pytest

from lrcourse import comparison
from lrcourse.comparison import tuned
from lrcourse.experiments import declared, running
from lrcourse.experiments.__main__ import main
from lrcourse.experiments.declared import EXPERIMENTS, SCALES, Grid, Scale, sensitivity
from lrcourse.experiments.recordings import (
    FOLDER,
    Recording,
    provenance,
    read_recording,
    write_recording,
)
from lrcourse.experiments.running import run_experiment
from lrcourse.schedules import Constant, Cosine

FRAME = pd.DataFrame({"schedule": ["a", "b"], "seed": [0, 1], "test_loss": [2.5, None]})


def test_round_trip_and_the_gpu_goes_first(tmp_path):
    recording = Recording(FRAME, provenance(scale="cpu", device="CPU, 2 cores"))
    write_recording(recording, "trial", "cpu", tmp_path)
    back = read_recording("trial", folder=tmp_path)
    pd.testing.assert_frame_equal(back.frame, FRAME)
    assert {"date", "versions", "commit", "changed", "code", "format"} <= set(back.about)
    assert back.caption.startswith("recorded: cpu scale, CPU, 2 cores, 20")
    write_recording(
        Recording(FRAME.head(1), provenance(scale="gpu", device="G")), "trial", "gpu", tmp_path
    )
    assert len(read_recording("trial", folder=tmp_path).frame) == 1
    assert len(read_recording("trial", "cpu", tmp_path).frame) == 2


def test_what_is_wrong_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no recording of 'trial'.*experiments run trial"):
        read_recording("trial", folder=tmp_path)
    table = write_recording(Recording(FRAME, provenance(scale="cpu")), "trial", "cpu", tmp_path)
    whole, about = table.read_bytes(), table.with_suffix(".json").read_text()
    table.write_bytes(whole[:-9])
    with pytest.raises(ValueError, match=r"trial-cpu\.parquet is damaged"):
        read_recording("trial", folder=tmp_path)
    table.write_bytes(whole)
    for text in ("", "[1, 2]", about[:40], "{}"):
        table.with_suffix(".json").write_text(text)
        with pytest.raises(ValueError, match=r"trial-cpu\.json is not the provenance of"):
            read_recording("trial", folder=tmp_path)
    newer = json.loads(about) | {"format": 99}
    table.with_suffix(".json").write_text(json.dumps(newer))
    with pytest.raises(ValueError, match=r"has format 99, this course reads 1"):
        read_recording("trial", folder=tmp_path)
    table.with_suffix(".json").unlink()
    with pytest.raises(FileNotFoundError, match=r"trial-cpu\.json"):
        read_recording("trial", folder=tmp_path)


def test_each_seed_is_judged_at_the_peak_that_the_others_choose():
    losses = {
        (1, 0): 3,
        (1, 1): 3,
        (2, 0): 1,
        (2, 1): 2,
        (4, 0): 2,
        (4, 1): 1,
        (8, 0): 3,
        (8, 1): 3,
    }
    rows = [
        {"schedule": "s", "peak": p, "seed": s, "test_loss": loss}
        for (p, s), loss in losses.items()
    ]
    # Seed 1 likes peak 4, so seed 0 is judged there, and the other way round.
    assert tuned(pd.DataFrame(rows))["s"].to_dict() == {0: 2, 1: 2}
    with pytest.raises(ValueError, match="two or more"):
        tuned(pd.DataFrame(rows)[lambda f: f["seed"] == 0])
    with pytest.raises(ValueError, match="edge of the grid"):
        tuned(pd.DataFrame(rows)[lambda f: f["peak"] > 2])


def test_sensitivity_counts_a_lost_run_as_one_that_learned_nothing():
    rows = pd.DataFrame(
        {"peak": [1, 2, 4], "seed": 0, "test_loss": [2.0, 3.0, None], "uniform_loss": 5.0}
    )
    assert sensitivity(rows).to_dict() == {0: pytest.approx((0 + 1 + 3) / 3)}


TINY = Scale(
    "cpu", {"vocabulary": 128, "layers": 1, "heads": 1, "width": 8},
    context=8, batch=2, steps=20, peaks=[0.001, 0.01, 0.1], seeds=2, chunk=40, ratios=(0.02, 0.1),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_runs_and_reports(name, tmp_path, monkeypatch):
    # At a size that shows nothing but that all parts fit together.
    monkeypatch.setitem(SCALES, "cpu", TINY)
    for module in (declared, comparison):
        monkeypatch.setattr(
            module, "best", lambda *_: pd.DataFrame({"optimum": 1.0, "peak": [0.01]})
        )
    recording = run_experiment(name, folder=tmp_path)
    grids = EXPERIMENTS[name].grids(TINY)
    assert recording.about["runs"] == 2 * sum(len(g.schedules) * len(g.peaks) for g in grids)
    assert set(recording.frame["seed"]) == {0, 1} and recording.frame["test_loss"].notna().any()
    assert read_recording(name, folder=tmp_path).about["experiment"] == name


def test_an_experiment_is_the_same_on_one_core_as_on_two(monkeypatch):
    grid = Grid({"constant": Constant(), "cosine": Cosine(20)}, [0.01, 0.1], 20)
    monkeypatch.setitem(SCALES, "cpu", TINY)
    both = []
    for cores in (1, 2):
        monkeypatch.setattr(running.os, "cpu_count", lambda cores=cores: cores)
        text, cpu = running.corpus(context=8), running.torch.device("cpu")
        both.append(running._train(grid, TINY, range(2), text, cpu))
    pd.testing.assert_frame_equal(*both, rtol=1e-6)


def test_the_command_line_says_what_it_has(capsys):
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in EXPERIMENTS)
    assert main(["run", "law", "--seeds", "1"]) == 2
    assert capsys.readouterr().err == "seeds is 1, expected a whole number >= 2\n"
    for bad, match in ((("nonsense", "cpu"), "name is 'nons"), (("law", "huge"), "scale is 'huge")):
        with pytest.raises(ValueError, match=match):
            run_experiment(*bad)


def test_every_recording_that_is_committed_can_be_read_and_is_in_the_readme():
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    tables = sorted(FOLDER.glob("*.parquet"))
    assert {path.stem.rsplit("-", 1)[0] for path in tables} == set(EXPERIMENTS)
    for table in tables:
        recording = read_recording(*table.stem.rsplit("-", 1))
        assert recording.about["command"] in readme
        assert not recording.about["changed"], f"{table.name} was made by code not committed"
        assert EXPERIMENTS[recording.about["experiment"]].findings(recording.frame)
