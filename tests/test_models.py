"""The GPT is the Transformer it says it is, and the corpus is cut and coded as it says."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import AdamW

from lrcourse.data import corpus, python_text
from lrcourse.models import GPT, NextCharacter, next_token_loss, sample
from lrcourse.schedules import Cosine, Warmup
from lrcourse.sweeps import final, sweep
from lrcourse.training import train

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


def test_batches_are_a_pure_function_of_seed_and_update():
    text = corpus(limit=50_000, context=16)
    batches = text.batches(4, seed=2)
    later, earlier = batches(9), batches(3)
    for t, batch in ((3, earlier), (9, later)):
        for again in (batches(t), text.batches(4, seed=2)(t)):
            assert all(torch.equal(a, b) for a, b in zip(again, batch, strict=True))
    x, y = later
    assert torch.equal(x[:, 1:], y[:, :-1]) and not torch.equal(x, earlier[0])
    assert not torch.equal(x, text.batches(4, seed=3)(9)[0])
    stream = text.train.tolist()
    window = [*x[0].tolist(), y[0, -1].item()]
    assert any(stream[i : i + 17] == window for i in range(len(stream) - 16))
    with pytest.raises(ValueError, match="size is 0, expected a whole number >= 1"):
        text.batches(0)


def test_what_is_tested_is_never_trained_on(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("a" * 9_500 + "b" * 500)
    text = corpus(path, context=16, tests=32)
    assert set(text.train.tolist()) == {ord("a")}
    assert set(text.x_test.flatten().tolist()) == {ord("b")} == set(text.y_test.flatten().tolist())
    assert len(text.train) == 9_500 and text.x_test.shape == (32, 16)


@pytest.fixture(scope="module")
def pairs():
    return corpus(limit=200_000, context=16, vocabulary=400)


@settings(max_examples=200)
@given(st.text())
def test_byte_pairs_give_back_every_text(pairs, text):
    coded = pairs.encode(text)
    assert pairs.decode(coded) == text
    assert not len(coded) or (coded.min() >= 0 and coded.max() < 400)


def test_byte_pairs_are_shorter_and_all_used(pairs):
    line = "    def __init__(self, name):\n        return self.name\n"
    assert len(pairs.encode(line)) < len(line) / 1.5
    assert pairs.train.max() < pairs.vocabulary == 400
    byte = corpus(limit=200_000, context=16, vocabulary=256)
    assert byte.merges is None and byte.decode(byte.encode("é × 日")) == "é × 日"
    again = corpus.__wrapped__(limit=200_000, context=16, vocabulary=400)
    assert torch.equal(again.train, pairs.train)


def test_text_is_read_from_a_file_or_a_folder(tmp_path):
    (tmp_path / "inner").mkdir()
    for name, letter in (("b.txt", "b"), ("inner/c.md", "c"), ("a.py", "a"), ("z.bin", "z")):
        (tmp_path / name).write_text(letter * 400)
    folder = corpus(tmp_path, context=4, tests=8)
    assert folder.decode(folder.train) == ("a" * 400 + "b" * 400 + "c" * 400)[: 1200 * 19 // 20]
    file = corpus(tmp_path / "z.bin", context=4, tests=8)  # a file that is named is text
    assert set(file.decode(file.train)) == {"z"}
    short = corpus(tmp_path, context=4, tests=8, limit=600)
    assert len(short.train) == 570 and set(short.decode(short.train)) == {"a", "b"}


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ({"context": 0}, "context is 0, expected a whole number >= 1"),
        ({"tests": 0}, "tests is 0, expected a whole number >= 1"),
        ({"vocabulary": 1}, "vocabulary is 1, expected a whole number from 2 to 2048"),
        ({"vocabulary": 2049}, "vocabulary is 2049, expected a whole number from 2 to 2048"),
        ({"limit": 0}, "limit is 0, expected a whole number >= 1"),
        ({"limit": 1000}, "the text has 950 tokens .* and 50 .* more than context"),
    ],
)
def test_a_corpus_names_what_it_cannot_do(bad, match):
    with pytest.raises(ValueError, match=match):
        corpus(**({"limit": 50_000} | bad))
    if "vocabulary" not in bad:
        with pytest.raises(ValueError, match=match):
            corpus(__file__, **bad)


def test_a_corpus_without_text_says_so(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FileNotFoundError, match="no text at"):
            corpus(path)


def test_a_language_model_learns_what_follows():
    text = python_text(limit=100_000, tests=200)
    assert len(text.y) + len(text.x_test) < 100_000  # no test window overlaps the training text
    model = NextCharacter(seed=0)
    before = text.score(model)["test_loss"].item()
    assert before == pytest.approx(np.log(text.vocabulary), abs=0.2)  # it knows nothing yet
    optimizer = AdamW(model.parameters(), lr=3e-3)
    train(model, text.batches(32), optimizer, steps=200, progress=False)
    assert text.score(model)["test_loss"].item() < 3.3
    for options, match in (
        ({"context": 0}, "context"),
        ({"tests": 10**6}, "tests is 1000000, expected a whole"),
    ):
        with pytest.raises(ValueError, match=match):
            python_text(limit=100_000, **options)
    with pytest.raises(ValueError, match="hidden is 0, expected a whole number >= 1"):
        NextCharacter(hidden=0)
