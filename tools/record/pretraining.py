"""The two checkpoints that fine-tuning begins with, made anew in six minutes:

    python -m tools.record.pretraining

trains a GPT to the end of a constant rate, and to that of a cooldown, in as many updates.
"""

import json

import torch
from safetensors.torch import save_file
from torch.optim import AdamW

from lrcourse.data import sympy_corpus
from lrcourse.experiments.finetuning import MODEL, PRETRAINED_AT, WEIGHTS
from lrcourse.experiments.recordings import provenance
from lrcourse.files import write_whole
from lrcourse.machine import device_name
from lrcourse.models import GPT, next_token_loss
from lrcourse.schedules import Constant, Schedule, Warmup, wsd
from lrcourse.training import train

__all__ = ["CHECKPOINTS", "pretrain"]

STEPS, RISE, COOLDOWN, BATCH = 5000, 100, 1000, 32
CHECKPOINTS: dict[str, Schedule] = {
    "plateau": Warmup(RISE) >> Constant(1, STEPS - RISE),
    "decayed": wsd(STEPS, RISE, COOLDOWN),
}
"""The plan of each checkpoint: the same trunk, one of them cooled down."""


def pretrain(name: str) -> None:
    """Train one of `CHECKPOINTS`, and write its weights with where they come from."""
    text = sympy_corpus(MODEL["context"])
    model = GPT(**MODEL, seed=0)
    optimizer = AdamW(
        model.parameters(), lr=PRETRAINED_AT, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    run = train(
        model, text.batches(BATCH), optimizer, CHECKPOINTS[name], steps=STEPS,
        loss=next_token_loss, clip=1.0, norms=False, evaluate=text.score, every=1000,
    )  # fmt: skip
    about = provenance(
        command="python -m tools.record.pretraining",
        plan=repr(CHECKPOINTS[name]),
        peak=PRETRAINED_AT,
        batch=BATCH,
        device=device_name(torch.device("cpu")),
        test_loss=round(float(run.evaluations["test_loss"][-1]), 4),
    )
    WEIGHTS.mkdir(exist_ok=True)
    with write_whole(WEIGHTS / f"{name}.safetensors") as part:
        save_file(model.state_dict(), part, {"about": json.dumps(about)})
    print(name, about["test_loss"])


if __name__ == "__main__":
    for checkpoint in CHECKPOINTS:
        pretrain(checkpoint)
