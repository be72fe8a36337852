"""docs/libraries.md: its examples run as they stand, and its libraries do what it says of them."""

import ast
import importlib.util
import logging
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose
from torch import nn
from torch.amp import GradScaler
from torch.optim import SGD, AdamW, Muon, Optimizer
from torch.optim import lr_scheduler as lrs
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader, TensorDataset

from lrcourse.chapters import conventions
from lrcourse.schedules import Cosine, Linear, Warmup, values

PAGE = (Path(__file__).parents[1] / "docs" / "libraries.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^<!-- run: ([\w ]+) -->\n```python\n(.*?)^```", PAGE, re.M | re.S))
LINE = lambda t: 1 - t / 8  # noqa: E731  down to 0 in 8 updates
HALVES = lambda t: 0.5**t  # noqa: E731
pytestmark = [  # what Keras and Lightning do to numpy and torch
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec:FutureWarning"),
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trainers write into the folder they are started in, and accelerate keeps its state."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    torch.manual_seed(0)
    yield
    if "accelerate" in sys.modules:
        sys.modules["accelerate.state"].AcceleratorState._reset_state(True)


@pytest.fixture
def used() -> Iterator[list[list[float]]]:
    """For each update of any torch optimizer, the rate of each group."""
    rates: list[list[float]] = []
    handle = register_optimizer_step_post_hook(
        lambda optimizer, *_: rates.append([group["lr"] for group in optimizer.param_groups])
    )
    yield rates
    handle.remove()


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


def minibatches(count: int) -> DataLoader[Any]:
    x = torch.randn(2 * count, 4)
    return DataLoader(TensorDataset(x, x.argmax(1) % 3), batch_size=2)


def run(name: str, **given: Any) -> dict[str, Any]:
    """Run an example with what the page leaves to the reader, and what all of them import."""
    known: dict[str, Any] = {"model": network(), "loader": minibatches(10), "epochs": 3} | given
    exec(compile(EXAMPLES["imports"], "docs/libraries.md, imports", "exec"), known)
    exec(compile(EXAMPLES[name], f"docs/libraries.md, {name}", "exec"), known)
    return known


def optimizer(lr: float = 1.0, **settings: Any) -> SGD:
    return SGD([nn.Parameter(torch.zeros(2))], lr=lr, **settings)


def walk(optimizer: Optimizer, scheduler: Any, count: int) -> np.ndarray:
    rates = []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(rates)


def said(heard: Sequence[warnings.WarningMessage]) -> str:
    return "\n".join(str(warning.message) for warning in heard)


# ------------------------------------------------------------------------------------ the page


def test_every_example_is_run() -> None:
    assert len(EXAMPLES) == PAGE.count("```python") == PAGE.count("<!-- run:")
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    ran = {n.args[0].value for n in calls if getattr(n.func, "id", "") == "run"}  # type: ignore
    assert ran == EXAMPLES.keys() - {"imports"}  # which all others begin with


def test_links_lead_to_a_heading() -> None:
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", PAGE, flags=re.S), re.M)
    slugs = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
    linked = set(re.findall(r"\]\(#([\w-]+)\)", PAGE))
    assert linked <= slugs
    assert len(linked) > 12


# ------------------------------------------------------------------------------- the messages

PROVOKE: dict[str, Callable[[], Any]] = {}


def message(text: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """The function below makes the message of the page's table that begins so."""

    def listed(function: Callable[[], Any]) -> Callable[[], Any]:
        PROVOKE[text] = function
        return function

    return listed


TABLE = PAGE.partition("| you see | read |")[2].partition("\n\n")[0]
MESSAGES = [
    text.strip()
    for row in TABLE.splitlines()
    for text in re.findall(r"``(.+?)``(?!`)", row.rpartition("|")[0].rpartition("|")[0])
]


def test_every_message_is_provoked() -> None:
    assert sorted(MESSAGES) == sorted(PROVOKE)


@pytest.mark.parametrize("text", MESSAGES)
def test_the_message_still_appears(text: str, caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            PROVOKE[text]()
            error = ""
        except Exception as problem:
            error = str(problem)
    assert text in f"{error}\n{said(heard)}\n{caplog.text}"


@message("Detected call of `lr_scheduler.step()` before `optimizer.step()`")
def _() -> None:
    lrs.StepLR(optimizer(), 3).step()


@message(
    "Seems like `optimizer.step()` has been overridden after learning rate scheduler initialization"
)
def _() -> None:
    o = optimizer()
    scheduler = lrs.StepLR(o, 3)
    o.step = lambda: None  # type: ignore[method-assign]
    scheduler.step()


@message("Tried to step 5 times. The specified number of total steps is 4")
def _() -> None:
    o = optimizer()
    cycle = lrs.OneCycleLR(o, 1.0, total_steps=4)
    assert len(walk(o, cycle, 4)) == 4  # that many pass
    cycle.step()


@message("You must define either total_steps OR (epochs AND steps_per_epoch)")
def _() -> None:
    lrs.OneCycleLR(optimizer(), 12)  # as CosineAnnealingLR(optimizer, 12)


@message("ReduceLROnPlateau.step() missing 1 required positional argument: 'metrics'")
def _() -> None:
    lrs.ReduceLROnPlateau(optimizer()).step()  # type: ignore[call-arg]


@message("please use `get_last_lr()`")
def _() -> None:
    lrs.StepLR(optimizer(), 3).get_lr()


@message("The epoch parameter in `scheduler.step()` was not necessary and is being deprecated")
def _() -> None:
    lrs.StepLR(optimizer(), 3).step(1)


@message("param 'initial_lr' is not specified in param_groups[0] when resuming scheduler")
def _() -> None:
    lrs.LambdaLR(optimizer(), LINE, last_epoch=3)


@message("zip() argument 2 is shorter than argument 1")
def _() -> None:
    grown(lambda o: lrs.LambdaLR(o, LINE))


@message("'max_lr'")
def _() -> None:
    grown(lambda o: lrs.OneCycleLR(o, 1.0, 10))


@message("unexpected keyword argument 'warmup_ratio'")
def _() -> None:
    trained(warmup_ratio=0.1)


@message("One of min_lr or min_lr_rate should be set through the `lr_scheduler_kwargs`")
def _() -> None:
    trained(lr_scheduler_type="cosine_with_min_lr")


@message("lr_scheduler_type reduce_lr_on_plateau requires an eval strategy")
def _() -> None:
    trained(lr_scheduler_type="reduce_lr_on_plateau")


@message("tried to get lr value before scheduler/optimizer started stepping, returning lr=0")
def _() -> None:
    import transformers

    def not_yet() -> None:
        raise AssertionError("need to call step() first")

    trainer = SimpleNamespace(
        is_deepspeed_enabled=True, lr_scheduler=SimpleNamespace(get_last_lr=not_yet)
    )
    logger = logging.getLogger("transformers")
    with mock.patch.object(logger, "propagate", True), mock.patch.object(logger, "level", 30):
        assert transformers.Trainer._get_learning_rate(trainer) == 0


@message(
    "Please correct the following DeepSpeed config values that mismatch TrainingArguments values"
)
def _() -> None:
    deepspeed({"warmup_max_lr": 1e-3}, learning_rate=1e-4)


@message("A `OneCycleLR` scheduler is using 'interval': 'epoch'.")
def _() -> None:
    fitted(lambda m, o: {"scheduler": lrs.OneCycleLR(o, 1.0, total_steps=12)})


@message("Found unsupported keys in the optimizer configuration: {'interval'}")
def _() -> None:
    rates = fitted(lambda m, o: {"scheduler": lrs.LambdaLR(o, HALVES)}, interval="step")
    assert_allclose(rates, np.repeat([1, 0.5, 0.25], 4))


@message("{'scheduler'}")
def _() -> None:
    rates = fitted(lambda m, o: {"scheduler": lrs.LambdaLR(o, HALVES)}, outer="scheduler")
    assert_allclose(rates, 1)


@message("must include a monitor when a `ReduceLROnPlateau` scheduler is used")
def _() -> None:
    fitted(lambda m, o: {"scheduler": lrs.ReduceLROnPlateau(o)})


@message("ReduceLROnPlateau conditioned on metric val_loss which is not available")
def _() -> None:
    fitted(lambda m, o: {"scheduler": lrs.ReduceLROnPlateau(o), "monitor": "val_loss"})


class Like_timm:
    """What timm's schedulers have in common, for Lightning to look at."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@message("doesn't follow PyTorch's LRScheduler API")
def _() -> None:
    fitted(lambda m, o: {"scheduler": Like_timm(o)})


@message("Scheduler.step() missing 1 required positional argument: 'epoch'")
def _() -> None:
    pytest.importorskip("timm", exc_type=Exception)
    from timm.scheduler import CosineLRScheduler

    CosineLRScheduler(optimizer(), 3).step()


@message(
    "This optimizer was created with a `LearningRateSchedule` object as its `learning_rate` "
    "constructor argument"
)
def _() -> None:
    keras = conventions._keras()
    decay = keras.optimizers.schedules.ExponentialDecay(0.1, 4, 0.5)
    keras.optimizers.SGD(decay).learning_rate = 0.01


@message("Learning rate reduction is conditioned on metric `val_loss` which is not available.")
def _() -> None:
    keras = conventions._keras()
    rates, _ = asked(0.1, keras.callbacks.ReduceLROnPlateau(patience=1), epochs=3)
    assert_allclose(rates, 0.1)


# ---------------------------------------------------------------------------------- plain torch


def test_the_hook(used: list[list[float]]) -> None:
    o = optimizer()
    seen = run("hook", optimizer=o)["used"]
    walk(o, lrs.LambdaLR(o, LINE), 5)
    assert seen == used == [[LINE(t)] for t in range(5)]


def test_plain(used: list[list[float]]) -> None:
    run("plain")  # 10 minibatches in fours: 3 updates an epoch
    assert_allclose(used, values(Cosine(9), 9, 0.1)[:, None])


def test_a_class_counts_calls() -> None:
    o = optimizer()
    assert_allclose(walk(o, lrs.StepLR(o, 30), 31), [1] * 30 + [0.1])


def test_a_longer_cycle_resumed_keeps_its_old_length() -> None:
    short, long = (lrs.OneCycleLR(optimizer(), 1.0, total_steps=n) for n in (4, 8))
    long.load_state_dict(short.state_dict())
    assert long.total_steps == 4


class Plateau(lrs.ReduceLROnPlateau):
    """One that hears of no progress, whatever happens."""

    def step(self) -> None:  # type: ignore[override]
        super().step(1.0)


MAKE: dict[str, Callable[[Optimizer], Any]] = {
    "ReduceLROnPlateau": lambda o: Plateau(o, factor=0.5, patience=1),
    "StepLR": lambda o: lrs.StepLR(o, 8, 0.5),
    "MultiStepLR": lambda o: lrs.MultiStepLR(o, [8]),
    "ExponentialLR": lambda o: lrs.ExponentialLR(o, 0.9),
    "MultiplicativeLR": lambda o: lrs.MultiplicativeLR(o, lambda t: 0.9),
    "LinearLR": lambda o: lrs.LinearLR(o, 0.1, total_iters=15),
    "ConstantLR": lambda o: lrs.ConstantLR(o, 0.5, 8),
    "PolynomialLR": lambda o: lrs.PolynomialLR(o, 20),
    "CosineAnnealingLR": lambda o: lrs.CosineAnnealingLR(o, 20),
    "LambdaLR": lambda o: lrs.LambdaLR(o, HALVES),
    "CosineAnnealingWarmRestarts": lambda o: lrs.CosineAnnealingWarmRestarts(o, 10),
    "OneCycleLR": lambda o: lrs.OneCycleLR(o, 1.0, 30, cycle_momentum=False),
    "SequentialLR": lambda o: lrs.SequentialLR(
        o, [lrs.LinearLR(o, total_iters=8), lrs.CosineAnnealingLR(o, 20)], [8]
    ),
    "CyclicLR": lambda o: lrs.CyclicLR(o, 0.1, 1.0, cycle_momentum=False),
}
RULES = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([^|]+) \|$", PAGE, re.M)
BY_CLASS = {name: rule for names, rule in RULES for name in re.findall(r"`(\w+)`", names)}


def test_the_table_of_classes_is_read() -> None:
    assert {*MAKE} - {*BY_CLASS} == {"SequentialLR"}  # of which the text tells
    assert len(RULES) == 4


def resumed(make: Callable[[Optimizer], Any], *halved: str) -> np.ndarray:
    """The 15 rates after a resume at update 5, when these were halved after loading."""
    o = optimizer()
    scheduler = make(o)
    walk(o, scheduler, 5)
    state = o.state_dict(), scheduler.state_dict()
    o = optimizer(lr=0.3)  # it will not matter
    scheduler = make(o)
    o.load_state_dict(state[0])
    scheduler.load_state_dict(state[1])
    (group,) = o.param_groups
    for where in halved:
        if where.endswith("lrs"):
            setattr(scheduler, where, [lr / 2 for lr in getattr(scheduler, where, [])])
        else:
            group[where] = group.get(where, 1.0) / 2
    return walk(o, scheduler, 15)


@pytest.mark.parametrize("name", BY_CLASS)
def test_what_counts_after_a_resume(name: str) -> None:
    make = MAKE[name]
    told = re.findall(r'group\["(\w+)"\]|scheduler\.(\w+)', BY_CLASS[name].split(";")[0])
    counts = [a or b for a, b in told]
    plan, o = resumed(make), optimizer()
    assert_allclose(plan, walk(o, make(o), 20)[5:])  # loaded right, it goes on; lr=0.3 is forgotten
    assert_allclose(resumed(make, *counts)[1:], plan[1:] / 2)
    for other in {"lr", "initial_lr", "base_lrs"} - {*counts}:
        assert_allclose(resumed(make, other)[1:], plan[1:], err_msg=other)
    for some in counts if len(counts) > 1 else []:  # fewer than all will not do
        assert not np.allclose(resumed(make, some)[1:], plan[1:] / 2)
    if "lasts one update" in BY_CLASS[name]:
        assert_allclose(resumed(make, "lr")[0], plan[0] / 2)


def test_a_sequence_goes_back_to_the_old_peak() -> None:
    plan, halved = resumed(MAKE["SequentialLR"]), resumed(MAKE["SequentialLR"], "lr")
    assert_allclose(halved / plan, [0.5] * 3 + [1] * 12)


@pytest.mark.parametrize("before", ["LambdaLR", "OneCycleLR"])
def test_resume(used: list[list[float]], before: str) -> None:
    """The new peak holds, also where the old class kept another rate in `initial_lr`."""
    schedule, o = Warmup(3) >> Cosine(9), SGD([nn.Parameter(torch.zeros(2))], lr=1.0)
    old = lrs.LambdaLR(o, schedule) if before == "LambdaLR" else lrs.OneCycleLR(o, 1.0, 20)
    walk(o, old, 5)
    saved, fresh = {"optimizer": o.state_dict()}, SGD([nn.Parameter(torch.zeros(2))], lr=7.0)
    given = {"saved": saved, "optimizer": fresh, "schedule": schedule, "t": 5, "new_peak": 0.5}
    walk(fresh, run("resume", **given)["scheduler"], 7)
    assert_allclose(used[5:], 0.5 * values(schedule, 12)[5:, None])


def grown(make: Callable[[Optimizer], Any]) -> list[float]:
    """The rates of an old group and a new one, three updates after it was added."""
    o = optimizer()
    scheduler = make(o)
    walk(o, scheduler, 3)
    o.add_param_group({"params": [nn.Parameter(torch.zeros(2))], "lr": 0.1})
    walk(o, scheduler, 3)
    return [group["lr"] for group in o.param_groups]


@pytest.mark.parametrize("name", MAKE)
def test_a_group_added_under_a_scheduler(name: str) -> None:
    if "multiply" in BY_CLASS.get(name, "") and name != "MultiplicativeLR":
        old, new = grown(MAKE[name])
        o = optimizer()
        rates = walk(o, MAKE[name](o), 7)
        assert old == pytest.approx(rates[6])
        assert new == pytest.approx(0.1 * rates[6] / rates[3])  # what was left of the decay
    elif name != "SequentialLR":
        message = "initial_lr" if name == "OneCycleLR" else r"zip\(\) argument 2 is "
        with pytest.raises((KeyError, ValueError), match=message):
            grown(MAKE[name])


def test_a_group_added_before_the_end_of_a_cosine_or_of_a_part() -> None:
    for make in (
        lambda o: lrs.CosineAnnealingLR(o, 5),
        lambda o: lrs.SequentialLR(
            o, [lrs.LinearLR(o, 0.1, 1, 5), lrs.CosineAnnealingLR(o, 9)], milestones=[5]
        ),
    ):
        o = optimizer()
        scheduler = make(o)
        walk(o, scheduler, 3)
        o.add_param_group({"params": [nn.Parameter(torch.zeros(2))], "lr": 0.1})
        walk(o, scheduler, 1)
        with pytest.raises(ValueError, match=r"zip\(\) argument 2 is "):
            walk(o, scheduler, 5)


def test_a_rate_changed_by_hand_is_forgotten_after_the_end_of_a_cosine() -> None:
    o = optimizer()
    scheduler = lrs.CosineAnnealingLR(o, 10)
    plan = walk(o, scheduler, 3)[0]
    o.param_groups[0]["lr"] /= 2
    halved = walk(o, scheduler, 12)
    whole = values(Cosine(10), 10)[3:]
    assert_allclose(halved[:7], whole / 2)
    assert halved[-1] == pytest.approx(plan * (1 + np.cos(np.pi * 14 / 10)) / 2)


def test_unfreeze(used: list[list[float]]) -> None:
    model = network()
    start, moved = model[0].weight.detach().clone(), []
    model.register_forward_pre_hook(lambda *_: moved.append(bool((model[0].weight != start).any())))
    run("unfreeze", model=model)
    assert moved == [False] * 11 + [True] * 19  # the first update of epoch 1 moves it
    assert_allclose(used, np.outer(values(Linear(1, 0, 30), 30), [0.01, 0.1]))


@pytest.mark.parametrize(("frozen", "length"), [(0, 1.0), (50, 9.95)])
def test_momentum_goes_on_at_rate_0(frozen: int, length: float) -> None:
    w = torch.zeros(1, requires_grad=True)
    o = SGD([w], lr=1.0, momentum=0.9)
    scheduler = lrs.LambdaLR(o, lambda t: float(t >= frozen))
    for _ in range(frozen + 1):
        w.grad = torch.ones(1)
        o.step()
        scheduler.step()
    assert -w.item() == pytest.approx(length, rel=1e-3)


def test_muons_two_scalings() -> None:
    def moved(start: float, gradient: torch.Tensor, *settings: str) -> torch.Tensor:
        w = nn.Parameter(torch.full(gradient.shape, start))
        w.grad = gradient.clone()
        chosen = {"adjust_lr_fn": settings[0]} if settings else {}
        Muon([w], lr=0.1, weight_decay=0.1, **chosen).step()
        return w.detach()

    for a, b in (8, 2), (2, 8), (4, 4):
        step = moved(0.0, gradient := torch.randn(a, b))
        assert torch.equal(step, moved(0.0, gradient, "original"))  # the default
        length = 0.1 * max(1, a / b) ** 0.5
        assert 0.5 < torch.linalg.svdvals(step).max() / length < 1.5
        other = moved(0.0, gradient, "match_rms_adamw") / 0.1 / (0.2 * max(a, b) ** 0.5)
        assert_allclose(other, step / length, rtol=1e-5)
        for kind in "original", "match_rms_adamw":
            assert_allclose(moved(1.0, torch.zeros(a, b), kind), 1 - 0.1 * 0.1)
    assert f"{0.2 * 1024**0.5:.1f} times" in PAGE


# ------------------------------------------------------------------------------------------ AMP


def half(
    make: Callable[..., Optimizer], aware: bool, **settings: Any
) -> tuple[np.ndarray, np.ndarray, str]:
    """In float16, with a scale that is too large at first.

    Which of 20 updates were skipped, the rates with which the optimizer was called, and warnings.
    """
    model = nn.Linear(4, 3)
    o = make(model.parameters(), lr=1e-3, **settings)
    scheduler = lrs.LambdaLR(o, Linear(1, 0, 20))
    skipped: list[bool] = []
    rates: list[float] = []

    class Scaler(GradScaler):
        def __init__(self, device: str) -> None:
            super().__init__(device, init_scale=2.0**20)

        def update(self, new_scale: Any = None) -> None:
            before = self.get_scale()
            super().update(new_scale)
            skipped.append(self.get_scale() < before)

    with mock.patch("torch.amp.GradScaler", Scaler), warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        o.register_step_post_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
        given = {"model": model, "optimizer": o, "device": "cpu", "loader": minibatches(20)}
        given["scheduler"] = scheduler if aware else mock.Mock()
        if not aware:  # it steps whatever happens, at the end of each turn of the example's loop
            given["loader"] = stepping(given["loader"], scheduler)
        run("amp", **given)
    return np.array(skipped), np.array(rates), said(heard)


def stepping(loader: DataLoader[Any], scheduler: Any) -> Iterator[Any]:
    for batch in loader:
        yield batch
        scheduler.step()


def test_amp() -> None:
    plan = values(Linear(1, 0, 20), 20, 1e-3)
    skipped, rates, heard = half(SGD, aware=False)
    assert skipped.sum() > 1 and skipped[0]
    assert_allclose(rates, plan[~skipped])  # the schedule has run ahead
    assert "Detected call of `lr_scheduler.step()` before" in heard
    skipped, rates, heard = half(SGD, aware=True)
    assert_allclose(rates, plan[: len(rates)])
    assert len(rates) == 20 - skipped.sum() < 19 and not heard


@pytest.mark.parametrize("make", [SGD, AdamW])
def test_a_fused_optimizer_is_called_when_it_skips(make: Callable[..., Optimizer]) -> None:
    skipped, rates, heard = half(make, aware=False, fused=True)
    assert skipped.sum() > 1 and len(rates) == 20 and not heard
    skipped, rates, _ = half(make, aware=True, fused=True)
    assert len({*rates}) == 20 - skipped.sum()  # the scale tells


# --------------------------------------------------------------------------------- transformers


def gpt() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=16, n_positions=8))


DATASET = [{"input_ids": torch.arange(8), "labels": torch.arange(8)} for _ in range(64)]


def arguments(**settings: Any) -> Any:
    """Quiet ones: 8 updates from rate 1 with plain SGD, each of them logged."""
    from transformers import TrainingArguments, logging

    logging.set_verbosity_error()
    quiet = {"output_dir": "out", "report_to": "none", "save_strategy": "no", "optim": "sgd"}
    quiet |= {"disable_tqdm": True, "dataloader_pin_memory": False, "use_cpu": True}
    task = {"max_steps": 8, "learning_rate": 1.0, "logging_steps": 1, "max_grad_norm": 1e-3}
    task |= {"per_device_train_batch_size": 4}
    return TrainingArguments(**quiet | task | settings)


def trained(resume: str | None = None, optimizers: Any = (None, None), **settings: Any) -> Any:
    from transformers import PrinterCallback, Trainer

    data = {"train_dataset": DATASET, "eval_dataset": DATASET[:4]}
    trainer = Trainer(gpt(), arguments(**settings), optimizers=optimizers, **data)
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def logged(trainer: Any) -> list[float]:
    return [row["learning_rate"] for row in trainer.state.log_history if "learning_rate" in row]


def test_trainer(used: list[list[float]]) -> None:
    from transformers import TrainingArguments

    quiet = {"use_cpu": True, "disable_tqdm": True, "report_to": "none"}
    with mock.patch("transformers.TrainingArguments", partial(TrainingArguments, **quiet)):
        rates = run("trainer", model=gpt(), dataset=DATASET)["rates"]
    plan = values(Warmup(5) >> Cosine(15, 0.1), 20, 1e-3)
    assert_allclose(rates, plan)
    assert_allclose(used, np.outer(plan, [1, 1]))  # what is logged is what each group used
    assert rates[0] == 0


def test_trainer_with_its_own_schedule(used: list[list[float]]) -> None:
    from transformers import Trainer

    schedule = Warmup(2) >> Cosine(6)
    ignored = {"learning_rate": 3.0, "lr_scheduler_type": "cosine", "warmup_steps": 4}
    given = {"schedule": schedule, "arguments": arguments(**ignored), "Trainer": Trainer}
    run("own", model=gpt(), dataset=DATASET, **given)["trainer"].train()
    assert_allclose(used, values(schedule, 8, 1e-3)[:, None])


def test_a_step_of_the_trainer_is_an_update(used: list[list[float]]) -> None:
    assert_allclose(logged(trained()), values(Linear(1, 0, 8), 8))
    assert_allclose(logged(trained(gradient_accumulation_steps=2)), values(Linear(1, 0, 8), 8))
    used.clear()
    trainer = trained(max_steps=-1, num_train_epochs=1, gradient_accumulation_steps=3)
    assert trainer.state.global_step == len(used) == 6  # 16 minibatches in threes
    assert_allclose(np.array(used)[:, 0], values(Linear(1, 0, 6), 6))


def test_what_the_trainer_does_unasked() -> None:
    from transformers import TrainingArguments

    plain = TrainingArguments("out", use_cpu=True)
    assert plain.learning_rate == 5e-5 and plain.lr_scheduler_type == "linear"
    assert plain.warmup_steps == 0 and plain.metric_for_best_model is None


def test_the_trainer_does_not_step_after_a_skipped_update() -> None:
    from accelerate import Accelerator

    skipped = iter([True] + [False] * 7)
    told = property(lambda self: next(skipped))
    with mock.patch.object(Accelerator, "optimizer_step_was_skipped", told):
        assert_allclose(logged(trained()), [1, *values(Linear(1, 0, 8), 7)])


def test_a_linear_that_is_too_short_stays_at_0() -> None:
    o = optimizer()
    from transformers import get_linear_schedule_with_warmup

    assert_allclose(
        walk(o, get_linear_schedule_with_warmup(o, 0, 4), 6), [1, 0.75, 0.5, 0.25, 0, 0]
    )
    assert f"{2e-5:.4f}" == "0.0000" and "`0.0000`" in PAGE


def test_plateau_and_greedy_step_at_evaluations() -> None:
    every = {"eval_strategy": "steps", "eval_steps": 2}
    never = {"patience": 1, "threshold": 100.0, "threshold_mode": "abs"}  # good enough: no metric
    rates = logged(
        trained(lr_scheduler_type="reduce_lr_on_plateau", lr_scheduler_kwargs=never, **every)
    )
    assert_allclose(rates, [1] * 6 + [0.1] * 2)
    rates = logged(
        trained(lr_scheduler_type="greedy", lr_scheduler_kwargs=never | {"factor": 0.5}, **every)
    )
    assert_allclose(rates, [1] * 6 + [0.5] * 2)


def test_greedy_can_only_rise_from_a_small_rate() -> None:
    from transformers.optimization import GreedyLR

    for settings, lower in ({}, False), ({"min_lr": 0}, True):
        o = optimizer(5e-5)
        greedy = GreedyLR(o, **settings)
        for _ in range(30):
            greedy.step(1.0)  # never better
        assert (o.param_groups[0]["lr"] < 5e-5) == lower
    greedy = GreedyLR(o := optimizer(5e-5))
    for t in range(30):
        greedy.step(-1.0 * t)
    assert o.param_groups[0]["lr"] > 5e-5


def test_a_run_of_the_trainer_resumed(used: list[list[float]]) -> None:
    trained(max_steps=4, save_strategy="steps", save_steps=4)
    for settings in {}, {"learning_rate": 0.5}:
        used.clear()
        trained(resume="out/checkpoint-4", **settings)
        assert_allclose(np.array(used)[:, 0], [0, 3 / 8, 2 / 8, 1 / 8])


# ------------------------------------------------------------------------------------ DeepSpeed


def deepspeed(params: dict[str, Any], **settings: Any) -> Any:
    """What transformers makes of a scheduler block and of the arguments, before DeepSpeed runs."""
    from accelerate.utils import deepspeed as theirs
    from transformers.integrations import deepspeed as integration

    class Config(integration.HfTrainerDeepSpeedConfig, theirs.HfDeepSpeedConfig):  # type: ignore
        def __init__(self) -> None:
            block = {"type": "WarmupDecayLR", "params": params}
            theirs.HfDeepSpeedConfig.__init__(self, {"scheduler": block})
            self._dtype, self.mismatches = None, []

    config, args = Config(), arguments(**settings)
    config.trainer_config_process(args)
    config.trainer_config_finalize(args, None, 100)
    return config


def test_auto_takes_the_arguments() -> None:
    (example,) = re.findall(r"```json\n.*?\"params\": (\{.*?\})\}\}\n```", PAGE, re.S)
    config = deepspeed(ast.literal_eval(example), learning_rate=1e-4, warmup_steps=10)
    made = {"warmup_max_lr": 1e-4, "warmup_num_steps": 10, "total_num_steps": 100}
    assert config.config["scheduler"]["params"] == made | {"warmup_min_lr": 0}


@pytest.mark.parametrize("block", [True, False])
def test_deepspeed_drops_what_the_trainer_was_given(block: bool, monkeypatch: Any) -> None:
    import accelerate.utils
    from accelerate.utils import deepspeed as theirs
    from transformers.integrations.deepspeed import deepspeed_init

    for name in ("DummyOptim", "DummyScheduler"):  # hidden, as DeepSpeed is not here
        monkeypatch.setattr(accelerate.utils, name, getattr(theirs, name), raising=False)
    stand_in = ModuleType("deepspeed.utils")
    stand_in.logger = logging.getLogger("deepspeed")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "deepspeed.utils", stand_in)
    monkeypatch.setitem(sys.modules, "deepspeed", ModuleType("deepspeed"))
    config = deepspeed({}, lr_scheduler_type="cosine")
    if not block:
        del config.config["scheduler"]
    mine, anew = optimizer(), optimizer()
    state = SimpleNamespace(deepspeed_plugin=SimpleNamespace(hf_ds_config=config))
    trainer = SimpleNamespace(
        model=network(),
        args=arguments(),
        accelerator=SimpleNamespace(state=state),
        optimizer=mine,
        lr_scheduler=lrs.LambdaLR(mine, LINE),
        create_optimizer=lambda: anew,
    )
    made, scheduler = deepspeed_init(trainer, 100)
    assert made is anew and trainer.optimizer is None
    assert isinstance(scheduler, theirs.DummyScheduler) if block else scheduler is None


def test_the_trainer_does_not_step_deepspeeds_scheduler() -> None:
    from accelerate import Accelerator
    from accelerate.utils.deepspeed import DeepSpeedSchedulerWrapper

    Accelerator(cpu=True)
    theirs = mock.Mock()
    DeepSpeedSchedulerWrapper(theirs, mock.Mock()).step()
    theirs.step.assert_not_called()


# ----------------------------------------------------------------------------------- accelerate


def test_accelerate(used: list[list[float]]) -> None:
    from accelerate import Accelerator

    plan = values(Cosine(9), 9, 0.1)
    run("accelerate")
    assert_allclose(used, plan[:, None])
    used.clear()
    skipped = iter([True] + [False] * 8)
    told = property(lambda self: next(skipped))
    with mock.patch.object(Accelerator, "optimizer_step_was_skipped", told):
        run("accelerate")
    assert_allclose(used, plan[[0, *range(8)], None])


def prepared(make: Callable[[Optimizer], Any], count: int, **settings: Any) -> list[float]:
    """The rates under a prepared scheduler when accelerate believes in two processes."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    two = property(lambda self: 2)
    AcceleratorState._reset_state(True)
    accelerator = Accelerator(cpu=True, **settings)
    with mock.patch.object(AcceleratorState, "num_processes", two, create=True):
        o = optimizer()
        wrapped = accelerator.prepare(o)
        return walk(wrapped, accelerator.prepare(make(o)), count).tolist()


def test_a_prepared_scheduler_is_stepped_once_per_process() -> None:
    from accelerate.utils import DataLoaderConfiguration

    line = lambda o: lrs.LambdaLR(o, LINE)  # noqa: E731
    assert prepared(line, 5) == [1, 0.75, 0.5, 0.25, 0]
    cosine = prepared(lambda o: lrs.CosineAnnealingLR(o, 8), 8)
    assert cosine[4] == pytest.approx(0) and cosine[6] == pytest.approx(0.5)  # it climbs again
    cycle = prepared(lambda o: lrs.OneCycleLR(o, 1.0, 8, cycle_momentum=False), 12)
    assert max(cycle[5:]) == cycle[5] < 0.3  # no error, and no way up again
    split = DataLoaderConfiguration(split_batches=True)
    once = [LINE(t) for t in range(5)]
    assert prepared(line, 5, dataloader_config=split) == once
    assert prepared(line, 5, step_scheduler_with_optimizer=False) == once
    double = lambda o: lrs.LambdaLR(o, lambda t: LINE(t / 2))  # noqa: E731
    assert prepared(double, 5) == once


def test_a_prepared_scheduler_waits_for_real_updates() -> None:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    o = accelerator.prepare(optimizer())
    scheduler = accelerator.prepare(lrs.LambdaLR(o.optimizer, LINE))
    rates = []
    for sync, skipped in (True, False), (False, False), (True, True), (True, False):
        accelerator.gradient_state._set_sync_gradients(sync)
        o._is_overflow = skipped
        scheduler.step()
        rates.append(o.param_groups[0]["lr"])
    assert rates == [LINE(1)] * 3 + [LINE(2)]
    accelerator.register_for_checkpointing(lrs.LambdaLR(o.optimizer, LINE))


TWO = """
import torch.distributed
from accelerate import Accelerator, debug_launcher
from accelerate.utils import DataLoaderConfiguration
from torch.optim import lr_scheduler as lrs

import test_libraries as here


def both():
    rates = []
    here.register_optimizer_step_post_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
    accelerator, o = Accelerator(cpu=True), here.optimizer()
    scheduler = lrs.LambdaLR(o, here.LINE)
    o, scheduler, loader = accelerator.prepare(o, scheduler, here.minibatches(8))
    for _ in loader:
        o.step()
        scheduler.step()
    assert rates == [1, 0.75, 0.5, 0.25], rates

    rates.clear()
    here.run("accelerate", loader=here.minibatches(20))  # 10 a process: 3 updates an epoch
    here.assert_allclose(rates, here.values(here.Cosine(9), 9, 0.1))

    rates.clear()
    trainer = here.trained(max_steps=-1, num_train_epochs=1)
    assert trainer.state.global_step == len(rates) == 8
    here.assert_allclose(rates, here.values(here.Linear(1, 0, 8), 8))
    assert trainer.get_total_train_batch_size(here.arguments(gradient_accumulation_steps=3)) == 24

    for split, rows in (False, 2), (True, 1):
        config = DataLoaderConfiguration(split_batches=split)
        loader = Accelerator(cpu=True, dataloader_config=config).prepare(here.minibatches(8))
        assert {len(x) for x, _ in loader} == {rows}
    weight = torch.nn.Linear(1, 1, bias=False)
    both = torch.nn.parallel.DistributedDataParallel(weight)
    both(torch.tensor([1.0 + torch.distributed.get_rank()])).backward()
    assert weight.weight.grad == 1.5  # the mean


debug_launcher(both)
"""


TWO_UNDER_LIGHTNING = """
import pytorch_lightning as pl

import test_libraries as here


class Look(pl.Callback):
    def on_train_batch_start(self, trainer, net, batch, index):
        assert len(batch[0]) == 2  # each process's minibatch is as large as the loader says

    def on_train_end(self, trainer, net):
        assert trainer.global_step == 6 / trainer.accumulate_grad_batches  # 4 an epoch for one


for pieces in 1, 2:
    two = {"devices": 2, "strategy": "ddp_fork", "accumulate_grad_batches": pieces}
    here.fitted(here.by_step, trainer=two | {"callbacks": [Look()]})
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="their launchers fork")
@pytest.mark.parametrize("code", [TWO, TWO_UNDER_LIGHTNING], ids=["accelerate", "Lightning"])
def test_two_processes(code: str) -> None:
    """64 examples at 4 a device are 16 updates on one device (above), 8 on two."""
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n{code}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------------------------ Lightning


def fitted(
    configure: Callable[[Any, Optimizer], dict[str, Any]],
    *,
    outer: str = "lr_scheduler",
    manual: bool = False,
    step_yourself: bool = False,
    bare: bool = False,
    rates: list[float] | None = None,
    trainer: dict[str, Any] | None = None,
    **beside: Any,
) -> list[float]:
    """The rates of 3 epochs of 4 minibatches under Lightning, with this under the outer key."""
    import pytorch_lightning as pl

    seen: list[float] = [] if rates is None else rates

    class Net(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.automatic_optimization = network(), not manual

        def training_step(self, batch: Any, index: int) -> Any:
            loss = F.cross_entropy(self.net(batch[0]), batch[1])
            self.log("loss", loss)
            if manual:
                self.manual_backward(loss)
                self.optimizers().step()
                if step_yourself:
                    self.lr_schedulers().step()
            return loss

        def configure_optimizers(self) -> Any:
            o = SGD(self.parameters(), lr=1.0)
            o.register_step_post_hook(lambda o, *_: seen.append(o.param_groups[0]["lr"]))
            if bare:
                return [o], [configure(self, o)["scheduler"]]
            return {"optimizer": o, outer: configure(self, o)} | beside

    quiet = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    quiet |= {"enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 3}
    pl.Trainer(**quiet | (trainer or {})).fit(Net(), minibatches(4))
    return seen


def by_step(m: Any, o: Optimizer, **more: Any) -> dict[str, Any]:
    return {"scheduler": lrs.LambdaLR(o, HALVES), "interval": "step", **more}


def test_lightning(used: list[list[float]]) -> None:
    import pytorch_lightning as pl

    quiet = partial(pl.Trainer, accelerator="cpu", enable_progress_bar=False, logger=False)
    with mock.patch("pytorch_lightning.Trainer", quiet):
        run("lightning")
    assert_allclose(used, values(Cosine(9), 9, 0.1)[:, None])


def test_the_interval_of_lightning() -> None:
    by_epoch = np.repeat([1, 0.5, 0.25], 4)
    assert_allclose(fitted(lambda m, o: {"scheduler": lrs.LambdaLR(o, HALVES)}), by_epoch)
    assert_allclose(fitted(by_step), HALVES(np.arange(12)))
    assert_allclose(fitted(by_step, manual=True), 1)
    assert_allclose(fitted(by_step, manual=True, step_yourself=True), HALVES(np.arange(12)))


def test_one_cycle_under_lightning(caplog: pytest.LogCaptureFixture) -> None:
    def cycle(m: Any, o: Optimizer, **how: Any) -> dict[str, Any]:
        length = m.trainer.estimated_stepping_batches
        cycle = lrs.OneCycleLR(o, max_lr=0.1, total_steps=length, cycle_momentum=False)
        return {"scheduler": cycle, **how}

    rates = fitted(partial(cycle, interval="step"))
    assert max(rates) == pytest.approx(0.1, rel=0.2) and rates[-1] < 1e-3
    with pytest.warns(RuntimeWarning, match="is using 'interval': 'epoch'"):
        fitted(cycle)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        flat = fitted(cycle, bare=True, trainer={"max_epochs": 1})
    assert_allclose(flat, 0.1 / 25)
    assert "OneCycleLR" not in f"{said(heard)}{caplog.text}"


def test_the_frequency_of_lightning_counts_minibatches() -> None:
    two = {"accumulate_grad_batches": 2}
    assert_allclose(fitted(by_step, trainer=two), HALVES(np.arange(6)))
    assert_allclose(fitted(partial(by_step, frequency=2), trainer=two), HALVES(np.arange(6)))
    assert_allclose(fitted(partial(by_step, frequency=3), trainer=two), 1)


def test_lightning_plateau() -> None:
    import pytorch_lightning as pl

    class Net(pl.LightningModule):
        configure_optimizers = run("lightning plateau")["configure_optimizers"]

        def __init__(self) -> None:
            super().__init__()
            self.net, self.seen = network(), []

        def training_step(self, batch: Any, index: int) -> Any:
            self.seen.append(self.trainer.optimizers[0].param_groups[0]["lr"])
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", torch.tensor(1.0))  # never any better

    net = Net()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "num_sanity_val_steps": 0, "accelerator": "cpu"}
    pl.Trainer(max_epochs=6, **quiet).fit(net, minibatches(1), minibatches(1))
    assert_allclose(net.seen, [0.1] * 5 + [0.01])  # the best, three bad ones, the fourth cuts


def test_the_monitor_of_lightning() -> None:
    never = {"patience": 0, "threshold": 1e9, "threshold_mode": "abs"}
    rates = fitted(lambda m, o: {"scheduler": lrs.ReduceLROnPlateau(o, **never), "monitor": "loss"})
    assert_allclose(rates, np.repeat([1, 1, 0.1], 4))


def test_who_else_writes_under_lightning() -> None:
    from pytorch_lightning.callbacks import StochasticWeightAveraging

    swa = StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1, annealing_epochs=1)
    assert_allclose(fitted(by_step, trainer={"callbacks": [swa]})[4:], 0.01)


def test_the_monitor_of_rates() -> None:
    from pytorch_lightning.callbacks import LearningRateMonitor
    from pytorch_lightning.loggers import CSVLogger

    logger, monitor = CSVLogger("logs"), LearningRateMonitor("step")
    settings = {"logger": logger, "callbacks": [monitor], "log_every_n_steps": 1}
    rates = fitted(by_step, trainer=settings)
    written = Path(logger.log_dir, "metrics.csv").read_text(encoding="utf-8").splitlines()
    at = written[0].split(",").index("lr-SGD")
    rows = [float(row.split(",")[at]) for row in written[1:] if row.split(",")[at]]
    assert_allclose(rows, rates)
    silent = CSVLogger("silent")
    fitted(by_step, trainer={"logger": silent, "callbacks": [LearningRateMonitor("step")]})
    assert not list(Path("silent").rglob("metrics.csv"))  # 12 updates, and it writes every 50


def test_lightning_in_16_bits_runs_ahead() -> None:
    from pytorch_lightning.plugins import MixedPrecision

    precision = MixedPrecision("16-mixed", "cpu", scaler=GradScaler("cpu", init_scale=2.0**20))
    rates = fitted(by_step, trainer={"plugins": [precision]})
    assert 0 < len(rates) < 12
    assert_allclose(rates[0], HALVES(12 - len(rates)))


# ----------------------------------------------------------------------------------------- timm


@pytest.mark.skipif(
    importlib.util.find_spec("timm") is None or importlib.util.find_spec("torchvision") is None,
    reason="timm is not installed with the course",
)
class TestTimm:
    def test_example(self, used: list[list[float]]) -> None:
        assert run("timm")["epochs"] == 4
        warmup = values(Linear(1e-5, 0.1, 10), 10)
        assert_allclose(used, [[r] for r in [*warmup, *values(Cosine(30), 30, 0.1)]], atol=1e-9)

    def epochs(self, make: Any, count: int, updates: bool = False) -> list[float]:
        o = optimizer()
        scheduler = make(o)
        rates = []
        for t in range(count):
            rates.append(o.param_groups[0]["lr"])
            scheduler.step_update(t + 1) if updates else scheduler.step(t + 1)
        return rates

    def test_what_the_page_says(self) -> None:
        from timm.scheduler import CosineLRScheduler, StepLRScheduler, create_scheduler_v2

        made = lambda **s: lambda o: create_scheduler_v2(o, **s)[0]  # noqa: E731
        assert self.epochs(made(num_epochs=4), 4) == pytest.approx(values(Cosine(4), 4))
        assert create_scheduler_v2(optimizer())[0].t_initial == 300
        assert self.epochs(made(num_epochs=4), 4, updates=True) == [1] * 4
        by_update = {"num_epochs": 4, "step_on_epochs": False, "updates_per_epoch": 1}
        assert self.epochs(made(**by_update), 4) == [1] * 4
        cut = self.epochs(made(num_epochs=8, warmup_epochs=2, warmup_lr=0.1), 3)
        assert cut == pytest.approx([0.1, 0.55, values(Cosine(8), 3)[2]])
        step = self.epochs(lambda o: StepLRScheduler(o, 2, 0.5, warmup_t=2), 6)
        assert step == pytest.approx([0, 0.5, 1, 1, 0.5, 0.5])
        again = self.epochs(made(num_epochs=4, cycle_limit=2), 10)
        assert [again[4], again[8], again[9]] == pytest.approx([0.1, 0, 0])
        assert self.epochs(lambda o: CosineLRScheduler(o, 4, cycle_limit=2), 5)[4] == 1
        scheduler = CosineLRScheduler(o := optimizer(), 4)
        o.param_groups[0]["lr_scale"] = 0.5
        scheduler.step(2)
        assert o.param_groups[0]["lr"] == pytest.approx(0.25)
        assert not isinstance(scheduler, lrs.LRScheduler)


# ---------------------------------------------------------------------------------------- Keras


def asked(rate: Any, *callbacks: Any, epochs: int = 2, **settings: Any) -> tuple[list[float], Any]:
    """The rates that each of 4 minibatches an epoch ran at, and the optimizer."""
    keras = conventions._keras()
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate, **settings), loss="mse")
    rates: list[float] = []

    class Rates(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            rates.append(float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))

    data = np.ones((8, 2)), np.ones((8, 1))
    model.fit(*data, batch_size=2, epochs=epochs, verbose=0, callbacks=[Rates(), *callbacks])
    return rates, model.optimizer


def test_keras() -> None:
    keras = conventions._keras()
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    rates = run("keras", model=model, x=np.ones((70, 2)), y=np.ones((70, 1)))["Rates"].used
    assert_allclose(rates, values(Cosine(9), 9, 0.1), rtol=1e-5)


def test_the_lengths_of_keras_are_minibatches() -> None:
    keras = conventions._keras()
    decay = keras.optimizers.schedules.ExponentialDecay
    rates, o = asked(decay(1.0, 4, 0.5))
    assert_allclose(rates, 0.5 ** (np.arange(8) / 4), rtol=1e-5)
    assert_allclose(asked(decay(1.0, 4, 0.5, staircase=True))[0], np.repeat([1, 0.5], 4))
    rates, o = asked(decay(1.0, 4, 0.5), gradient_accumulation_steps=2)
    assert_allclose(rates, 0.5 ** (np.arange(8) / 4), rtol=1e-5)
    assert int(o.iterations) == 4
    assert float(keras.optimizers.SGD().learning_rate) == pytest.approx(0.01)


def test_the_count_of_keras_goes_on() -> None:
    keras = conventions._keras()
    decay = keras.optimizers.schedules.ExponentialDecay(1.0, 4, 0.5)
    _, o = asked(decay)
    o.learning_rate = keras.optimizers.schedules.CosineDecay(1.0, 16)
    assert float(o.learning_rate) == pytest.approx(0.5)  # 8 minibatches were seen


def test_who_else_writes_under_keras() -> None:
    keras = conventions._keras()
    decay = keras.optimizers.schedules.ExponentialDecay(0.1, 4, 0.5)
    plateau = partial(keras.callbacks.ReduceLROnPlateau, monitor="loss", min_delta=10, factor=0.5)
    by_hand = keras.callbacks.LearningRateScheduler(lambda epoch, lr: 0.1 * 0.5**epoch)
    assert_allclose(asked(0.1, by_hand)[0], np.repeat([0.1, 0.05], 4), rtol=1e-6)
    assert_allclose(asked(0.1, plateau(patience=1), epochs=3)[0][8:], 0.05, rtol=1e-6)
    asked(decay, plateau(patience=2))  # not yet
    with pytest.raises(TypeError, match="learning rate is not settable"):
        asked(decay, plateau(patience=2), epochs=3)
    with pytest.raises(TypeError, match="learning rate is not settable"):
        asked(decay, by_hand, epochs=1)


def test_the_adam_of_keras_is_not_torchs() -> None:
    keras, gradient = conventions._keras(), 1e-7
    assert keras.optimizers.Adam().epsilon == 1e-7
    assert torch.optim.Adam([torch.zeros(1)]).defaults["eps"] == 1e-8
    v = keras.Variable(np.zeros(1), dtype="float64")
    keras.optimizers.Adam(1.0, epsilon=1e-8).apply([keras.ops.convert_to_tensor([gradient])], [v])
    theirs = float(keras.ops.convert_to_numpy(v)[0])
    for times, same in ((1, False), (1 / np.sqrt(1 - 0.999), True)):
        w = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        o = torch.optim.Adam([w], lr=1.0, eps=1e-8 * times)
        w.grad = torch.full_like(w, gradient)
        o.step()
        assert (theirs == pytest.approx(w.item(), rel=1e-4)) == same
