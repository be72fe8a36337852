"""`python -m lrcourse.pretrain`: survives being killed, agrees with itself, says what is wrong.

The kill test at length, some minutes:

    LRCOURSE_KILLS=20 python -m pytest tests/test_pretrain.py -k killed
"""

import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim import AdamW

from lrcourse import files
from lrcourse.checkpoints import read_checkpoint
from lrcourse.data import corpus
from lrcourse.files import previous
from lrcourse.models import GPT, next_token_loss
from lrcourse.pretrain.command import main, parser
from lrcourse.pretrain.settings import Settings
from lrcourse.runs import Run
from lrcourse.schedules import PLANS, Cosine, Linear, plan, values
from lrcourse.training import train

ROOT = Path(__file__).resolve().parents[1]
KILLS = int(os.environ.get("LRCOURSE_KILLS", 3))
STEPS = 40 * max(6, KILLS)
SMALL = ["--layers", "1", "--width", "16", "--context", "16", "--batch-size", "8", "--seed", "3"]
ONE_CORE = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}


@pytest.fixture(scope="module", autouse=True)
def one_core():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the subprocesses: sums in the same order, equal to the last bit
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("".join(f"line {i}: to be or not to be\n" for i in range(1500)))
    return path


def arguments(text, out, steps, *more):
    where = ["--corpus", str(text), "--out", str(out), "--device", "cpu"]
    return [*SMALL, *where, "--steps", str(steps), *more]


@pytest.fixture(scope="module")
def whole(text, tmp_path_factory):
    """The folder of a run that nothing interrupted; `every` is 2."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert main(arguments(text, out, 40, "--schedule", "cosine")) == 0
    return out


@pytest.fixture
def copy(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "run"))


def same(a, b):
    a, b = (Run.load(out / "run.npz") for out in (a, b))
    for name in ("loss", "rate", "gradient_norm", "update_norm", "evaluated_at"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_array_equal(a.evaluations["test_loss"], b.evaluations["test_loss"])
    return True


def logged(out):
    """What TensorBoard shows: name → steps."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(out / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return {name: [e.step for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


def wait_for_change(child, look):
    before = look()
    while child.poll() is None and look() == before:
        time.sleep(0.001)


@pytest.mark.slow
def test_killed_at_random_moments_it_goes_on_and_ends_the_same(text, tmp_path):
    reference, out = tmp_path / "reference", tmp_path / "run"
    assert main(arguments(text, reference, STEPS)) == 0
    seconds = json.loads((reference / "run.json").read_text())["seconds"]
    moments, reached = random.Random(), []
    last, events = out / "checkpoint.pt", out / "tensorboard"
    for i in range(KILLS):
        command = [sys.executable, "-m", "lrcourse.pretrain", *arguments(text, out, STEPS)]
        with subprocess.Popen([*command, "--resume"], env=ONE_CORE, cwd=ROOT) as child:
            if i % 5 == 3:  # while it starts, or wherever it is by then
                time.sleep(moments.uniform(0, 2))
            else:  # so many checkpoints after its first update, and a moment more
                wait_for_change(child, lambda: len(list(events.glob("*"))))
                least = 3 if i == 0 else 0  # one kill at least finds something to go on from
                for _ in range(moments.randint(least, max(least, 26 // KILLS))):
                    wait_for_change(child, lambda: last.exists() and last.stat().st_mtime_ns)
                time.sleep(moments.uniform(0, seconds / 20))
            child.kill()
        reached.append(read_checkpoint(last)["t"] if last.exists() else 0)
    print("updates reached at each kill:", reached)
    assert any(0 < t < STEPS for t in reached)
    time.sleep(1)  # TensorBoard reads its files in the order of the seconds in their names
    assert main(arguments(text, out, STEPS, "--resume")) == 0
    assert same(out, reference)
    steps = logged(out)
    assert steps["loss"] == steps["rate"] == steps["update_norm"] == list(range(STEPS))
    assert steps["test_loss"] == list(Run.load(out / "run.npz").evaluated_at)
    assert not list(out.glob("*.part"))


@pytest.mark.parametrize("call", ["fsync", "link", "replace"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_write_cut_off_anywhere_leaves_a_checkpoint(copy, monkeypatch, call, count, whole):
    class Cut(BaseException):
        pass

    real, calls = getattr(os, call), []

    def cut(*arguments):
        calls.append(1)
        if len(calls) == count:
            raise Cut
        return real(*arguments)

    (copy / "run.npz").unlink()
    monkeypatch.setattr(files.os, call, cut)
    try:
        main(["--out", str(copy), "--resume", "changed", "--steps", "44"])
    except Cut:
        pass
    else:
        assert len(calls) < count
    monkeypatch.undo()
    assert read_checkpoint(copy / "checkpoint.pt")["t"] >= 40
    assert read_checkpoint(previous(copy / "checkpoint.pt"))["t"] >= 38


@pytest.mark.slow
def test_two_processes_equal_one(text, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert main(arguments(text, one, 30, "--qk-norm")) == 0
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ours = ["-m", "lrcourse.pretrain", *arguments(text, two, 30, "--qk-norm")]
    command = [sys.executable, "-m", *launch, *ours]
    done = subprocess.run(command, env=ONE_CORE, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Validation loss") == 1
    a, b = Run.load(one / "run.npz"), Run.load(two / "run.npz")
    for name in ("loss", "gradient_norm", "rate"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-5)
    np.testing.assert_allclose(a.evaluations["test_loss"], b.evaluations["test_loss"], rtol=1e-5)
    # What two processes saved, one reads, and goes on from: no wrapper is in it.
    assert main(["--out", str(two), "--resume", "changed", "--steps", "32", "--device", "cpu"]) == 0
    assert len(Run.load(two / "run.npz")) == 32


def truncated(path):
    path.write_bytes(path.read_bytes()[:5000])


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def foreign(path):
    torch.save({"format": 1, "weights": torch.zeros(3)}, path)


def newer(path):
    torch.save(torch.load(path, weights_only=True) | {"format": 3}, path)


def of_a_chapter(path):
    torch.save(torch.load(path, weights_only=True) | {"notes": {}}, path)


@pytest.mark.parametrize("damage", [truncated, flipped, foreign, newer, of_a_chapter])
def test_a_checkpoint_that_cannot_be_used_gives_way_to_the_one_before(copy, whole, damage, capsys):
    damage(copy / "checkpoint.pt")
    assert main(["--out", str(copy), "--resume"]) == 0
    said = capsys.readouterr().out
    assert "checkpoint.pt" in said.splitlines()[0] and "The one before it is used." in said
    assert "goes on at update 38 of 40" in said
    assert same(copy, whole) and (copy / "checkpoint.unusable.pt").exists()
    for path in copy.glob("checkpoint*.pt"):
        damage(path)
    assert main(["--out", str(copy), "--resume"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("pretrain: no checkpoint can be used: ") and error.count("\n") == 1


def test_another_plan_is_an_explicit_choice(copy, whole, capsys):
    resume = ["--out", str(copy), "--device", "cpu", "--resume"]
    assert main([*resume, "--steps", "60"]) == 2
    line = "steps is 60, expected 40, as when the run began: `--resume changed` accepts another"
    assert line in capsys.readouterr().err
    for name, value in (("width", 32), ("batch-size", 4), ("seed", 1), ("layers", 2)):
        assert main([*resume, "changed", f"--{name}", str(value)]) == 2
        assert re.search(f"{name} is {value}, expected .* began$", capsys.readouterr().err)
    assert main([*resume, "changed", "--steps", "39"]) == 2
    assert "expected at least the 40 updates" in capsys.readouterr().err
    other = ["--schedule", "wsd", "--peak", "0.001", "--warmup", "4", "--steps", "60"]
    assert main([*resume, "changed", *other]) == 0
    line = "goes on at update 40 under another plan: schedule cosine → wsd, peak 0.003 → 0.001, "
    assert line + "warmup 2 → 4, cooldown None → 12, steps 40 → 60." in capsys.readouterr().out
    before, after = (Run.load(out / "run.npz") for out in (whole, copy))
    np.testing.assert_array_equal(after.loss[:40], before.loss)
    rates = values(plan("wsd", 60, warmup=4, cooldown=12), 60, peak=0.001)
    np.testing.assert_array_equal(after.rate[40:, 0], rates[40:])
    assert main(resume) == 0  # the new plan is the run's plan now
    assert "goes on at update 60 of 60" in capsys.readouterr().out


def test_replanning_is_recorded_before_the_first_update(tmp_path):
    class Stop(Exception):
        pass

    def go(schedule, batches, **options):
        model = GPT(context=16, layers=1, width=16, seed=0)
        optimizer = AdamW(model.parameters(), lr=1e-3)
        options = {"steps": 8, "loss": next_token_loss, "progress": False} | options
        return train(model, batches, optimizer, schedule, **options)

    def stop(t):
        raise Stop

    batches = corpus(limit=50_000, context=16).batches(4)
    path = tmp_path / "checkpoint.pt"
    go(Cosine(8), batches, steps=4, checkpoint=path)
    with pytest.raises(ValueError, match="schedule must be the one"):
        go(Linear(1, 0, 8), batches, resume=path)
    with pytest.raises(Stop):
        go(Linear(1, 0, 8), stop, resume=path, replan=True, checkpoint=path, notes={"plan": "new"})
    state = read_checkpoint(path)
    assert (state["t"], state["notes"]) == (4, {"plan": "new"})
    np.testing.assert_array_equal(
        go(Linear(1, 0, 8), batches, resume=path).rate[4:, 0], values(Linear(1, 0, 8), 8, 1e-3)[4:]
    )
    with pytest.raises(ValueError, match="replan is True, expected a checkpoint to resume"):
        go(Cosine(8), batches, replan=True)
    with pytest.raises(ValueError, match="a schedule that is a function"):
        go(None, batches, replan=True, resume=path)


def test_bf16_rounds_the_computation_and_not_the_weights():
    def go(bf16):
        text = corpus(limit=50_000, context=16)
        model = GPT(context=16, seed=0)
        optimizer = AdamW(model.parameters(), lr=1e-3)
        run = train(
            model, text.batches(8), optimizer, steps=10, loss=next_token_loss,
            evaluate=text.score, bf16=bf16, progress=False,
        )  # fmt: skip
        assert all(p.dtype == torch.float32 for p in model.parameters())
        return run

    half, full = go(True), go(False)
    assert not np.array_equal(half.loss, full.loss)
    np.testing.assert_allclose(half.loss, full.loss, rtol=0.01)
    measured = half.evaluations["test_loss"], full.evaluations["test_loss"]
    assert not np.array_equal(*measured)
    np.testing.assert_allclose(*measured, rtol=0.01)


def test_the_result_says_how_it_came_about(whole, text, capsys):
    about = json.loads((whole / "run.json").read_text())
    run = Run.load(whole / "run.npz")
    assert about["settings"] | {"schedule": "cosine", "steps": 40, "width": 16} == about["settings"]
    assert about["validation_loss"] == run.evaluations["test_loss"][-1] < 0.8 * run.loss[0]
    assert about["tokens_per_second"] == pytest.approx(40 * 8 * 16 / about["seconds"], rel=0.05)
    assert about["parameters"] == sum(p.numel() for p in Settings(width=16, layers=1, context=16)
                                      .model().parameters())  # fmt: skip
    assert {"torch", "python"} <= about["versions"].keys() and about["device"].startswith("CPU")
    np.testing.assert_array_equal(run.rate[:, 0], values(plan("cosine", 40, warmup=2), 40, 3e-3))
    assert main(["--out", str(whole), "--resume", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "Validation loss after 40 updates: " in said and "It writes:" in said
    assert json.loads((whole / "run.json").read_text()) == about  # nothing was done, nothing lost


def test_the_corpus_is_a_file_or_a_folder_and_stays_the_same(copy, text, tmp_path, capsys):
    folder = tmp_path / "folder"
    folder.mkdir()
    content = text.read_text()
    (folder / "a.md").write_text(content[:20_000])
    (folder / "b.py").write_text(content[20_000:])
    (folder / "c.bin").write_bytes(b"not text")
    more = ["--out", str(copy), "--device", "cpu", "--resume"]
    assert main([*more, "--corpus", str(folder)]) == 0  # the same text from elsewhere
    (folder / "b.py").write_text(content[20_000:] + "and more\n" * 100)
    os.utime(folder)
    corpus.cache_clear()
    assert main([*more, "--corpus", str(folder)]) == 2
    assert "expected the text that the run in" in capsys.readouterr().err


BAD = {
    "--schedule linnear": "argument --schedule: invalid choice: 'linnear'",
    "--peak 0": "peak is 0.0, expected a finite number > 0",
    "--peak nan": "peak is nan, expected a finite number > 0",
    "--warmup 41": "warmup is 41, expected a whole number from 0 to 40",
    "--schedule inverse-sqrt --warmup 0": "warmup is 0, expected a whole number from 1 to 40",
    "--schedule wsd --cooldown 40": "cooldown is 40, expected a whole number from 0 to 38",
    "--schedule cosine --cooldown 4": "cooldown is 4, expected none: it is for wsd alone",
    "--steps 0": "steps is 0, expected a whole number >= 1",
    "--steps many": "argument --steps: invalid int value: 'many'",
    "--batch-size 0": "batch-size is 0, expected a whole number >= 1",
    "--context 0": "context is 0, expected a whole number >= 1",
    "--context 100000": "expected more than context + tests of each",
    "--layers 0": "layers is 0, expected a whole number >= 1",
    "--heads 3": "width is 16, expected a multiple of heads, which is 3",
    "--width -1": "width is -1, expected a whole number >= 1",
    "--vocabulary 4096": "vocabulary is 4096, expected a whole number from 2 to 2048",
    "--seed -1": "seed is -1, expected a whole number >= 0",
    "--corpus nowhere": "no text at nowhere",
    "--device tpu": "argument --device: invalid choice: 'tpu'",
    "--resume sometimes": "argument --resume: invalid choice: 'sometimes'",
    "--depth 3": "unrecognized arguments: --depth 3",
    "--resume": "expected the text that the run in",
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_value_is_one_sentence(text, whole, tmp_path, bad, capsys):
    out = tmp_path / "run"
    if bad == "--resume":
        shutil.copytree(whole, out)
        bad += f" --corpus {shlex.quote(__file__)}"
    more = shlex.split(bad)
    assert main(arguments(text, out, 40, *more)) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("pretrain: ") and said.err.count("\n") == 1
    assert BAD[bad.split(" --corpus ")[0] if "--resume" in bad else bad] in said.err


def test_a_folder_with_a_run_is_left_alone(whole, text, capsys):
    assert main(arguments(text, whole, 40)) == 2
    assert "holds a run: go on with it (--resume)" in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert main(["--device", "cuda"]) == 2
        assert "device is 'cuda:0', expected one that is here" in capsys.readouterr().err


def test_a_run_that_diverges_says_so(text, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(arguments(text, out, 20, "--peak", "1e30", "--warmup", "0")) == 1
    run, about = Run.load(out / "run.npz"), json.loads((out / "run.json").read_text())
    assert about["diverged_at"] == run.diverged_at and about["validation_loss"] is None
    assert f"diverged at update {run.diverged_at}" in capsys.readouterr().out


def test_plans_end_where_their_names_say():
    factors = {name: plan(name, 1000, warmup=100, cooldown=200) for name in PLANS}
    assert all(f(50) == pytest.approx(0.5) and f(100) == 1.0 for f in factors.values())
    ends = {name: f(1000) for name, f in factors.items()}
    wanted = {"constant": 1, "step": 0.1, "inverse-sqrt": 0.1**0.5, "cosine-10%": 0.1}
    assert ends == pytest.approx({name: wanted.get(name, 0.0) for name in PLANS})
    assert [factors["step"](t) for t in (799, 800, 900)] == pytest.approx([1, 0.1**0.5, 0.1])
    assert factors["wsd"](800) == 1.0 and factors["wsd"](900) == pytest.approx(0.5)
    for bad in ({"name": "cosign"}, {"steps": 1.5}, {"warmup": -1}, {"cooldown": True}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            plan(**({"name": "wsd", "steps": 10} | bad))


def test_sixteen_bytes_a_parameter():
    model = GPT(vocabulary=50, context=8, layers=2, heads=2, width=16, seed=0)
    optimizer = AdamW(model.parameters())
    next_token_loss(model(x := torch.zeros(2, 8, dtype=torch.long)), x).backward()
    optimizer.step()
    held = [t for w in model.parameters() for t in (w, w.grad, *optimizer.state[w].values())]
    weights = sum(w.numel() for w in model.parameters())
    assert sum(t.nbytes for t in held if t.ndim) == 16 * weights  # without the counts of steps


def test_the_flags_that_the_guide_names_exist():
    guide = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"lrcourse\.pretrain\b([^\n`]*)", guide)
    assert len(commands) >= 4
    known = {flag for action in parser()._actions for flag in action.option_strings}
    for command in commands:
        assert set(re.findall(r"(?<!\S)--[a-z][a-z-]*", command)) <= known, command
    table = re.findall(r"^\| `(--[a-z-]+)", guide, flags=re.MULTILINE)
    assert set(table) <= known
