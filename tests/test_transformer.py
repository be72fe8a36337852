"""Chapter 13's live run: its size is a plain function of the device, and any device ends well.

No machine that runs these tests needs a GPU. A device that stands in is a CPU that the chapter is
told is another one, with another model and bfloat16; and the large models are run on PyTorch's
`meta` device, which knows shapes and computes nothing.
"""

import pandas as pd
import pytest
import torch
from torch.optim import AdamW

from lrcourse.chapters import transformer
from lrcourse.chapters.transformer import LiveSize, live_size, matmul_speed
from lrcourse.data import sympy_corpus
from lrcourse.experiments import repeating
from lrcourse.experiments.recordings import read_recording
from lrcourse.files import ROOT
from lrcourse.models import GPT, next_token_loss
from tools import notebooks

STAND_IN = LiveSize(context=24, layers=3, heads=4, width=48, batch=4, updates=12, bf16=True)
SIZES = {name: transformer._SIZES[name] for name in ("cpu", "small", "middle", "large")}


def test_the_size_follows_the_device_and_its_memory():
    def of(kind, *gibibytes):
        return [live_size(kind, g).parameters for g in gibibytes]

    cpu, small, middle, large = (size.parameters for size in SIZES.values())
    assert cpu < small < middle < large
    assert of("cpu", 0, 500) == [cpu, cpu]
    assert of("cuda", 1, 3, 8, 31, 32, 139) == [cpu, small, middle, middle, large, large]
    assert of("mps", 1, 3, 100) == [cpu, small, small], "its memory is everybody's"
    assert of("xpu", 100) == [cpu], "a device that nobody has thought of"


def gibibytes(size):
    """A rough upper bound of the memory that training takes.

    Weights, gradients and AdamW's means take 16 bytes a parameter; what each layer keeps for the
    way back, some 30 numbers an entry of a token's vector in float32, and the scores.
    """
    kept = size.batch * size.context * (size.layers * size.width * 30 + 3 * 128) * 4
    return (16 * size.parameters + kept) / 2**30


def test_a_size_fits_the_memory_that_it_asks_for():
    for name, need in transformer._NEEDS.items():
        assert gibibytes(SIZES[name]) < need / 2
    tokens = len(sympy_corpus().train)
    for size in SIZES.values():
        made = GPT(**size.model, seed=0)
        assert sum(w.numel() for w in made.parameters()) == size.parameters
        assert size.updates % 12 == 0, "the chapter tests after each twelfth of the run"
        assert size.updates * size.batch * size.context < tokens, "no text is read twice"


def test_the_choice_is_made_from_what_torch_sees(monkeypatch):
    where, name, size = transformer.choose()
    assert where.type in ("cpu", "cuda", "mps") and name
    monkeypatch.setattr(transformer, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(transformer, "device_name", lambda where: "a GPU that stands in")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda where: (40 * 2**30, 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    where, name, size = transformer.choose()
    assert (where.type, name, size.width, size.bf16) == ("cuda", "a GPU that stands in", 512, True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    assert not transformer.choose()[2].bf16


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_an_update_of_each_size_fits_together(size):
    with torch.device("meta"):
        model = GPT(**size.model)
        x = torch.zeros(size.batch, size.context, dtype=torch.long)
    loss = next_token_loss(model(x), x)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    AdamW(model.parameters(), lr=0.5 / size.width).step()
    assert loss.shape == () and loss.device.type == "meta"


def test_a_speed_is_measured():
    assert 1e8 < matmul_speed(torch.device("cpu")) < 1e14


def test_who_counts_knows_less_than_who_counts_pairs():
    single, double = transformer.by_counting(sympy_corpus())
    assert 2 < double < single < 4


def test_a_pair_that_was_not_declared_is_judged_like_those_that_were():
    race = read_recording("schedules", "cpu")
    asked, declared = transformer.also(race, "cosine", "wsd"), race.finding("cosine instead of wsd")
    assert str(asked) == str(declared)
    with pytest.raises(KeyError):
        transformer.also(race, "cosine", "a schedule that nobody recorded")


@pytest.mark.slow
def test_the_chapter_ends_well_on_a_device_that_stands_in(monkeypatch):
    """All cells of its four ideas; the race, which stays on the CPU anyway, is stood in for."""

    def as_recorded(race, schedules, *, seeds, part="one"):
        return pd.DataFrame(race.ends(part)[list(schedules)].head(len(seeds)))

    stand_in = (torch.device("cpu"), "a device that stands in", STAND_IN)
    monkeypatch.setattr(transformer, "choose", lambda: stand_in)
    monkeypatch.setattr(repeating, "repeat", as_recorded)
    chapter = notebooks.read_source(ROOT / "notebooks" / "source" / "13_transformer.md")
    found = {}
    for cell in chapter.cells:
        if cell.source.startswith("## In your own loop"):
            break
        if cell.cell_type == "code":
            exec(compile(cell.source, "13_transformer", "exec"), found)
    assert found["device"] == stand_in[0] and found["size"] is STAND_IN
    assert len(found["tested"]) == 13 and found["tested"][-1] < found["tested"][0]
    assert sum(w.numel() for w in found["trained"].parameters()) == STAND_IN.parameters
    assert abs(found["gap_here"]) < 100
