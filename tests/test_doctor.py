"""lrcourse.doctor: it sees what is broken, keeps silent where nothing is, and reads real logs."""

import csv
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.signal import lfilter
from test_articles import dead
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.tensorboard import SummaryWriter

from lrcourse.chapters.clinic import CASES, log_of
from lrcourse.doctor.__main__ import main
from lrcourse.doctor.reading import WORDS, gather, read_log
from lrcourse.doctor.signs import diagnose
from lrcourse.experiments.recordings import read_recording
from lrcourse.schedules import (
    Cosine,
    Exponential,
    InverseSqrt,
    Linear,
    OneCycle,
    Polynomial,
    Warmup,
    plan,
    values,
)

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
Rows = list[dict[str, Any]]


def found(rows: Any, **how: Any) -> list[str]:
    """The names of the signs in these rows."""
    return [sign.name for sign in diagnose(gather(rows), **how)]


def blind(name: str, mended: bool = False) -> Rows:
    """The log of a case of the clinic, without what was planned."""
    return log_of(name, 0, mended).drop(columns="planned").to_dict("records")


# ------------------------------------------------------------------------- healthy, and broken


def healthy() -> dict[str, np.ndarray]:
    """The columns of a sound run: a warmup, a cosine, a loss that falls and a bit of noise."""
    t, draw = np.arange(400), np.random.default_rng(0)
    rate = values(Warmup(40, 1 / 40) >> Cosine(360), 400, 3e-4)
    clean = 3 + 7 * (1 + t / 10) ** -0.7
    noise = np.exp(draw.normal(0, 0.03, 400))
    norm = np.exp(draw.normal(0, 0.3, 400))
    validation = np.where(t % 20 == 19, clean + 0.1 + draw.normal(0, 0.02, 400), np.nan)
    columns = {"step": t, "lr": rate, "loss": clean * noise, "grad_norm": norm}
    return {name: v.astype(float) for name, v in columns.items()} | {"val_loss": validation}


def rows_of(columns: Mapping[str, Any]) -> Rows:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [{k: v for k, v in row.items() if k != "val_loss" or v == v} for row in rows]


FAULTS: dict[str, Callable[[dict[str, Any]], Any]] = {}


def fault(function: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    """What breaks a run, so that it has the sign of this name."""
    FAULTS[function.__name__] = function
    return function


@fault
def constant(run):
    run["lr"][:] = 3e-4


@fault
def creeps(run):
    run["lr"] = values(Cosine(9000), 400, 3e-4)


@fault
def stays(run):
    run["lr"][40:] = 3e-4


@fault
def first(run):
    run["lr"][:40] -= run["lr"][0]


@fault
def stairs(run):
    run["lr"] = run["lr"][np.arange(400) // 20 * 20]


@fault
def epochs(run):
    stairs(run)
    run["epoch"] = np.arange(400) // 20


@fault
def spent(run):
    run["lr"] = values(Warmup(10, 0.1) >> Linear(1, 0, 90), 400)


@fault
def returns(run):
    run["lr"] = (1 + np.cos(np.pi * np.arange(400) / 100)) / 2


@fault
def short(run):
    run["lr"] = values(Cosine(700), 400)


@fault
def resume(run):
    run["lr"][200:] *= 0.3


@fault
def resumed(run):
    run["lr"][200:] *= 0.3
    return rows_of(run)[:200] + rows_of(healthy())[200:230] + rows_of(run)[200:]


@fault
def back(run):
    return rows_of(run)[:230] + rows_of(run)[200:]


@fault
def seam(run):
    run["lr"][:40] *= 0.4


@fault
def notch(run):
    run["lr"][200] *= 0.1


@fault
def off(run):
    run["planned"] = run["lr"] * np.where(np.arange(400) < 100, 1, 0.9)


FAULTS["plan"] = FAULTS.pop("off")  # there is another plan above


@fault
def skipped(run):
    run["skipped"] = np.arange(400) % 100 == 3


@fault
def gradient(run):
    run["grad_norm"][7] = np.nan


@fault
def lost(run):
    run["loss"][300:] = np.nan


@fault
def silent(run):
    run["loss"] = np.where(np.arange(400) < 300, run["loss"], "")


@fault
def high(run):
    run["loss"][15:] += 40 * np.exp(-np.arange(385) / 200)


@fault
def above(run):
    run["loss"] = 30 - run["loss"]


@fault
def rises(run):
    run["loss"][250:] *= np.linspace(1, 1.8, 150)


@fault
def spike(run):
    run["loss"][250:255] *= 2


@fault
def lasting(run):
    run["loss"][250:] *= 2


@fault
def flat(run):
    run["loss"] = run["loss"] / (3 + 7 * (1 + np.arange(400) / 10) ** -0.7) * np.log(10)


@fault
def turns(run):
    run["val_loss"] = run["val_loss"] + np.maximum(0, np.arange(400) - 250) / 100


@pytest.mark.parametrize("sign", WORDS["signs"])
def test_a_broken_run_has_its_sign_and_no_other(sign):
    run = healthy()
    rows = FAULTS[sign](run) or rows_of(run)
    assert sorted(found(rows)) == (["back", "resumed"] if sign == "resumed" else [sign])
    assert found(rows_of(healthy())) == [] and FAULTS.keys() == WORDS["signs"].keys()


@pytest.mark.parametrize("end", [0, 0.1])
def test_a_cosine_past_its_end_is_seen_however_little_it_climbs(end):
    t = np.arange(3000)
    for length in (1000, 1990, 2000, 2400, 2700, 2850):
        rate = end + (1 - end) * (1 + np.cos(np.pi * t / length)) / 2
        for every in (1, 20):  # each update, or as it is logged
            rows = [{"step": s, "lr": rate[s]} for s in t[::every]]
            (sign,) = diagnose(gather(rows))
            assert sign.name == "returns" and abs(sign.at - length) < 80, length
            assert "once" in str(sign) or length == 1000
        epochs = [{"step": s, "lr": rate[s // 50 * 50]} for s in t]
        assert "returns" in found(epochs) or length == 2850  # too few moves
    restarts = 1 + np.cos(np.pi * (t % 1000) / 1000)
    assert found([{"step": s, "lr": restarts[s]} for s in t]) == []


@pytest.mark.parametrize("count", [1, 3, 6])
def test_one_cycle_that_is_stepped_per_epoch_has_a_sign(count):
    cycle = OneCycleLR(SGD([nn.Parameter(torch.ones(1))], 1.0), 0.01, 100 * count)
    rate = values(OneCycle(100 * count), count, 0.01)
    assert np.isclose(rate[0], cycle.get_last_lr()[0])
    rows = [{"epoch": t // 100, "step": t, "lr": rate[t // 100]} for t in range(100 * count)]
    (sign,) = diagnose(gather(rows))
    assert sign.name == {1: "constant", 3: "creeps", 6: "epochs"}[count]
    assert "#the-rate-does-not-move" in str(sign) or count == 6


def test_a_loss_that_was_learnt_and_lost_is_not_called_flat():
    run = healthy()
    noise = run["loss"] / (3 + 7 * (1 + np.arange(400) / 10) ** -0.7)
    fell = np.interp(np.arange(400), [0, 100, 200, 201], [2.65, 0.5, 0.5, 3.1])
    assert found(rows_of(run | {"loss": noise * fell})) == ["lasting"]
    lies = np.where(np.arange(400) < 300, 2.7 * noise, np.nan)
    assert found(rows_of(run | {"loss": lies})) == ["lost"]


def test_a_row_alone_must_stand_out_more():
    noise = np.random.default_rng(1).standard_normal(400)
    for spread, rows, spreads, signs in (
        (0.06, 1, 10, []),
        (0.06, 2, 12, ["spike"]),
        (0.06, 1, 24, ["spike"]),
        (0.003, 2, 30, []),  # a tenth more is no spike, however calm the rest
    ):
        log = np.exp(4 + spread * noise)
        log[250 : 250 + rows] *= np.exp(spread * spreads)
        assert found(rows_of(healthy() | {"loss": log})) == signs


def drawn(seed: int) -> Rows:
    """A healthy log: plan, length, task, noise, and what is written down, all drawn."""
    draw = np.random.default_rng(seed)
    rows, every = int(np.exp(draw.uniform(3, 7.6))), int(draw.choice([1, 1, 10, 50]))
    steps, share = rows * every, float(draw.choice([0, 0.01, 0.05, 0.15]))
    kind = int(draw.integers(9))
    warmup = int(share * steps) if kind < 7 else 0  # the others bring their own
    left, power, decay = steps - warmup, draw.uniform(0.8, 3), draw.uniform(0.01, 0.5)
    named = ("linear", "cosine", "cosine-10%", "step")
    if kind < 4:
        curve = plan(named[kind], left)
    else:
        curve = (
            plan("wsd", left, cooldown=int(left * draw.uniform(0.1, 0.4)) or 1),
            Exponential(float(decay ** (1 / left))),
            Polynomial(1.0, 0.0, left, power=float(power)),
            OneCycle(left),
            InverseSqrt(max(1, left // 20)),
        )[kind - 4]
    begin = float(draw.choice([0.1, 1 / max(warmup, 1)]))
    factor = values(Warmup(warmup, begin) >> curve if warmup else curve, steps + 1)
    factor = factor[1:] if kind == 8 else factor[:-1]  # √ begins at 0: log it from 1 on
    classes, start = int(draw.choice([2, 3, 10, 100, 1000])), draw.uniform(1, 3)
    start, floor = (
        (np.log(classes), np.log(classes) * draw.uniform(0.01, 0.3)),
        (10.8, draw.uniform(2, 4)),  # language
        (start, start * draw.uniform(0.4, 0.9)),  # fine-tuning
        (start, start - draw.uniform(2, 9)),  # a likelihood: below zero in the end
    )[task := int(draw.integers(4))]
    walked = np.cumsum(factor) - factor[0]
    fall = (1 + walked / walked[-1] * draw.uniform(20, 2000)) ** -draw.uniform(0.3, 1)
    fall = (fall - fall[-1]) / (1 - fall[-1])
    kept_up = draw.uniform(0, 0.1) * factor * (1 - fall)  # by the noise of a high rate
    clean = floor + (start - floor) * (fall + kept_up)
    spread, memory = np.exp(draw.uniform(np.log(0.01), np.log(0.4))), draw.choice([0, 0, 0.5, 0.9])
    heavy = draw.random() < 0.4
    noise = draw.standard_t(5, steps) if heavy else draw.standard_normal(steps)
    noise = np.clip(noise, -6, 6)  # what stands out further is a spike
    if memory:
        spread = min(spread, 0.15)
        noise = lfilter([np.sqrt(1 - memory**2)], [1, -memory], noise)
    loss = clean + 0.3 * spread * (start - floor) * noise
    loss = loss if task == 3 else clean * np.exp(spread * noise)
    at = np.arange(rows) * every + every - 1
    rate = np.exp(draw.uniform(np.log(1e-5), 0)) * factor[at]
    if (digits := draw.choice([0, 0, 4])) > 0:
        rate = np.array([float(f"{r:.{digits}g}") for r in rate])
    rate = rate.astype(np.float32 if draw.random() < 0.2 else float)
    where = np.unique(np.linspace(0, rows - 1, int(draw.integers(5, 40))).astype(int))
    validation = np.full(rows, np.nan)
    gap = draw.uniform(0, 0.1) + draw.normal(0, 0.01, len(where))
    validation[where] = clean[at[where]] + (start - floor) * gap
    columns = {"step": at + int(draw.integers(2)), "lr": rate}
    columns |= {"loss": loss.reshape(rows, every).mean(1), "val_loss": validation}
    norm = np.exp(draw.normal(0, draw.uniform(0.1, 0.6), rows))
    return rows_of(columns | {"grad_norm": norm})


def test_no_false_alarm_in_200_drawn_logs():
    alarms = {seed: found(drawn(seed)) for seed in range(200)}
    assert {seed: names for seed, names in alarms.items() if names} == {}


def test_recorded_runs_have_the_signs_that_they_have():
    """Ten rows a run and more: silent where all was well, but for a rate that was to stay."""
    for experiment, signs in {
        "schedules": {"constant": {"stays"}},
        "warmup": {},
        "branches": {},
        "law": {"constant": {"stays"}},
        "optimizers": {"constant": {"constant"}},
    }.items():
        frame = read_recording(experiment).frame
        frame = frame[frame["phase"] == "compared"].astype({"diverged_at": float})
        for (_, schedule, _, _), run in frame.groupby(["part", "schedule", "peak", "seed"]):
            run = run[["step", "rate", "loss", "validation_loss"]].sort_values("step")
            rows = [{k: v for k, v in r.items() if v == v} for r in run.to_dict("records")]
            assert {*found(rows)} <= signs.get(schedule, set()), (experiment, schedule)


# ----------------------------------------------------------------------------------- the clinic


def told(table: str) -> dict[str, list[str]]:
    """The rows of a table of the page, by their first cell, which is code."""
    text = PAGE.partition(f"| {table} |")[2].partition("\n\n")[0]
    cells = [[c.strip() for c in row.strip("|").split("|")] for row in text.splitlines()[2:]]
    return {row[0].strip("`"): row[1:] for row in cells}


def named(cell: str) -> list[str]:
    return sorted(re.findall(r"`(\w+)`", cell))


@pytest.mark.slow  # each case is trained twice
@pytest.mark.parametrize("name", CASES)
def test_a_case_of_the_clinic_has_the_signs_that_the_page_says(name):
    sick, well = log_of(name, 0), log_of(name, 0, mended=True)
    alone, with_plan = map(named, told("case")[name][:2])
    assert sorted(found(blind(name))) == alone
    assert sorted(found(sick.to_dict("records"))) == with_plan
    meant = {"sharp": ["stays"], "skipped": ["skipped"]}  # the cure leaves these, as it should
    assert found(blind(name, mended=True)) == meant.get(name, [])
    assert found(well.to_dict("records")) == [
        sign for sign in meant.get(name, []) if sign != "stays"
    ]


def test_the_page_counts_its_cases():
    rows = told("case")
    alone, with_plan = (sum(bool(named(row[i])) for row in rows.values()) for i in (0, 1))
    assert rows.keys() == CASES.keys()
    assert f"in {alone} of the sixteen, and in {with_plan} with the plan" in PAGE
    assert told("sign").keys() == WORDS["signs"].keys()


# ------------------------------------------------------------------------------- real loggers


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 3)

    def forward(self, x, labels):
        out = self.net(x)
        return {"loss": F.cross_entropy(out, labels), "logits": out}


def examples(count: int = 320) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(count, 4)
    return x, x[:, :3].argmax(1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_trainers_state_is_read_and_its_rates_are_checked(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    from transformers import Trainer, TrainingArguments

    data = [{"x": x, "labels": y} for x, y in zip(*examples(), strict=True)]
    how: dict[str, Any] = {"max_steps": 60, "learning_rate": 0.1, "warmup_steps": 10}
    how |= {"logging_steps": 1, "eval_strategy": "steps", "eval_steps": 6, "disable_tqdm": True}
    arguments = TrainingArguments(str(tmp_path), report_to=[], save_strategy="no", **how)
    trainer = Trainer(Net(), arguments, train_dataset=data, eval_dataset=data[:64])
    trainer.train()
    trainer.save_state()
    state = str(tmp_path / "trainer_state.json")
    log = read_log(state)
    assert len(log.series["rate"][0]) == 60 and len(log.series["validation"][0]) == 10
    assert [sign.name for sign in diagnose(log)] == ["first"]  # its warmup begins at 0
    mine = [state, "--plan", "linear", "--peak", "0.1", "--steps", "60", "--warmup"]
    assert (main([*mine, "10"]), main([*mine, "9"])) == (0, 1)
    capsys.readouterr()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("logger", ["CSVLogger", "TensorBoardLogger"])
def test_lightnings_logs_are_read(logger, tmp_path):
    pl = pytest.importorskip("pytorch_lightning")
    loader = DataLoader(TensorDataset(*examples()), batch_size=32)

    class Module(pl.LightningModule):
        def __init__(self, interval):
            super().__init__()
            self.net, self.interval = nn.Linear(4, 3), interval

        def training_step(self, batch, _, name="train_loss"):
            loss = F.cross_entropy(self.net(batch[0]), batch[1])
            self.log(name, loss)
            return loss

        def validation_step(self, batch, index):
            self.training_step(batch, index, "val_loss")

        def configure_optimizers(self):
            optimizer = SGD(self.parameters(), lr=0.1)
            scheduler = CosineAnnealingLR(optimizer, 60 if self.interval == "step" else 6)
            return [optimizer], [{"scheduler": scheduler, "interval": self.interval}]

    for interval, signs in {"step": [], "epoch": ["epochs"]}.items():
        writer = getattr(pl.loggers, logger)(tmp_path / interval)
        monitor = pl.callbacks.LearningRateMonitor("step")
        quiet = dict.fromkeys(["enable_progress_bar", "enable_model_summary"], False)
        quiet |= {"enable_checkpointing": False, "log_every_n_steps": 1}
        pl.Trainer(max_epochs=6, logger=writer, callbacks=[monitor], **quiet).fit(
            Module(interval), loader, loader
        )
        folder = Path(writer.log_dir)
        log = read_log(folder / "metrics.csv" if logger == "CSVLogger" else folder)
        assert len(log.series["rate"][0]) == len(log.series["loss"][0]) == 60
        assert len(log.series["validation"][0]) == 6
        assert [sign.name for sign in diagnose(log)] in (signs, ["stairs"] if signs else [])


def test_events_of_a_run_that_was_resumed(tmp_path):
    rate = values(Cosine(100), 100)
    for begin, end, factor in ((0, 60, 1), (50, 100, 0.1)):  # killed at 60, saved at 50
        with SummaryWriter(tmp_path, purge_step=begin or None) as writer:
            for t in range(begin, end):
                writer.add_scalar("train/lr", factor * rate[t], t)
                writer.add_scalar("Loss/train", 1.0, t)
    log = read_log(tmp_path)
    assert log.back == [(59, 50)] and len(log.series["rate"][0]) == 100
    assert {sign.name for sign in diagnose(log)} == {"back", "resumed"}
    again = gather(rows_of(healthy())[:230] + rows_of(healthy())[200:210])
    assert list(again.series["rate"][0]) == list(range(210))  # what was not made again is gone


NAMES = """
step,lr,loss,val_loss|update,learning_rate,train_loss,validation_loss
global_step,train/lr,train/loss,eval/loss|iter,lr-AdamW,train_loss_step,val/loss
Step,LR,Loss/train,Loss/val|iteration,lr/group0,Training_Loss,eval_loss
epoch,lr_0,loss,test_loss|t,rate,loss,dev_loss
"""


@pytest.mark.parametrize("names", re.split(r"[|\n]", NAMES.strip()))
def test_columns_are_known_by_the_names_that_people_give_them(names, tmp_path):
    path = tmp_path / "log.csv"
    rows = "x,1,0.1,2.5,,False\nx,2,0.1,,2.25,True\n\nx,3,0.2,2,2,\n"
    path.write_text(f"other,{names},skipped\n{rows}")
    log = read_log(path)
    assert [list(v) for v in log.series["rate"]] == [[1, 2, 3], [0.1, 0.1, 0.2]]
    assert [list(v) for v in log.series["loss"]] == [[1, 3], [2.5, 2]]
    assert [list(v) for v in log.series["validation"]] == [[2, 3], [2.25, 2]]
    assert [list(v) for v in log.series["skipped"]] == [[1, 2], [0, 1]]


def test_rows_without_a_clock_of_their_own_are_counted():
    within = [{"epoch": e, "iter": i, "lr": 0.1} for e in range(3) for i in range(4)]
    for rows in (
        within,
        [{"lr": 0.1}] * 12,
        [{"epoch": row["epoch"], "lr": 0.1} for row in within],
    ):
        log = gather(rows)
        assert list(log.series["rate"][0]) == list(range(12)) and log.back == []


WRONG = {
    "no file": ("gone.csv", None, "No such file"),
    "empty": ("log.csv", "", "holds is 'nothing'"),
    "a header": ("log.csv", "step,lr\n", "holds is 'nothing'"),
    "no rate": ("log.csv", "step,loss\n1,2\n", "a column with the rate, such as lr"),
    "no number": (
        "log.csv",
        "step,lr\n1,0.1\n2,high\n",
        "lr in row 1 is 'high', expected a number",
    ),
    "no step": ("log.jsonl", '{"step": 1, "lr": 1}\n{"lr": 1}\n', "step in row 1 is None"),
    "below zero": ("log.csv", "step,lr\n1,0.1\n2,-1\n", "expected finite numbers >= 0"),
    "one row": ("log.csv", "step,lr\n1,0.1\n", "two updates at least"),
    "falling": (
        "log.csv",
        "step,lr\n" + "".join(f"{9 - i},1\n" for i in range(9)),
        "that they rise",
    ),
    "text": ("log.txt", "all went well\nto the end", "expected a column with the rate"),
    "json": (
        "other.json",
        '{"loss": [1, 2]}',
        "holds is ['loss'], expected a column with the rate",
    ),
    "rows": ("log.jsonl", '{"lr": 1}\n2\n', "is not a log"),
    "bytes": ("log.csv", b"\xff\xfe\x00", "is not a log"),
    "no events": ("", None, "expected one with events, such as runs/1"),
    "no tensorboard": ("events.out.tfevents.1", "", "import of tensorboard"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_log_is_refused_in_words(kind, tmp_path, capsys, monkeypatch):
    name, text, expected = WRONG[kind]
    if kind == "no tensorboard":
        events = "tensorboard.backend.event_processing.event_accumulator"
        monkeypatch.setitem(sys.modules, events, None)
    if text is not None:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert main([str(tmp_path / name)]) == 2
    told = capsys.readouterr().err
    assert expected in told and told.startswith("doctor: ") and told.count("\n") == 1


def test_logs_as_people_have_them_are_read(tmp_path, capsys):
    rate = values(Cosine(200), 200, 0.001)
    table = "\n".join(f"{t};{r};{3 - t / 100}" for t, r in enumerate(rate))
    (tmp_path / "log.txt").write_text(f"step;lr (AdamW);loss\n{table}\n")  # not named .csv
    log = read_log(tmp_path / "log.txt")
    assert len(log.series["rate"][0]) == len(log.series["loss"][0]) == 200
    trained = [{"step": t, "lr": r} for t, r in enumerate(rate)]
    evaluated = [{"step": t, "eval_loss": 2.0} for t in range(20, 220, 20)]
    log = gather(trained + evaluated)  # written when all was done: that is no resume
    assert len(log.series["rate"][0]) == 200 and log.back == []
    assert list(log.series["validation"][0]) == list(range(20, 220, 20))
    with SummaryWriter(tmp_path / "runs" / "one") as writer:
        writer.add_scalar("lr", 0.1, 0)
    with pytest.raises(ValueError, match=r"one with events, such as .*runs.one"):
        read_log(tmp_path / "runs")
    (tmp_path / "short.csv").write_text("step,lr\n" + "".join(f"{i},0.1\n" for i in range(5)))
    assert main([str(tmp_path / "short.csv")]) == 0
    told = capsys.readouterr().out
    assert "5 rates, 0 losses" in told and "Not all can be judged" in told
    (tmp_path / "near.csv").write_text("step,lr\n" + "".join(f"{i},0.10002\n" for i in range(9)))
    flags = ["--plan", "constant", "--steps", "9", "--peak", "0.1"]
    assert main([str(tmp_path / "near.csv"), *flags]) == 1
    assert "0.10002, planned 0.1" in capsys.readouterr().out


def test_a_plan_that_cannot_be_is_refused(tmp_path, capsys):
    (tmp_path / "log.csv").write_text("step,lr\n" + "".join(f"{i},0.1\n" for i in range(9)))
    log = str(tmp_path / "log.csv")
    assert main([log, "--plan", "linear", "--steps", "5", "--warmup", "9"]) == 2
    assert "warmup is 9, expected" in capsys.readouterr().err
    assert main([log, "--plan", "linear"]) == 2
    assert "expected --steps beside it" in capsys.readouterr().err
    assert main([log, "--plan", "constant", "--steps", "9"]) == 0  # what is planned is no sign
    assert main([log, "--plan", "constant", "--steps", "9", "--peak", "0.2"]) == 1
    assert main([log, "--figure", str(tmp_path / "no" / "where.png")]) == 2
    with pytest.raises(SystemExit, match="2"):
        main([log, "--plan", "zigzag"])


def test_a_slip_against_the_plan_is_named():
    right = values(plan("linear", 400, warmup=40), 420, 0.1)
    t = np.arange(200)
    for name, rate in {
        "": right[t],
        ", but 0.5 times as high": right[t] / 2,
        ", but 7 updates ahead of it": right[t + 7],
        ": 2 calls for each update": right[2 * t],
    }.items():
        for first in (0, 1):  # counted from 0, or from 1
            log = gather({"step": i + first, "lr": r} for i, r in zip(t, rate, strict=True))
            how = [sign.facts.get("how") for sign in diagnose(log, right) if sign.name == "plan"]
            assert how == ([name] if name else []) or (first and "ahead" in how[0])
    printed = gather({"step": i, "lr": f"{r:.4f}"} for i, r in zip(t, right[t], strict=True))
    assert [sign.name for sign in diagnose(printed, right)] == []


# ------------------------------------------------------------------------------------ the page


@pytest.mark.filterwarnings("ignore:Detected call")  # that is its fault
def test_the_pages_example_gives_what_the_page_shows(tmp_path, monkeypatch, capsys):
    blocks = dict(re.findall(r"<!-- run: ([\w ]+) -->\n```(?:python)?\n(.*?)```", PAGE, re.S))
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {}
    exec(blocks["recorder"], known)
    assert sum(bool(line.strip()) for line in blocks["recorder"].splitlines()) <= 15
    exec(blocks["example"], known)
    for name in ("seen", "seen with the plan"):
        command, _, shown = blocks[name].partition("\n")
        assert main(command.split()[4:]) == 1
        assert capsys.readouterr().out == shown
    known["recorder"].file.close()


def test_the_recorder_sees_what_is_skipped(tmp_path):
    known: dict[str, Any] = {}
    exec(re.search(r"run: recorder -->\n```python\n(.*?)```", PAGE, re.S)[1], known)
    weight = nn.Parameter(torch.ones(2))
    optimizer = SGD([weight], lr=0.1)
    recorder = known["Recorder"](tmp_path / "log.jsonl", optimizer)
    for t in range(4):
        weight.grad = torch.ones(2)
        if t != 2:
            optimizer.step()
        optimizer.param_groups[0]["lr"] = 0.05 / (t + 1)  # a scheduler
        recorder.write(loss=weight.sum().item(), grad_norm=float("nan"))
    recorder.file.close()
    log = read_log(tmp_path / "log.jsonl")
    assert [list(v) for v in log.series["rate"]] == [[0, 1, 3], [0.1, 0.05, 0.05 / 3]]
    assert list(log.series["skipped"][1]) == [0, 0, 1, 0]


def test_links_lead_to_a_heading():
    inside = [link for link in re.findall(r"\]\(([^)]+)\)", PAGE) if link[0] != "#"]
    assert [*filter(None, map(dead, inside))] == []
    read = [words["read"] for words in WORDS["signs"].values()]
    assert [*filter(None, (dead(f"../{link}") for link in read))] == [] and all(read)


def test_the_command_draws_what_it_found(tmp_path):
    rows = FAULTS["lasting"](run := healthy()) or rows_of(run)
    rows[-1]["loss"] = float("inf")
    path = tmp_path / "a log.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[19])
        writer.writeheader()
        writer.writerows(rows)
    command = [sys.executable, "-m", "lrcourse.doctor", str(path), "--figure", "seen.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "1. A spike that stays" in done.stdout and "2. The run has diverged" in done.stdout
    assert (tmp_path / "seen.png").read_bytes().startswith(b"\x89PNG")
