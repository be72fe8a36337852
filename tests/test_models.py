"""The GPT is the Transformer it says it is, and the corpus is cut and coded as it says."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import AdamW

from lrcourse.data import corpus, sympy_text
from lrcourse.models import GPT, NextCharacter, WideNetwork, next_token_loss, sample
from lrcourse.schedules import Cosine, Warmup
from lrcourse.sweeps import final, sweep
from lrcourse.training import train
from tools.notebooks import NOTEBOOKS, read_source

KINDS = [{}, {"post_ln": True}, {"qk_norm": True}, {"post_ln": True, "qk_norm": True}]
SIZES = {"vocabulary": 50, "context": 12, "layers": 3, "heads": 4, "width": 32}


def tokens(*shape):
    return torch.randint(50, shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_later_token_changes_no_earlier_score(kind):
    model, x = GPT(**SIZES, **kind, seed=0).double(), tokens(5, 12)
    scores = model(x)
    assert scores.shape == (5, 12, 50)
    for place in (1, 6, 11):
        other = x.clone()
        other[:, place] = (x[:, place] + 1) % 50
        changed = (model(other) - scores).abs().amax(dim=(0, 2))
        assert (changed[:place] == 0).all() and (changed[place:] > 0).all()
    torch.testing.assert_close(model(x[:, :7]), scores[:, :7])  # a shorter text, the same scores


@pytest.mark.parametrize("post_ln", [False, True])
def test_equals_the_transformer_of_torch_with_the_same_weights(post_ln):
    """torch's own encoder layers under a causal mask, from embeddings to scores and gradients."""
    model, x = GPT(**SIZES, post_ln=post_ln, seed=0).double(), tokens(5, 12)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.add_(0.3 * torch.randn(weight.shape, dtype=weight.dtype))
    layers = []
    for block in model.blocks:
        layer = nn.TransformerEncoderLayer(
            32, 4, 128, dropout=0.0, activation=F.gelu, batch_first=True, norm_first=not post_ln
        ).double()
        with torch.no_grad():
            for weight in layer.parameters():
                weight.zero_()  # the biases, that is: all other weights are set here
            layer.self_attn.in_proj_weight.copy_(block.qkv.weight)
            layer.self_attn.out_proj.weight.copy_(block.out.weight)
            layer.linear1.weight.copy_(block.up.weight)
            layer.linear2.weight.copy_(block.down.weight)
            layer.norm1.load_state_dict(block.norms[0].state_dict())
            layer.norm2.load_state_dict(block.norms[1].state_dict())
        layers.append(layer)
    mask = nn.Transformer.generate_square_subsequent_mask(12, dtype=torch.float64)
    h = (model.token(x) + model.position.weight) * 32**0.5
    for layer in layers:
        h = layer(h, src_mask=mask, is_causal=True)
    if not post_ln:
        h = F.layer_norm(h, (32,), model.norm.weight, model.norm.bias)
    torch.testing.assert_close(model(x), h @ model.token.weight.T, rtol=1e-9, atol=1e-9)

    next_token_loss(model(x), tokens(5, 12)).backward()
    ours = model.blocks[0].qkv.weight.grad
    next_token_loss(h @ model.token.weight.T, tokens(5, 12)).backward()
    torch.testing.assert_close(ours, layers[0].self_attn.in_proj_weight.grad, rtol=1e-8, atol=1e-9)


def test_one_table_serves_both_ends():
    model = GPT(**SIZES, seed=0)
    count = sum(p.numel() for p in model.parameters())
    assert count == (50 + 12) * 32 + 3 * (12 * 32**2 + 4 * 32) + 2 * 32
    before = model(torch.tensor([[1, 2]]))
    with torch.no_grad():
        model.token.weight[7] *= 2  # a token that does not come in still comes out
    after = model(torch.tensor([[1, 2]]))
    torch.testing.assert_close(after[..., 7], 2 * before[..., 7])
    assert torch.equal(after[..., :7], before[..., :7])


def test_normalised_queries_have_no_size():
    x = tokens(2, 12)
    for on in (True, False):
        model = GPT(**SIZES, qk_norm=on, seed=0).double()
        before = model(x)
        with torch.no_grad():
            model.blocks[0].qkv.weight[:32] *= 10  # the queries' part
        assert torch.allclose(model(x), before, atol=1e-3) == on


def test_sizes_are_checked_and_the_seed_is_kept_apart():
    for bad, match in (
        ({"heads": 3}, "width is 32, expected a multiple of heads, which is 3"),
        ({"layers": 0}, "layers is 0, expected a whole number >= 1"),
        ({"vocabulary": 0}, "vocabulary is 0, expected a whole number >= 1"),
    ):
        with pytest.raises(ValueError, match=match):
            GPT(**(SIZES | bad))
    with pytest.raises(ValueError, match="the length of tokens is 13, expected at most 12"):
        GPT(**SIZES)(tokens(1, 13))
    state = torch.get_rng_state()
    a, b, c = (GPT(**SIZES, seed=seed).token.weight for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", [{}, {"qk_norm": True}, {"post_ln": True}], ids=str)
def test_a_sweep_clips_each_run_as_it_would_be_clipped_alone(kind):
    text = corpus(limit=50_000, context=8)
    sizes = {"context": 8, "layers": 1, "width": 16, **kind}
    peaks, seeds, steps = [1e-3, 1e-2], [0, 1], 12
    schedule = Warmup(3) >> Cosine(steps - 3)

    def model(seed):
        return GPT(**sizes, seed=seed).double()

    rule = {"betas": (0.9, 0.95), "weight_decay": 0.1}
    frame = sweep(
        model,
        lambda seed: text.batches(4, seed),
        peaks=peaks, seeds=seeds, steps=steps, schedules={"cosine": schedule}, optimizer=AdamW,
        loss=next_token_loss, evaluate=text.score, every=1, clip=0.5, progress=False, **rule,
    )  # fmt: skip
    for (peak, seed), rows in frame.groupby(["peak", "seed"]):
        alone = model(seed)
        run = train(
            alone, text.batches(4, seed), AdamW(alone.parameters(), lr=peak, **rule), schedule,
            steps=steps, loss=next_token_loss, evaluate=text.score, clip=0.5, progress=False,
        )  # fmt: skip
        assert (run.gradient_norm > 0.5).any()  # clipping does something here
        np.testing.assert_allclose(rows["loss"], run.loss, rtol=1e-9)
        end = final(frame).set_index(["peak", "seed"]).loc[(peak, seed), "test_loss"]
        assert end == pytest.approx(run.evaluations["test_loss"][-1], rel=1e-9)


def test_a_sample_is_drawn_the_same_each_time():
    model, prompt = GPT(**SIZES, seed=0), tokens(5)
    state = torch.get_rng_state()
    first = sample(model, prompt, 30, seed=4)
    assert torch.equal(sample(model, prompt, 30, seed=4), first)
    assert not torch.equal(sample(model, prompt, 30, seed=5), first)
    assert torch.equal(first[:5], prompt) and first.shape == (35,) and first.max() < 50
    assert torch.equal(torch.get_rng_state(), state)
    cold = sample(model, prompt, 7, temperature=1e-6)
    for i in range(5, 12):  # the likeliest token, each time
        assert cold[i] == model(cold[:i])[-1].argmax()
    for bad, match in (
        ({"prompt": torch.zeros(0, dtype=torch.long)}, "prompt"),
        ({"count": -1}, "count"),
        ({"temperature": 0.0}, "temperature"),
    ):
        with pytest.raises(ValueError, match=match):
            sample(**({"model": model, "prompt": prompt, "count": 3} | bad))


def test_a_language_model_learns_what_follows():
    text = sympy_text(limit=100_000, tests=200)
    model = NextCharacter(seed=0)
    before = text.score(model)["test_loss"].item()
    assert before == pytest.approx(np.log(text.vocabulary), abs=0.2)  # it knows nothing yet
    optimizer = AdamW(model.parameters(), lr=3e-3)
    train(model, text.batches(32), optimizer, steps=200, progress=False)
    assert text.score(model)["test_loss"].item() < 3.3
    for options, match in (
        ({"context": 0}, "context"),
        ({"tests": 10**7}, "tests is 10000000, expected a whole"),
    ):
        with pytest.raises(ValueError, match=match):
            sympy_text(limit=100_000, **options)


def test_the_wide_network_is_the_one_that_chapter_17_writes_down():
    cells = read_source(NOTEBOOKS / "source" / "17_scaling.md").cells
    told = {"torch": torch, "nn": nn, "F": F, "seed": 3}
    for cell in cells:
        if cell.source.startswith(("class Multiplied", "def network")):
            exec(cell.source, told)
    for base in (None, 32):
        mine, its = told["network"](64, base), WideNetwork(64, base, seed=3)
        x, y = tokens(16, 8), tokens(16)
        for net in (mine, its):
            optimizer = AdamW(net.parameters(), lr=0.01)
            for _ in range(3):
                optimizer.zero_grad()
                F.cross_entropy(net(x), y).backward()
                optimizer.step()
        assert torch.equal(mine(x), its(x))
