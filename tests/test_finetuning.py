"""Fine-tuning begins where it says: two checkpoints, one English, and LoRA as peft makes it."""

import hashlib
import json

import pytest
import torch
from safetensors import safe_open

from lrcourse.data import sympy_corpus
from lrcourse.experiments import finetuning
from lrcourse.experiments.finetuning import MODEL, WEIGHTS, add_lora, begin, pretrained
from lrcourse.models import GPT, next_token_loss
from tools.record.pretraining import CHECKPOINTS


def told(name: str) -> dict[str, object]:
    """Where a checkpoint comes from, as its file says."""
    with safe_open(WEIGHTS / f"{name}.safetensors", "pt") as file:
        return dict(json.loads(file.metadata()["about"]))


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_is_what_its_file_says(name: str):
    about, model = told(name), pretrained(name)
    assert about["plan"] == repr(CHECKPOINTS[name]) and about["peak"] == finetuning.PRETRAINED_AT
    assert not about["changed"]
    assert CHECKPOINTS[name].length == 5000
    sizes = {key: value.shape for key, value in GPT(**MODEL).state_dict().items()}
    assert {key: value.shape for key, value in model.state_dict().items()} == sizes
    with torch.no_grad():
        loss = sympy_corpus(MODEL["context"]).score(model)["test_loss"].item()
    assert loss == pytest.approx(about["test_loss"], abs=2e-4)  # digits that no processor changes


def test_the_cooled_checkpoint_knows_more():
    losses = {name: told(name)["test_loss"] for name in CHECKPOINTS}
    assert losses["decayed"] < losses["plateau"] - 0.1


def test_the_english_is_the_same_everywhere():
    text = finetuning.english_corpus()
    parts = (text.train, text.x_validation, text.x_test)
    digest = hashlib.sha256(b"".join(bytes(part.flatten().tolist()) for part in parts))
    assert digest.hexdigest()[:16] == "87ffcbbcac0678e7", (
        "another version of networkx than the pinned one"
    )
    assert (len(text.train), *text.x_test.shape) == (100_000, 1024, 64)
    learned, tested = text.decode(text.train), [text.decode(window) for window in text.x_test]
    assert sum(window in learned for window in tested) < 0.01 * len(tested)
    assert "".join(tested).count(" the ") > 500


@pytest.mark.parametrize("rank", [1, 4])
def test_lora_begins_as_the_base_does_and_trains_only_its_pairs(rank: int):
    base, adapted = pretrained(), begin("decayed", lora=rank)
    x, y = finetuning.english_corpus().batches(4)(0)
    with torch.no_grad():
        torch.testing.assert_close(adapted(x), base(x), rtol=0, atol=0)
    free = {name: w for name, w in adapted.named_parameters() if w.requires_grad}
    assert all(".lora_A." in name or ".lora_B." in name for name in free)
    width = MODEL["width"]
    inputs_and_outputs = (width + 3 * width) + 2 * width + 2 * (width + 4 * width)
    assert sum(w.numel() for w in free.values()) == MODEL["layers"] * rank * inputs_and_outputs
    next_token_loss(adapted(x), y).backward()
    optimizer = torch.optim.AdamW(free.values(), lr=0.01)
    optimizer.step()
    known = base.state_dict()
    for name, weight in adapted.named_parameters():
        plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
        assert name in free or torch.equal(weight, known[plain]), name
    with torch.no_grad():
        assert not torch.equal(adapted(x), base(x))
    other = add_lora(pretrained(), rank, seed=1).state_dict()
    assert any(not torch.equal(other[k], w) for k, w in begin(lora=rank).state_dict().items())


def test_what_is_unknown_is_refused_in_words():
    with pytest.raises(ValueError, match="checkpoint is 'best', expected 'decayed' or 'plateau'"):
        pretrained("best")
    with pytest.raises(ValueError, match="rank is 0"):
        add_lora(pretrained(), 0)
