"""Train one GPT with any of the course's schedules: `python -m lrcourse.pretrain --help`.

A thin layer over `training.train`, which does the work: this module turns a command line into a
model, text and a plan, and keeps the run in a folder that `--resume` goes on from.

    OUT/checkpoint.pt, checkpoint.previous.pt   the last two states of the run
    OUT/tensorboard                             rate, loss and norms of every update
    OUT/run.npz, run.json                       the result (`Run.load`), and how it came about
"""

import argparse
import gc
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW

from lrcourse import machine
from lrcourse.checkpoints import checkpointed
from lrcourse.data import Corpus, corpus
from lrcourse.experiments.recordings import provenance
from lrcourse.files import previous, write_whole
from lrcourse.models import GPT, next_token_loss, sample
from lrcourse.runs import Run
from lrcourse.schedules import PLANS, Schedule, plan
from lrcourse.training import processes, train

__all__ = ["Settings", "learn", "main", "parser"]

CHANGEABLE = (
    "schedule",
    "peak",
    "warmup",
    "cooldown",
    "steps",
)  # what `--resume changed` may change


def _flag(default: Any, about: str, **how: Any) -> Any:
    kind = {"action": "store_true"} if default is False else {"type": type(default)}
    return field(default=default, metadata={**kind, **how, "help": about})


@dataclass(frozen=True)
class Settings:
    """What a run is: each field is a flag, and equal settings on one machine give equal runs."""

    schedule: str = _flag("wsd", "the plan for the rate", choices=PLANS)
    peak: float = _flag(3e-3, "peak learning rate")
    warmup: int | None = _flag(
        None, "updates on the way up to the peak (default: a twentieth of the steps)", type=int
    )
    cooldown: int | None = _flag(
        None, "updates on the way down of wsd (default: a fifth of the steps)", type=int
    )
    steps: int = _flag(1000, "updates in all")
    batch_size: int = _flag(32, "windows of text in an update, over all processes")
    context: int = _flag(64, "tokens in a window")
    layers: int = _flag(2, "Transformer blocks")
    heads: int = _flag(2, "attention heads")
    width: int = _flag(64, "entries in a token's vector")
    vocabulary: int = _flag(256, "tokens: bytes up to 256, byte pairs from 257 to 2048")
    post_ln: bool = _flag(False, "normalise after each sum, as in 2017, instead of before")
    qk_norm: bool = _flag(False, "normalise queries and keys")
    seed: int = _flag(0, "of the first weights and the batches")
    corpus: str | None = _flag(
        None, "a text file or folder to learn (default: this Python's source)", type=str
    )

    def __post_init__(self) -> None:
        if not (math.isfinite(self.peak) and self.peak > 0):
            raise ValueError(f"peak must be finite and above 0, got {self.peak!r}")
        if self.batch_size < 1:
            raise ValueError(f"batch-size must be at least 1, got {self.batch_size}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")
        if self.cooldown is not None and self.schedule != "wsd":
            raise ValueError(f"cooldown is for wsd alone, and schedule is {self.schedule}")
        if self.warmup is None:  # from here on a number, which another horizon does not change
            object.__setattr__(self, "warmup", max(1, self.steps // 20))
        if self.cooldown is None and self.schedule == "wsd":
            object.__setattr__(self, "cooldown", self.steps // 5)
        self.plan()

    def plan(self) -> Schedule:
        """The schedule; ValueError when a name or length is out of range."""
        return plan(self.schedule, self.steps, warmup=self.warmup or 0, cooldown=self.cooldown or 0)

    def model(self) -> GPT:
        """The model with its first weights; ValueError when a size is out of range."""
        names = ("vocabulary", "context", "layers", "heads", "width", "post_ln", "qk_norm", "seed")
        return GPT(**{name: getattr(self, name) for name in names})


def learn(
    settings: Settings,
    text: Corpus,
    device: torch.device,
    compiled: bool = False,
    **options: Any,
) -> tuple[GPT, Run]:
    """Train the model of `settings` on `text`: what the command does, less its files.

    Where torch.distributed has several processes, this one takes its share of each batch's rows.

    Args:
        settings: of the run; the model, batches and schedule follow from them.
        text: already on `device`.
        device: where to train; on an NVIDIA GPU in bfloat16.
        compiled: through torch.compile.
        **options: other arguments of `training.train`.

    Returns:
        The model and its run.

    Raises:
        ValueError: the batch cannot be shared evenly, or an argument of `train` is out of range.
    """
    rank, count = processes()
    if settings.batch_size % count:
        raise ValueError(
            f"batch-size must be a multiple of the {count} processes, got {settings.batch_size}"
        )
    mine = slice(rank, None, count)
    whole_batch = text.batches(settings.batch_size, settings.seed)

    def batches(t: int) -> tuple[Tensor, Tensor]:
        x, y = whole_batch(t)
        return x[mine], y[mine]

    model = settings.model().to(device)
    optimizer = AdamW(
        model.parameters(),
        lr=settings.peak,
        betas=(0.9, 0.95),
        weight_decay=0.1,
        fused=device.type != "mps",  # one kernel for all weights; Apple's is not everywhere yet
    )
    if compiled:
        model.compile()  # in place: the names of the weights stay
    run = train(
        DistributedDataParallel(model) if count > 1 else model,
        batches,
        optimizer,
        settings.plan(),
        steps=settings.steps,
        loss=next_token_loss,
        clip=1.0,
        bf16=device.type == "cuda",
        **options,
    )
    return model, run


# ------------------------------------------------------------------------------ the command line


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise ValueError(message)  # one sentence, as for all other errors


def parser() -> argparse.ArgumentParser:
    """The command line. A setting that is not given is left out of the result."""
    flags = _Parser(
        prog="python -m lrcourse.pretrain",
        description="Train one GPT with any of the course's schedules.",
    )
    for setting in fields(Settings):
        how = dict(setting.metadata)
        if not (setting.default is None or setting.default is False):
            how["help"] += f" (default: {setting.default})"
        flags.add_argument(_spelled(setting.name), default=argparse.SUPPRESS, **how)
    flags.add_argument(
        "--device", choices=("cpu", "cuda", "mps"), help="where to train (default: the best here)"
    )
    flags.add_argument("--compile", action="store_true", help="train through torch.compile")
    flags.add_argument(
        "--out", type=Path, default=Path("runs/gpt"), help="the run's folder (default: runs/gpt)"
    )
    flags.add_argument(
        "--resume",
        nargs="?",
        const="same",
        choices=("same", "changed"),
        help="go on with the run in --out from its last checkpoint, or begin it; `--resume "
        f"changed` accepts another {', '.join(map(_spelled, CHANGEABLE))}",
    )
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; gives the exit status: 0, 1 for a run that diverged, 2 for an error."""
    try:
        options = parser().parse_args(argv)
        with _processes(_device(options.device)) as device:
            return _pretrain(options, device)
    except (ValueError, OSError) as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # once a machine
            print(f"pretrain: {error}", file=sys.stderr)
        return 2


def _spelled(name: str) -> str:
    return "--" + name.replace("_", "-")


def _device(name: str | None) -> torch.device:
    device = torch.device(name or machine.device())
    here = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": torch.backends.mps.is_available()}
    local = int(os.environ.get("LOCAL_RANK", 0))
    if device.type == "cpu":
        return device
    if local >= here[device.type]:
        seen = int(here[device.type])
        raise ValueError(f"device {device.type}:{local} is not here: PyTorch sees {seen} such")
    return torch.device(device.type, local)


@contextmanager
def _processes(device: torch.device) -> Iterator[torch.device]:
    """Join the other processes where torchrun started this one, and leave them at the end."""
    if not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        yield device
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if os.environ.get("MASTER_ADDR") in ("localhost", "127.0.0.1") and sys.platform == "linux":
        for backend in ("GLOO", "NCCL"):  # all on this machine: listen to no other
            os.environ.setdefault(f"{backend}_SOCKET_IFNAME", "lo")
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        # What DistributedDataParallel leaves to the garbage collector keeps gloo's threads alive,
        # and one that outlives Python ends in "terminate called without an active exception".
        gc.collect()
        dist.destroy_process_group()


def _pretrain(options: argparse.Namespace, device: torch.device) -> int:
    rank, count = processes()
    first = rank == 0
    out: Path = options.out
    names = {setting.name for setting in fields(Settings)}
    asked = {name: value for name, value in vars(options).items() if name in names}

    found = _found(out, options.resume is not None)
    settings, changes = _settled(asked, found, options.resume == "changed")
    settings.model()  # what is wrong with its sizes is said before the text is read
    text = corpus(
        settings.corpus, context=settings.context, vocabulary=settings.vocabulary, limit=None
    )
    digest = hashlib.sha256(text.train.numpy().tobytes()).hexdigest()
    if found and digest != found.notes["corpus"]:
        raise ValueError(f"corpus must be the text that the run in {out} began with")
    if count > 1:
        dist.barrier()  # all have read what is in the folder: now it may change
    if first:
        print(_opening(out, settings, found, changes), flush=True)
        _tidy(out, found)

    start = found.t if found else 0
    began = time.perf_counter()
    text = text.to(device)
    model, run = learn(
        settings,
        text,
        device,
        compiled=options.compile,
        evaluate=text.score,
        every=min(1000, max(1, settings.steps // 20)),
        checkpoint=out / "checkpoint.pt",
        resume=found.path if found else None,
        replan=bool(changes),
        notes={"settings": asdict(settings), "corpus": digest},
        log=out / "tensorboard",
    )
    seconds = time.perf_counter() - began
    made = len(run) - start
    if first and (made or not (out / "run.npz").exists()):
        tokens = made * settings.batch_size * settings.context
        loss = float(run.evaluations["test_loss"][-1])
        about = provenance(
            settings=asdict(settings),
            corpus={"tokens": len(text.train), "sha256": digest},
            parameters=sum(p.numel() for p in model.parameters()),
            device=_name(device),
            processes=count,
            compiled=options.compile,
            updates=made,  # by this call; the others before it are not in the seconds
            seconds=round(seconds, 2),
            tokens_per_second=round(tokens / seconds),
            validation_loss=loss if math.isfinite(loss) else None,
            diverged_at=run.diverged_at,
        )
        with write_whole(out / "run.json") as part:
            part.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        run.save(out / "run.npz")
        print(f"{made} updates in {seconds:.1f} s: {tokens / seconds:,.0f} tokens a second.")
    if first:
        print(_closing(model, run, text, out))
    # torchrun stops all when one fails: that must not be before the first has written its files.
    return 1 if first and run.diverged_at is not None else 0


@dataclass(frozen=True)
class _Found:
    """A checkpoint to go on from, and what is wrong with a later one."""

    path: Path
    t: int
    notes: Mapping[str, Any]
    complaint: str = ""


def _found(out: Path, resume: bool) -> _Found | None:
    """The newest checkpoint in the run's folder that can be used; None where there is none yet."""
    last = out / "checkpoint.pt"
    files = (last, previous(last))
    if not resume and any(path.exists() for path in (*files, out / "run.npz")):
        raise ValueError(f"{out} holds a run: go on with it (--resume), or name another --out")
    if not resume:
        return None
    complaints: list[str] = []
    for path in files:
        try:
            t, notes = checkpointed(path)
            if notes.keys() != {"settings", "corpus"} or notes["settings"].keys() != {
                setting.name for setting in fields(Settings)
            }:
                raise ValueError(f"{path} is not a checkpoint of this command, or of this version")
            return _Found(path, t, notes, "; ".join(complaints))
        except FileNotFoundError:
            pass
        except ValueError as error:
            complaints.append(str(error))
    if complaints:
        raise ValueError("no checkpoint can be used: " + "; ".join(complaints))
    return None


def _settled(
    asked: Mapping[str, Any], found: _Found | None, changed: bool
) -> tuple[Settings, dict[str, tuple[Any, Any]]]:
    """The settings of the run, and name → (old, new) for what differs from the checkpoint's."""
    if found is None:
        return Settings(**asked), {}
    old = Settings(**found.notes["settings"])
    if asked.get("schedule", old.schedule) != "wsd":
        asked = {"cooldown": None, **asked}
    new = replace(old, **asked)
    changes = {
        setting.name: (getattr(old, setting.name), getattr(new, setting.name))
        for setting in fields(Settings)
        if getattr(old, setting.name) != getattr(new, setting.name)
    }
    changes.pop("corpus", None)  # a path; what counts is the text
    for name, (before, now) in changes.items():
        if name not in CHANGEABLE:
            raise ValueError(
                f"{_spelled(name)[2:]} was {before} when the run began, and cannot become {now}"
            )
        if not changed:
            raise ValueError(
                f"{_spelled(name)[2:]} was {before} when the run began, got {now}: "
                "`--resume changed` accepts another plan"
            )
    return new, changes


def _tidy(out: Path, found: _Found | None) -> None:
    """Clear away what a killed run left half-written, and what cannot be read.

    A bad checkpoint must not become the previous one: it would push out the good one there.
    """
    out.mkdir(parents=True, exist_ok=True)
    for part in out.glob("*.part"):
        part.unlink()
    if found and found.complaint:
        os.replace(out / "checkpoint.pt", out / "checkpoint.unusable.pt")


def _opening(
    out: Path, settings: Settings, found: _Found | None, changes: Mapping[str, tuple[Any, Any]]
) -> str:
    if found is None:
        return f"A run of {settings.steps} updates begins in {out}."
    lines = [f"{found.complaint}. The one before it is used."] if found.complaint else []
    what = ", ".join(f"{_spelled(name)[2:]} {a} → {b}" for name, (a, b) in changes.items())
    plan = f"under another plan: {what}" if changes else f"of {settings.steps}"
    return "\n".join([*lines, f"The run in {out} goes on at update {found.t} {plan}."])


def _closing(model: GPT, run: Run, text: Corpus, out: Path) -> str:
    if run.diverged_at is not None:
        return (
            f"The run diverged at update {run.diverged_at}: its loss was {run.loss[-1]:.3g}. "
            "Try a lower peak or a longer warmup."
        )
    loss = run.evaluations["test_loss"][-1]
    prompt = text.x_test[0, :16]
    with torch.compiler.set_stance("force_eager"):  # the sample grows: compile not each length
        drawn = text.decode(sample(model, prompt, 200).cpu())
    # A model's bytes may be anything, and a terminal would obey some of them.
    shown = "".join(c if c.isprintable() or c == "\n" else "�" for c in drawn)
    return (
        f"Validation loss after {len(run)} updates: {loss:.4f} nats a token "
        f"(perplexity {math.exp(loss):.2f}), on text it has not seen. Saved in {out}.\n"
        f"It writes:\n\n{shown}"
    )


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {os.cpu_count()} cores" if device.type == "cpu" else device.type
