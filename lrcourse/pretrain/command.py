"""The command line: train one GPT with any of the course's schedules, `--help` says how.

A thin layer over `training.train`, which does the work: a command line becomes a model, text and a
plan, and the run is kept in a folder that `--resume` goes on from (`pretrain.folder`).
"""

import argparse
import hashlib
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from lrcourse.arguments import refuse
from lrcourse.data import Corpus, corpus
from lrcourse.experiments.recordings import provenance, write_provenance
from lrcourse.machine import device_name
from lrcourse.models import GPT, sample
from lrcourse.pretrain.folder import Found, find_checkpoint, tidy_folder
from lrcourse.pretrain.learning import choose_device, join_processes, learn
from lrcourse.pretrain.settings import CHANGEABLE, Settings, merge_settings, spelled
from lrcourse.runs import Run
from lrcourse.training import processes

__all__ = ["main", "parser"]


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
        flag = "--" + spelled(setting.name)
        flags.add_argument(flag, default=argparse.SUPPRESS, **setting.metadata)
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
        f"changed` accepts another --{', --'.join(CHANGEABLE)}",
    )
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; gives the exit status: 0, 1 for a run that diverged, 2 for an error."""
    try:
        options = parser().parse_args(argv)
        with join_processes(choose_device(options.device)) as device:
            return _pretrain(options, device)
    except (ValueError, OSError) as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # once a machine
            print(f"pretrain: {error}", file=sys.stderr)
        return 2


def _pretrain(options: argparse.Namespace, device: torch.device) -> int:
    rank, count = processes()
    out: Path = options.out
    given = vars(options)
    asked = {s.name: given[s.name] for s in fields(Settings) if s.name in given}
    found = find_checkpoint(out, options.resume is not None)
    if found:
        old = Settings(**found.notes["settings"])
        settings, changes = merge_settings(old, asked, options.resume == "changed")
    else:
        settings, changes = Settings(**asked), {}
    settings.model()  # what is wrong with its sizes is said before the text is read
    text = corpus(
        settings.corpus, context=settings.context, vocabulary=settings.vocabulary, limit=None
    )
    digest = hashlib.sha256(text.train.numpy().tobytes()).hexdigest()
    if found and digest != found.notes["corpus"]:
        refuse("corpus", settings.corpus, f"the text that the run in {out} began with")
    if count > 1:
        dist.barrier()  # all have read what is in the folder: now it may change
    if rank == 0:
        print(_opening(out, settings, found, changes), flush=True)
        tidy_folder(out, found)

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
    if rank == 0 and (made or not (out / "run.npz").exists()):
        tokens = made * settings.batch_size * settings.context
        loss = float(run.evaluations["test_loss"][-1])
        about = provenance(
            settings=asdict(settings),
            corpus={"tokens": len(text.train), "sha256": digest},
            parameters=sum(p.numel() for p in model.parameters()),
            device=device_name(device),
            processes=count,
            compiled=options.compile,
            updates=made,  # by this call; the others before it are not in the seconds
            seconds=round(seconds, 2),
            tokens_per_second=round(tokens / seconds),
            validation_loss=loss if math.isfinite(loss) else None,
            diverged_at=run.diverged_at,
        )
        write_provenance(out / "run.json", about)
        run.save(out / "run.npz")
        print(f"{made} updates in {seconds:.1f} s: {tokens / seconds:,.0f} tokens a second.")
    if rank == 0:
        print(_closing(model, run, text, out))
    # torchrun stops all when one fails: that must not be before the first has written its files.
    return 1 if rank == 0 and run.diverged_at is not None else 0


def _opening(
    out: Path, settings: Settings, found: Found | None, changes: Mapping[str, tuple[Any, Any]]
) -> str:
    if found is None:
        return f"A run of {settings.steps} updates begins in {out}."
    complaint = f"{found.complaint}. The one before it is used.\n" if found.complaint else ""
    what = ", ".join(f"{spelled(name)} {a} → {b}" for name, (a, b) in changes.items())
    plan = f"under another plan: {what}" if changes else f"of {settings.steps}"
    return f"{complaint}The run in {out} goes on at update {found.t} {plan}."


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
