"""Chapter 13's live GPT: how large it is on which device, and what that device can multiply.

No GPU is needed to read or to test the choice: it is a function of the kind of device and of its
free memory. No table of GPUs stands here either; how fast a device is, is measured on it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lrcourse.data import Corpus
from lrcourse.evidence import Finding, above
from lrcourse.experiments.recordings import Recording
from lrcourse.machine import device, device_name
from lrcourse.models import GPT, sample

__all__ = ["LiveSize", "also", "by_counting", "choose", "continued", "free_memory", "live_size"]
__all__ += ["matmul_speed"]


@dataclass(frozen=True)
class LiveSize:
    """How large the live run is.

    Attributes:
        context, layers, heads, width: of the GPT.
        batch: windows in a minibatch.
        updates: of each run.
        bf16: whether the forward pass computes in bfloat16 where autocast can.
    """

    context: int
    layers: int
    heads: int
    width: int
    batch: int
    updates: int
    bf16: bool = False

    @property
    def model(self) -> Mapping[str, Any]:
        """The arguments of `GPT`."""
        return {name: getattr(self, name) for name in ("context", "layers", "heads", "width")}

    @property
    def parameters(self) -> int:
        """Learned numbers of the model: two tables, blocks, and the last norm."""
        block = 12 * self.width**2 + 4 * self.width
        return (128 + self.context + 2) * self.width + self.layers * block


_SIZES = {
    "cpu": LiveSize(context=32, layers=2, heads=2, width=32, batch=16, updates=360),
    "small": LiveSize(context=128, layers=6, heads=6, width=192, batch=32, updates=1200),
    "middle": LiveSize(context=128, layers=6, heads=6, width=384, batch=64, updates=1200),
    "large": LiveSize(context=256, layers=8, heads=8, width=512, batch=64, updates=1200),
}
_NEEDS = {"large": 32.0, "middle": 8.0, "small": 3.0}  # GiB free, with room: less is slow as well


def live_size(kind: str, gibibytes: float) -> LiveSize:
    """How large the live run is on a device of this kind with so much memory free.

    The memory that is needed is a few times what training takes, because a card with little memory
    is mostly a slow one, and nobody should wait for minutes. An Apple GPU shares its memory with
    everything else, so it never gets more than the smallest of the larger models.

    >>> live_size("cpu", 64).width, live_size("cuda", 10).width, live_size("cuda", 130).width
    (32, 384, 512)
    """
    if kind in ("cuda", "mps"):
        for name, need in _NEEDS.items():
            if gibibytes >= need and (kind == "cuda" or name == "small"):
                return _SIZES[name]
    return _SIZES["cpu"]


def free_memory(where: torch.device) -> float:
    """GiB that a GPU has left; 0 for a CPU, whose memory decides nothing here."""
    if where.type == "cuda":
        return torch.cuda.mem_get_info(where)[0] / 2**30
    if where.type == "mps":
        used = torch.mps.driver_allocated_memory()
        return (torch.mps.recommended_max_memory() - used) / 2**30
    return 0.0


def choose() -> tuple[torch.device, str, LiveSize]:
    """The best device here, its name, and the live run that fits it."""
    where = device()
    size = live_size(where.type, free_memory(where))
    bf16 = where.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return where, device_name(where), replace(size, bf16=bf16)


def matmul_speed(where: torch.device, bf16: bool = False) -> float:
    """FLOPs per second of one large product of matrices on this device, the best of five tries.

    What a training does per second, as a share of this, says how well it uses the device. It is
    a little less than what a data sheet promises.
    """
    n, products = {"cuda": (4096, 10), "mps": (2048, 10)}.get(where.type, (1024, 1))
    # Random numbers: a GPU that multiplies ones takes less power, and so runs faster.
    a = torch.randn(n, n, device=where, dtype=torch.bfloat16 if bf16 else torch.float32)
    seconds = []
    for _ in range(6):  # the first try loads what the others use
        began = time.perf_counter()
        for _ in range(products):
            product = a @ a
        product[0, 0].item()  # waits until the device has finished
        seconds.append(time.perf_counter() - began)
    return products * 2 * n**3 / min(seconds[1:])


def by_counting(text: Corpus) -> tuple[float, float]:
    """Test losses in nats of two who never learn: one knows how frequent each token is, the other
    how often each follows each; both counted in the training text, pairs from one on.
    """
    stream, size = text.train.long().cpu(), text.vocabulary
    seen, following = text.x_test.cpu(), text.y_test.cpu()
    once = torch.bincount(stream, minlength=size).clamp(min=1).double()
    pairs = torch.bincount(stream[:-1] * size + stream[1:], minlength=size**2)
    table = (pairs.view(size, size) + 1).double()
    single = -(once / once.sum()).log()[following].mean()
    double = -(table / table.sum(1, keepdim=True)).log()[seen, following].mean()
    return single.item(), double.item()


def also(recording: Recording, a: str, b: str) -> Finding:
    """Two schedules of a recording that its declaration does not compare: asked when it was seen.

    Raises:
        KeyError: one of them was not recorded.
    """
    ends = recording.ends()
    return Finding(f"{a} instead of {b}", above(ends[a], ends[b]), recording.about["margin"])


def continued(model: GPT, text: Corpus, seed: int = 0, count: int = 160) -> str:
    """What a GPT writes after "def ", a character at a time, likely ones a bit preferred."""
    prompt: Tensor = text.encode("def ").to(text.train.device)
    written = text.decode(sample(model, prompt, count, temperature=0.8, seed=seed))
    return "".join(c if c.isprintable() or c == "\n" else "·" for c in written)
