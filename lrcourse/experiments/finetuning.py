"""What fine-tuning begins with: a small GPT that knows Python, English to teach it, and LoRA."""

import ast
import hashlib
import re
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import nn

from lrcourse.arguments import Count, check_argument
from lrcourse.data import Corpus, corpus_of
from lrcourse.files import ROOT
from lrcourse.models import GPT

__all__ = ["MODEL", "PRETRAINED_AT", "WEIGHTS", "add_lora", "begin", "english_corpus", "pretrained"]

WEIGHTS = ROOT / "data" / "pretrained"
"""The two checkpoints; `python -m tools.record.pretraining` makes them."""

MODEL: dict[str, Any] = {"vocabulary": 128, "context": 64, "layers": 2, "heads": 4, "width": 64}
PRETRAINED_AT = 0.008
"""The peak rate that it was pretrained with."""


def pretrained(checkpoint: str = "decayed") -> GPT:
    """A GPT of 111 thousand parameters that has learned to write sympy's source.

    Args:
        checkpoint: "decayed", after a cooldown, or "plateau", from the same trunk after as many
            updates at its peak rate.

    Raises:
        ValueError: there is no checkpoint of that name.

    >>> sum(p.numel() for p in pretrained().parameters())
    111232
    """
    check_argument("checkpoint", checkpoint, Literal["decayed", "plateau"])
    model = GPT(**MODEL)
    model.load_state_dict(load_file(WEIGHTS / f"{checkpoint}.safetensors"))
    return model


def add_lora(model: nn.Module, rank: int, seed: int = 0) -> nn.Module:
    """The model with its weights frozen, and beside each matrix a product of two narrow ones.

    Hu et al., LoRA: Low-Rank Adaptation of Large Language Models (2021), by peft, with α = 2 rank,
    so that the product counts twice.

    Args:
        model: a `GPT`; its linear layers get the pairs, in place.
        rank: columns of the first of each pair.
        seed: of the random one of each pair; the other begins at zero.

    >>> sum(p.numel() for p in add_lora(pretrained(), rank=4).parameters() if p.requires_grad)
    8192
    """
    from peft import LoraConfig, get_peft_model

    check_argument("rank", rank, Count)
    layers = ["qkv", "out", "up", "down"]
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.manual_seed(seed)
        return get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=layers))


@cache
def english_corpus() -> Corpus:
    """English about graphs: whole sentences from the documentation of networkx, without its code.

    networkx is pure Python, torch needs it, and `constraints.txt` pins it: everybody has this text.
    A digest of its name says where a file belongs: to train on, for validation or to test with.
    There are 100 000 characters to train on, and 1024 windows of 64 to test with.
    """
    import networkx

    root = Path(networkx.__file__).parent
    names = [path.relative_to(root).as_posix() for path in root.rglob("*.py")]
    parts, seen = ["", "", ""], set[str]()
    for digest, name in sorted((hashlib.sha256(n.encode()).digest(), n) for n in names):
        if "tests/" not in name:
            place = 2 if digest[31] < 51 else 1 if digest[31] < 77 else 0  # a fifth, a tenth
            found = dict.fromkeys(_sentences((root / name).read_text(encoding="utf-8")))
            parts[place] += "".join(text for text in found if text not in seen)
            seen |= found.keys()
    train, validation, test = (part.encode("ascii", "ignore") for part in parts)
    return corpus_of(train[:100_000], validation, test, MODEL["context"], MODEL["vocabulary"], 1024)


def begin(checkpoint: str | None = "decayed", lora: int = 0, seed: int = 0) -> nn.Module:
    """What a run of fine-tuning begins with.

    Args:
        checkpoint: as for `pretrained`; None for weights that have learned nothing.
        lora: rank of what alone is trained; 0 trains all weights.
        seed: of what is random in it.
    """
    model = GPT(**MODEL, seed=seed) if checkpoint is None else pretrained(checkpoint)
    return add_lora(model, lora, seed) if lora else model


def _sentences(source: str) -> Iterator[str]:
    """The paragraphs of the docstrings in a file that are English, a line each."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            for paragraph in re.split(r"\n\s*\n", ast.get_docstring(node) or ""):
                text = " ".join(paragraph.split())
                letters = sum(c.isalpha() or c == " " for c in text)
                if re.fullmatch(r"[A-Z].{60,}\.", text) and letters > 0.93 * len(text):
                    yield text + "\n"
