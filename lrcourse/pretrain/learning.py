"""The training of one GPT, less its files: on one device, or on its share of many."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW

from lrcourse import machine
from lrcourse.arguments import refuse
from lrcourse.data import Corpus
from lrcourse.models import GPT, next_token_loss
from lrcourse.pretrain.settings import Settings
from lrcourse.runs import Run
from lrcourse.training import processes, train

__all__ = ["choose_device", "join_processes", "learn"]


def choose_device(kind: str | None) -> torch.device:
    """This process's device of a kind ("cpu", "cuda" or "mps"), or the best that is here.

    Raises:
        ValueError: PyTorch sees no such device.
    """
    kind = kind or machine.device().type
    if kind == "cpu":
        return torch.device("cpu")
    local = int(os.environ.get("LOCAL_RANK", 0))
    seen = torch.cuda.device_count() if kind == "cuda" else int(torch.backends.mps.is_available())
    if local >= seen:
        refuse("device", f"{kind}:{local}", f"one that is here: PyTorch sees {seen} such")
    return torch.device(kind, local)


@contextmanager
def join_processes(device: torch.device) -> Iterator[torch.device]:
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


def learn(
    settings: Settings, text: Corpus, device: torch.device, compiled: bool = False, **options: Any
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
        refuse("batch-size", settings.batch_size, f"a multiple of the {count} processes")
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
