"""Real data that needs no network: handwritten digits, the source of sympy, and your own text.

What a model learns from, what its peak rate is tuned on (validation) and what it is judged by
(test) are three sets that share nothing.

Minibatches are a pure function of the update's number, as schedules are: a run that resumes at
update t, or a sweep that trains many runs at once, draws the very same ones.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lrcourse.arguments import Count, Steps, check_argument, refuse, whole_number

__all__ = ["Corpus", "Digits", "Minibatches", "Text"]
__all__ += ["corpus", "corpus_of", "digits", "minibatch"]
__all__ += ["sympy_corpus", "sympy_digest", "sympy_text"]

# Updates whose windows a `Corpus` draws at once: a GPU then waits for few of them to reach it.
_BLOCK = 64


@lru_cache(maxsize=32)  # a sweep returns to each of its seeds; of the text, an order takes 8 MB
def _order(count: int, size: int, seed: int, epoch: int, device: torch.device) -> Tensor:
    order = np.random.default_rng((seed, epoch)).permutation(count)[: count // size * size]
    return torch.from_numpy(order.astype(np.int32)).view(-1, size).to(device)


@dataclass(frozen=True, eq=False)
class Minibatches:
    """Batch t of shuffled epochs: `batches(t)` gives `(x, y)` for update t = 0, 1, 2, …

    Each epoch is a fresh permutation, fixed by `seed` and the epoch's number; a last batch that
    would be smaller than `size` is dropped. With `size = len(x)` every batch is the whole set.

    Args:
        x, y: inputs and targets, first dimension the examples.
        size: examples in a batch, 1 … len(x).
        seed: which shuffling, ≥ 0.

    >>> batches = Minibatches(torch.arange(6), torch.arange(6), size=2)
    >>> batches.per_epoch
    3
    >>> sorted(int(i) for t in range(3) for i in batches(t)[0])
    [0, 1, 2, 3, 4, 5]
    """

    x: Tensor
    y: Tensor
    size: int
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            refuse("the length of y", len(self.y), f"{len(self.x)}, as that of x")
        check_argument("size", self.size, whole_number(1, len(self.x)))
        check_argument("seed", self.seed, Steps)

    @property
    def per_epoch(self) -> int:
        """Updates in one epoch."""
        return len(self.x) // self.size

    def __call__(self, t: int) -> tuple[Tensor, Tensor]:
        """The minibatch of update t: inputs and targets."""
        if self.size == len(self.x):
            return self.x, self.y
        epoch, place = divmod(t, self.per_epoch)
        rows = _order(len(self.x), self.size, self.seed, epoch, self.x.device)[place]
        return self.x.index_select(0, rows), self.y.index_select(0, rows)


def minibatch(batches: Callable[[int], tuple[Any, Any]], t: int) -> tuple[Any, Any]:
    """`batches(t)`, the inputs and targets of update t, or a sentence that says what is wrong.

    Raises:
        ValueError: it is not a pair, holds no example, or comes from an iterator that has ended.

    >>> minibatch(lambda t: [], 3)
    Traceback (most recent call last):
    ValueError: batches(3) is [], expected a pair (x, y)
    """
    drawn: Any
    try:
        drawn = batches(t)
    except StopIteration:
        raise ValueError(f"batches({t}) gives nothing: its iterator has ended") from None
    if not (isinstance(drawn, tuple | list) and len(drawn) == 2):
        got = tuple(drawn.shape) if isinstance(drawn, Tensor) else drawn
        refuse(f"batches({t})", got, "a pair (x, y)")
    if isinstance(drawn[0], Tensor) and not drawn[0].numel():
        refuse(f"batches({t})", tuple(drawn[0].shape), "at least one example in x")
    return drawn[0], drawn[1]


@dataclass(frozen=True, eq=False)
class _Split:
    """Examples to learn from, to test with and, where they were asked for, to tune on."""

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor
    x_validation: Tensor = field(default_factory=lambda: torch.empty(0), kw_only=True)
    y_validation: Tensor = field(default_factory=lambda: torch.empty(0), kw_only=True)

    def validate(self, model: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """Mean cross-entropy in nats on the examples to tune on, as `validation_loss`."""
        if not len(self.x_validation):
            refuse("the examples for validation", 0, "some, set apart when the data was read")
        loss = F.cross_entropy(model(self.x_validation).flatten(0, -2), self.y_validation.flatten())
        return {"validation_loss": loss}

    def batches(self, size: int, seed: int = 0) -> Minibatches:
        """Minibatches of the examples to learn from."""
        return Minibatches(self.x, self.y, size, seed)


@dataclass(frozen=True, eq=False)
class Digits(_Split):
    """Handwritten digits, 8 × 8 pixels, split into training and test images.

    `x` has shape (images, 64): ink from 0 to 1, less the `mean` training image. `y` holds the
    digit, 0 … 9.
    """

    mean: Tensor

    def score(self, model: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """Loss (mean cross-entropy, nats) on all training and all test images, and accuracy."""
        out, out_test = model(self.x), model(self.x_test)
        return {
            "train_loss": F.cross_entropy(out, self.y),
            "test_loss": F.cross_entropy(out_test, self.y_test),
            "test_accuracy": (out_test.argmax(-1) == self.y_test).to(out.dtype).mean(),
        }


@cache
def digits(dtype: torch.dtype = torch.float32) -> Digits:
    """The 1797 digits that come with scikit-learn: 1437 to train on, 360 to test with.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
    Learning Repository (1998); scikit-learn bundles its test part. The split is fixed, so that
    every chapter speaks of the same images.

    Args:
        dtype: of the pixels.

    >>> digits().x.shape, digits().x_test.shape
    (torch.Size([1437, 64]), torch.Size([360, 64]))
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(pixels))
    train, test = order[:1437], order[1437:]
    ink = pixels / 16
    mean = ink[train].mean(axis=0)
    x = torch.from_numpy(ink - mean).to(dtype)
    y, center = torch.from_numpy(labels).long(), torch.from_numpy(mean).to(dtype)
    return Digits(x[train], y[train], x[test], y[test], center)


@dataclass(frozen=True, eq=False)
class Text(_Split):
    """Text to continue: each example is a window of characters and the character after it.

    `x` has shape (examples, context), `y` shape (examples,): numbers below `vocabulary`.
    """

    vocabulary: int = 128

    def score(self, model: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """Loss on the test windows: mean cross-entropy, nats per character."""
        return {"test_loss": F.cross_entropy(model(self.x_test), self.y_test)}


@dataclass(frozen=True, eq=False)
class Corpus:
    """Text as one stream of tokens, for models that guess the next token at every position.

    Attributes:
        train: tokens to learn from, int32, shape (tokens,).
        x_test, y_test: windows to test with and the token after each of theirs, (tests, context).
        vocabulary: how many different tokens there are.
        merges: the byte-pair encoding that made the tokens; None where a token is a byte.
        x_validation, y_validation: windows to tune on, as those to test with; empty without.
    """

    train: Tensor
    x_test: Tensor
    y_test: Tensor
    vocabulary: int
    merges: Any = None
    x_validation: Tensor = field(default_factory=lambda: torch.empty(0), kw_only=True)
    y_validation: Tensor = field(default_factory=lambda: torch.empty(0), kw_only=True)

    def batches(self, size: int, seed: int = 0) -> Callable[[int], tuple[Tensor, Tensor]]:
        """t → `size` windows and the token after each of theirs, both (size, context).

        A pure function of the seed and t: windows begin anywhere, and each batch is drawn anew.
        """
        context = self.x_test.shape[1]
        check_argument("size", size, Count)
        known: dict[int, Tensor] = {}  # where the windows of the last block of updates begin

        def batch(t: int) -> tuple[Tensor, Tensor]:
            at, place = divmod(t, _BLOCK)
            starts = known.get(at)
            if starts is None:
                draws = [np.random.default_rng((seed, at * _BLOCK + i)) for i in range(_BLOCK)]
                rows = [draw.integers(len(self.train) - context, size=size) for draw in draws]
                known.clear()
                known[at] = starts = torch.from_numpy(np.stack(rows)).to(self.train.device)
            windows = self.train.unfold(0, context + 1, 1)[starts[place]].long()
            return windows[:, :-1], windows[:, 1:]

        return batch

    def score(self, model: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """Loss on the test windows: mean cross-entropy, nats per token."""
        scores = model(self.x_test)
        return {"test_loss": F.cross_entropy(scores.flatten(0, -2), self.y_test.flatten())}

    validate = _Split.validate

    def to(self, device: torch.device | str) -> "Corpus":
        """The same corpus on another device: batches are drawn and scored there."""
        tensors = ("train", "x_test", "y_test", "x_validation", "y_validation")
        return replace(self, **{name: getattr(self, name).to(device) for name in tensors})

    def encode(self, text: str) -> Tensor:
        """The tokens of `text`, shape (tokens,)."""
        return _tokens(text.encode(), self.vocabulary, self.merges).long()

    def decode(self, tokens: Tensor) -> str:
        """The text of `tokens`; bytes that are no valid UTF-8 become �."""
        if self.merges is not None:
            return self.merges.decode(tokens.tolist())
        return bytes(tokens.tolist()).decode(errors="replace")


@cache
def corpus(
    path: str | Path | None = None,
    *,
    context: int = 64,
    vocabulary: int = 128,
    limit: int | None = 2_000_000,
    tests: int = 64,
) -> Corpus:
    """Text to train a Transformer on, its last twentieth kept for testing.

    Args:
        path: a text file, or a folder whose `.py`, `.txt` and `.md` files are read in the order of
            their names; without, the source of sympy, in the order of `sympy_corpus`.
        context: tokens in a window.
        vocabulary: at most 256: a token is a byte, and bytes above are left out (128 keeps ASCII).
            From 257 to 2048: so many byte-pair tokens, trained here on the training text
            (Sennrich et al., Neural Machine Translation of Rare Words with Subword Units, 2016).
        limit: read no more than so many bytes; None reads all.
        tests: windows to test with, drawn once and for all.

    Raises:
        FileNotFoundError: there is nothing at `path`, or no text in it.
        ValueError: an argument is out of range, or the text too short for it.

    >>> text = corpus(limit=100_000, context=16, tests=8)
    >>> x, y = text.batches(4)(0)
    >>> x.shape, bool((x[:, 1:] == y[:, :-1]).all()), text.decode(text.encode("if x:"))
    (torch.Size([4, 16]), True, 'if x:')
    """
    check_argument("context", context, Count)
    check_argument("tests", tests, Count)
    check_argument("vocabulary", vocabulary, whole_number(2, 2048))
    check_argument("limit", limit, Count | None)
    text = (b"".join(_sympy()) if path is None else _text_at(Path(path)))[:limit]
    cut = len(text) * 19 // 20
    merges = _byte_pairs(text[:cut], vocabulary) if vocabulary > 256 else None
    train, test = (_tokens(part, vocabulary, merges) for part in (text[:cut], text[cut:]))
    if min(len(train), len(test)) <= context + tests:
        found = f"{len(train)} tokens to train on and {len(test)} to test with"
        raise ValueError(f"the text has {found}, expected more than context + tests of each")
    return Corpus(train, *_windows(test, context, context, tests), vocabulary, merges)


# ------------------------------------------------------------ a text that is the same for everybody

_SHARE = 256 // 20  # of 256 files: a twentieth to test with, as much for validation


@cache
def _sympy() -> tuple[bytes, bytes, bytes]:
    """The source of sympy, to train on, for validation and to test with, cut by whole files.

    A digest of its name says where a file belongs, and in which order they stand: so any beginning
    of the text is a fair sample of it. (By the names alone, it would begin with all of algebra.)
    """
    import sympy

    root = Path(sympy.__file__).parent
    names = [path.relative_to(root).as_posix() for path in root.rglob("*.py")]
    order = sorted((hashlib.sha256(name.encode()).digest(), name) for name in names)
    parts = (bytearray(), bytearray(), bytearray())
    for digest, name in order:
        parts[2 if digest[31] < _SHARE else 1 if digest[31] < 2 * _SHARE else 0].extend(
            (root / name).read_bytes()
        )
    train, validation, test = (bytes(part) for part in parts)
    return train, validation, test


@cache
def sympy_digest() -> str:
    """A digest of the text that recordings learn from: other text, other figures."""
    digest = hashlib.sha256()
    for part in _sympy():
        digest.update(part + b"\0")
    return digest.hexdigest()[:16]


@cache
def sympy_text(context: int = 8, limit: int = 2_000_000, tests: int = 2048) -> Text:
    """The source of sympy as a small language model sees it: windows of ASCII characters.

    sympy is pure Python, torch needs it, and `constraints.txt` pins it: everybody has this text.

    Args:
        context: characters in a window, ≥ 1.
        limit: bytes to learn from.
        tests: windows to test with, and as many for validation, drawn once and for all.

    Raises:
        ValueError: an argument is out of range.

    >>> text = sympy_text(limit=100_000, tests=50)
    >>> text.x.shape[1], text.x_test.shape, text.x_validation.shape
    (8, torch.Size([50, 8]), torch.Size([50, 8]))
    """
    check_argument("context", context, Count)
    check_argument("limit", limit, whole_number(context + 1))
    train, *apart = (_tokens(part, 128, None).long() for part in _sympy())
    train = train[:limit]
    (xv, yv), (x, y) = (_windows(part, context, 1, tests) for part in apart)
    yv, y = yv.flatten(), y.flatten()
    seen, next_one = train.unfold(0, context, 1)[:-1], train[context:]
    return Text(seen, next_one, x, y, x_validation=xv, y_validation=yv)


@cache
def sympy_corpus(context: int = 32, vocabulary: int = 128, tests: int = 1024) -> Corpus:
    """The source of sympy as one stream of tokens: as `corpus`, with validation.

    Args:
        context: tokens in a window.
        vocabulary: as for `corpus`, up to 256 (a token is a byte).
        tests: windows to test with; a quarter as many for validation.

    Raises:
        ValueError: an argument is out of range.
    """
    return corpus_of(*_sympy(), context, vocabulary, tests)


def corpus_of(
    train: bytes, validation: bytes, test: bytes, context: int, vocabulary: int, tests: int
) -> Corpus:
    """Three texts as one `Corpus`: to train on, to tune on, and to test with.

    Args:
        train, validation, test: bytes; those that are not below the vocabulary are left out.
        context: tokens in a window.
        vocabulary: at most 256.
        tests: windows to test with; a quarter as many for validation.

    Raises:
        ValueError: an argument is out of range.
    """
    check_argument("context", context, Count)
    check_argument("vocabulary", vocabulary, whole_number(2, 256))
    seen, *apart = (_tokens(part, vocabulary, None) for part in (train, validation, test))
    (xv, yv), (x, y) = (
        _windows(part, context, context, count)
        for part, count in zip(apart, (tests // 4, tests), strict=True)
    )
    return Corpus(seen.to(torch.uint8), x, y, vocabulary, x_validation=xv, y_validation=yv)


def _windows(tokens: Tensor, context: int, targets: int, count: int) -> tuple[Tensor, Tensor]:
    """`count` windows of `context` tokens, and the last `targets` of the tokens after each."""
    check_argument("tests", count, whole_number(1, len(tokens) - context))
    rows = np.random.default_rng(0).permutation(len(tokens) - context)[:count]
    windows = tokens.unfold(0, context + 1, 1)[torch.from_numpy(rows)].long()
    return windows[:, :-1], windows[:, -targets:]


def _text_at(path: Path) -> bytes:
    kinds = {".py", ".txt", ".md"}
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix in kinds)
    text = b"".join(file.read_bytes() for file in files)
    if not text:
        raise FileNotFoundError(f"no text at {path}: name a text file, or a folder with some in it")
    return text


def _byte_pairs(text: bytes, size: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    merges = Tokenizer(models.BPE())
    merges.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    merges.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    merges.train_from_iterator(text.decode(errors="replace").splitlines(keepends=True), trainer)
    return merges


def _tokens(text: bytes, vocabulary: int, merges: Any) -> Tensor:
    if merges is not None:
        lines = text.decode(errors="replace").splitlines(keepends=True)
        ids = [i for line in merges.encode_batch_fast(lines) for i in line.ids]
        return torch.tensor(ids, dtype=torch.int32)
    letters = np.frombuffer(text, dtype=np.uint8)
    return torch.from_numpy(letters[letters < vocabulary].astype(np.int32))
