"""docs/template.py, which people copy: it uses the planned rates, and survives being killed."""

import json
import signal
import subprocess
import sys
import time
import warnings
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch

from lrcourse.doctor.__main__ import main as doctor
from lrcourse.files import ROOT

FILE = ROOT / "docs" / "template.py"
SPEC = spec_from_file_location("template", FILE)
template = module_from_spec(SPEC)
SPEC.loader.exec_module(template)


@pytest.fixture(autouse=True)
def no_warning_and_one_thread():
    """Nothing is warned of, above all not of an order; and sums are the same in every test."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    torch.set_num_threads(threads)


def go(out, line=""):
    """Run it in this process; the rows of its log."""
    template.main(["--out", str(out), *line.split()])
    return rows(out)


def rows(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def state(out):
    return torch.load(out / "checkpoint.pt", weights_only=True)


def same(a, b):
    """Whether two states are equal, bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def column(log, name):
    return np.array([row[name] for row in log])


def test_each_update_uses_the_planned_rate(tmp_path):
    log = go(tmp_path, "--updates 60 --lr 0.02 --warmup 10")
    plan = np.interp(np.arange(60), [0, 9, 10, 60], [0.1, 1, 1, 0])
    assert column(log, "update").tolist() == [*range(60)]
    np.testing.assert_allclose(column(log, "lr"), 0.02 * plan, rtol=1e-12)
    assert state(tmp_path)["scheduler"]["last_epoch"] == 60


@pytest.mark.parametrize("updates", [200, 3000])
def test_the_doctor_knows_its_plan(updates, tmp_path, capsys):
    run = [template.factor(t, 10, updates) / 100 for t in range(updates)]  # as the test above says
    log = tmp_path / "log.jsonl"
    log.write_text("".join(f'{{"update": {t}, "lr": {r}}}\n' for t, r in enumerate(run)))
    for warmup, status in {9: 1, 10: 0, 11: 1}.items():
        how = f"--plan linear --warmup {warmup} --steps {updates}"
        assert doctor([str(log), *how.split()]) == status, warmup
    assert "planned" in capsys.readouterr().out


def test_a_schedule_per_epoch_moves_at_the_end_of_each(tmp_path):
    log = go(tmp_path, "--updates 100 --lr 0.02 --warmup 2 --schedule-per epoch")
    per_epoch = 1440 // 64
    plan = np.array([1 / 2, 1, 3 / 3, 2 / 3, 1 / 3]).repeat(per_epoch)[:100]
    np.testing.assert_allclose(column(log, "lr"), 0.02 * plan, rtol=1e-12)


def test_four_minibatches_of_16_make_the_update_of_one_of_64(tmp_path):
    line = "--updates 40 --dropout 0"  # over the end of an epoch
    four = go(tmp_path / "four", f"{line} --batch-size 16 --accumulate 4")
    one = go(tmp_path / "one", f"{line} --batch-size 64 --accumulate 1")
    np.testing.assert_array_equal(column(four, "lr"), column(one, "lr"))
    for name in ("loss", "norm"):
        np.testing.assert_allclose(column(four, name), column(one, name), rtol=1e-3)
    weights = [state(tmp_path / name)["net"]["0.weight"] for name in ("four", "one")]
    torch.testing.assert_close(*weights, rtol=1e-3, atol=1e-4)
    assert state(tmp_path / "four")["seen"] == 4 * state(tmp_path / "one")["seen"] == 160


def test_an_epoch_shows_each_example_once_and_each_epoch_has_its_own_order():
    examples = torch.utils.data.TensorDataset(torch.arange(70))
    settings = template.argparse.Namespace(batch_size=8, accumulate=2, seed=3, workers=0)

    def drawn(seen, count):
        stream = template.minibatches(examples, settings, seen)
        return [next(stream)[0].tolist() for _ in range(count)]

    whole = drawn(0, 24)  # three epochs of 8 minibatches
    epochs = [np.concatenate(whole[i : i + 8]).tolist() for i in (0, 8, 16)]
    assert all(len(epoch) == len({*epoch}) == 64 for epoch in epochs)
    assert len({*map(tuple, epochs)}) == 3
    assert all(drawn(seen, 24 - seen) == whole[seen:] for seen in range(24))


def test_a_language_model_goes_into_it(tmp_path, monkeypatch):
    """Scores for each token, of shape (batch, time, vocabulary): only `data` and `model` change."""
    torch.manual_seed(0)
    tokens = torch.arange(24 * 9).reshape(24, 9) % 7  # the next token is one more
    texts = torch.utils.data.TensorDataset(tokens[:, :-1], tokens[:, 1:])
    monkeypatch.setattr(template, "data", lambda: (texts, texts))
    monkeypatch.setattr(template, "model", lambda _: torch.nn.Embedding(7, 7))
    line = "--updates 60 --lr 0.1 --batch-size 8 --accumulate 1 --beta2 0.95 --weight-decay 0"
    log = go(tmp_path, line)
    assert 1.5 < log[0]["loss"] < 3 and log[-1]["loss"] < 0.3
    (group,) = state(tmp_path)["optimizer"]["param_groups"]
    assert group["betas"] == (0.9, 0.95) and group["weight_decay"] == 0
    net = template.model(0)
    net.load_state_dict(state(tmp_path)["net"])
    assert template.accuracy(net, texts, torch.device("cpu")) == 1


def overflowing(monkeypatch):
    scaler = partial(torch.amp.GradScaler, init_scale=2.0**24)
    monkeypatch.setattr(torch.amp, "GradScaler", scaler)


def test_an_update_that_the_scaler_leaves_out_does_not_move_the_schedule(tmp_path, monkeypatch):
    overflowing(monkeypatch)
    log = go(tmp_path, "--updates 30 --lr 0.02 --warmup 10 --precision float16")
    skipped = column(log, "skipped")
    assert skipped[0] and 30 == (~skipped).sum() < len(log)
    plan = np.interp(np.arange(30), [0, 9, 10, 30], [0.1, 1, 1, 0])
    np.testing.assert_allclose(column(log, "lr")[~skipped], 0.02 * plan, rtol=1e-12)
    assert (column(log, "lr")[skipped] == 0.02 * plan[column(log, "update")[skipped]]).all()
    left = state(tmp_path)
    assert left["scheduler"]["last_epoch"] == left["made"] == 30
    assert left["optimizer"]["state"][0]["step"] == 30
    assert left["seen"] == 4 * len(log)  # but their minibatches are gone


# In a process of its own, so that it can be killed: the template, with a scale that overflows at
# first and a save that ends the process where it is told to.
KILLED = """
import os, runpy, signal, sys
from functools import partial
import torch

file, moment, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
sys.argv[:] = [file, *sys.argv[4:]]
torch.set_num_threads(1)
torch.amp.GradScaler = partial(torch.amp.GradScaler, init_scale=2.0**24)
replace, write, saves = os.replace, torch.save, 0

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def write_half(state, file):
    global saves
    saves += 1
    if saves == number and moment == "half written":
        file.write(b"PK half a checkpoint")
        file.flush()
        die()
    write(state, file)

def replace_and_die(part, path):
    replace(part, path)
    if saves == number and moment == "after it is named":
        die()

torch.save, os.replace = write_half, replace_and_die
runpy.run_path(file, run_name="__main__")
"""
RUN = "--updates 70 --save-every 10 --warmup 5 --precision float16 --dropout 0.2"


def started(out, moment="never", number=0):
    command = [sys.executable, "-uc", KILLED, str(FILE), moment, str(number), "--out", str(out)]
    return subprocess.Popen([*command, *RUN.split()], stdout=subprocess.PIPE, encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_killed_at_any_moment_it_goes_on_and_ends_the_same(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run = started(whole)
    assert "Going on" not in run.communicate()[0] and run.returncode == 0
    assert column(rows(whole), "skipped").any()

    # Two saves a life: the second one comes after what the first has saved, and is cut short.
    lives = [("half written", 1, 0), ("half written", 2, 10), ("after it is named", 2, 30)]
    reached = 0
    for moment, number, made in lives:
        run = started(cut, moment, number)
        said = run.communicate()[0]
        assert run.returncode == -signal.SIGKILL
        assert ("Going on after update" in said) == (reached > 0), said
        # At most what came after the last save is lost.
        reached = state(cut)["made"] if (cut / "checkpoint.pt").exists() else 0
        assert reached == made
    run, size = started(cut), (cut / "log.jsonl").stat().st_size
    deadline = time.monotonic() + 60
    while (cut / "log.jsonl").stat().st_size <= size and time.monotonic() < deadline:
        time.sleep(0.001)  # until it has made an update more: then from outside, wherever it is
    run.kill()
    run.communicate()
    assert run.returncode == -signal.SIGKILL and state(cut)["made"] < 70

    run = started(cut)
    assert "Going on after update" in run.communicate()[0] and run.returncode == 0
    assert (cut / "log.jsonl").read_bytes() == (whole / "log.jsonl").read_bytes()
    assert same(state(cut), state(whole))


def test_a_run_with_other_settings_is_refused_in_words(tmp_path):
    go(tmp_path, "--updates 20")
    before = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    said = r"other settings: updates was 20, and is 30; lr was 0.01, and is 0.02\. Give the old"
    with pytest.raises(SystemExit, match=said):
        go(tmp_path, "--updates 30 --lr 0.02")
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == before
    assert len(go(tmp_path, "--updates 20 --save-every 7")) == 20  # that is no other run


def test_a_checkpoint_runs_no_code(tmp_path):
    class Touch:
        def __reduce__(self):
            return Path.touch, (tmp_path / "touched",)

    torch.save({"settings": Touch()}, tmp_path / "checkpoint.pt")
    with pytest.raises(Exception, match="Weights only load failed"):
        go(tmp_path)
    assert not (tmp_path / "touched").exists()


def test_a_run_that_is_lost_says_so_before_the_weights_are(tmp_path):
    with pytest.raises(SystemExit, match=r"gradient of update \d+ is (nan|inf): the run is lost"):
        go(tmp_path, "--lr 1e30 --save-every 1")
    assert len(rows(tmp_path)) == state(tmp_path)["made"] >= 1
    with pytest.raises(SystemExit, match="must outlast its warmup"):
        go(tmp_path / "short", "--updates 10 --warmup 10")
