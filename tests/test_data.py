"""Data that needs no network, and minibatches that are functions of the update."""

from pathlib import Path

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrcourse import data
from lrcourse.data import Minibatches, corpus, digits, sympy_corpus, sympy_text
from lrcourse.models import MLP


def test_minibatches_are_fixed_by_seed_and_cover_each_epoch_once():
    x = torch.arange(103)
    batches = Minibatches(x, x, size=10, seed=3)
    epochs = [torch.cat([batches(t)[0] for t in range(e * 10, e * 10 + 10)]) for e in (0, 1)]
    assert all(len(set(epoch.tolist())) == 100 for epoch in epochs)
    assert not torch.equal(*epochs)
    assert torch.equal(batches(17)[0], Minibatches(x, x, size=10, seed=3)(17)[0])
    assert not torch.equal(batches(0)[0], Minibatches(x, x, size=10, seed=4)(0)[0])
    assert torch.equal(Minibatches(x, x, size=103)(5)[0], x)
    with pytest.raises(ValueError, match="size is 104, expected a whole number from 1 to 103"):
        Minibatches(x, x, size=104)


def test_data_and_models():
    images = digits()
    assert len(images.x) + len(images.x_test) == 1797
    assert images.x.mean(0).abs().max() < 1e-6
    state = torch.get_rng_state()
    a, b, c = MLP((4, 3, 2), seed=1), MLP((4, 3, 2), seed=1), MLP((4, 3, 2), seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(a[0].weight, b[0].weight) and not torch.equal(a[0].weight, c[0].weight)
    with pytest.raises(ValueError, match="sizes"):
        MLP((4,))


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


def test_what_is_learned_tuned_on_and_tested_are_three_texts():
    """No file of sympy's source is in two of them, and any beginning is a fair sample."""
    train, tune, test = (data._sympy()[i] for i in range(3))
    whole = len(train) + len(tune) + len(test)
    assert 0.03 < len(tune) / whole < 0.12 and 0.03 < len(test) / whole < 0.12
    root = Path(sympy.__file__).parent
    assert whole == sum(path.stat().st_size for path in root.rglob("*.py"))
    for text in (tune, test):
        middle = len(text) // 2
        assert text[middle : middle + 2000] not in train
    assert tune[:2000] not in test
    text, tokens = sympy_text(limit=50_000, tests=40), sympy_corpus(context=16, tests=1000)
    assert text.x.shape == (49_992, 8) and tokens.x_validation.shape == (250, 16)
    assert (tokens.x_test[:, 1:] == tokens.y_test[:, :-1]).all()
    assert tokens.batches(4)(3)[0].dtype == torch.int64
    flat = lambda x: torch.zeros(*x.shape, 128)  # noqa: E731
    assert float(tokens.validate(flat)["validation_loss"]) == pytest.approx(np.log(128))
    last = lambda x: torch.zeros(len(x), 128)  # noqa: E731
    assert float(text.validate(last)["validation_loss"]) == pytest.approx(np.log(128))


def test_what_was_not_set_apart_cannot_tune():
    with pytest.raises(ValueError, match="examples for validation is 0"):
        digits().validate(lambda x: x)
