"""The models that the chapters train."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrcourse.arguments import Count, Positive, Steps, check_argument, refuse

__all__ = ["GPT", "MLP", "NextCharacter", "WideNetwork"]
__all__ += ["next_token_loss", "sample"]


def MLP(
    sizes: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU, seed: int | None = None
) -> nn.Sequential:
    """Fully connected layers with an activation between them: shape (…, sizes[0]) → (…, sizes[-1]).

    Args:
        sizes: widths from input to output, at least two.
        activation: the nonlinearity's class.
        seed: fixes the first weights (PyTorch's default initialisation), and leaves the global
            random state as it was; None draws them from that state.

    >>> MLP((64, 32, 10), seed=0)(torch.zeros(5, 64)).shape
    torch.Size([5, 10])
    """
    if len(sizes) < 2 or any(width < 1 for width in sizes):
        refuse("sizes", sizes, "two or more whole numbers >= 1")
    with _seeded(seed):
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


def NextCharacter(seed: int | None = None) -> nn.Sequential:
    """A small language model: the last characters in, a score for each possible next one out.

    Each of eight characters becomes a learned vector of 16 numbers, and a hidden layer of 64 reads
    them side by side (Bengio et al., A Neural Probabilistic Language Model, 2003, with a ReLU).
    Numbers of shape (…, 8), below 128, give scores of shape (…, 128).

    Args:
        seed: fixes the first weights, as in `MLP`.

    >>> NextCharacter(seed=0)(torch.zeros(5, 8, dtype=torch.long)).shape
    torch.Size([5, 128])
    """
    with _seeded(seed):
        return nn.Sequential(
            nn.Embedding(128, 16),
            nn.Flatten(-2),
            nn.Linear(8 * 16, 64),
            nn.ReLU(),
            nn.Linear(64, 128),
        )


class _Multiplied(nn.Linear):
    """A linear layer whose weights count `factor`-fold, and begin as much larger for it."""

    def __init__(self, inputs: int, outputs: int, factor: float):
        super().__init__(inputs, outputs)
        self.factor = factor
        with torch.no_grad():
            self.weight /= factor

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.factor, self.bias)


def WideNetwork(hidden: int, base: int | None = None, seed: int | None = None) -> nn.Sequential:
    """`NextCharacter` with two hidden layers of width `hidden`; its scores begin at zero.

    With `base`, in the maximal update parametrization for Adam (Yang et al., Tensor Programs V,
    2022): the weights that a wide layer feeds count base/hidden-fold. Adam's step has the same size
    for every weight, so this makes their steps that much smaller, under one learning rate for all.
    At width `base` nothing changes, and at the start nothing does at any width.

    Args:
        hidden: width of both hidden layers.
        base: the width at which the rate was tuned; None is PyTorch's own parametrization.
        seed: fixes the first weights, as in `MLP`.

    >>> WideNetwork(32, seed=0)(torch.zeros(5, 8, dtype=torch.long)).shape
    torch.Size([5, 128])
    """
    _check_sizes(hidden=hidden, base=base or hidden)
    factor = (base or hidden) / hidden
    with _seeded(seed):
        scores = _Multiplied(hidden, 128, factor)
        net = nn.Sequential(
            nn.Embedding(128, 16),
            nn.Flatten(-2),
            nn.Linear(8 * 16, hidden),
            nn.ReLU(),
            _Multiplied(hidden, hidden, factor),
            nn.ReLU(),
            scores,
        )
    nn.init.zeros_(scores.weight)
    return net


class GPT(nn.Module):
    """A decoder-only Transformer: a score for each possible next token, at every position.

    Learned positions, causal attention, tied embeddings, no biases and no dropout. Vaswani et al.,
    Attention Is All You Need (2017); Radford et al., Language Models are Unsupervised Multitask
    Learners (2019). Weights begin normal with variance 1/inputs, those of the embeddings with
    variance 1/width, and embeddings count √width-fold on the way in.

    Args:
        vocabulary: how many different tokens there are.
        context: the most tokens it sees.
        layers: blocks of attention and feed-forward.
        heads: attention heads; they share the width.
        width: entries in a token's vector.
        post_ln: normalise after each sum, as in 2017; otherwise before each part (Xiong et al.,
            On Layer Normalization in the Transformer Architecture, 2020).
        qk_norm: normalise queries and keys (Henry et al., 2020).
        seed: fixes the first weights, as in `MLP`.

    Shapes: whole numbers (…, n) → scores (…, n, vocabulary), for n ≤ context.

    >>> GPT(vocabulary=128, context=16, seed=0)(torch.zeros(5, 16, dtype=torch.long)).shape
    torch.Size([5, 16, 128])
    """

    def __init__(
        self,
        vocabulary: int = 128,
        context: int = 64,
        layers: int = 2,
        heads: int = 2,
        width: int = 64,
        post_ln: bool = False,
        qk_norm: bool = False,
        seed: int | None = None,
    ):
        super().__init__()
        _check_sizes(
            vocabulary=vocabulary, context=context, layers=layers, heads=heads, width=width
        )
        if width % heads:
            refuse("width", width, f"a multiple of heads, which is {heads}")
        with _seeded(seed):
            self.token = nn.Embedding(vocabulary, width)
            self.position = nn.Embedding(context, width)
            blocks = (_Block(width, heads, post_ln, qk_norm) for _ in range(layers))
            self.blocks = nn.Sequential(*blocks)
            self.norm = nn.Identity() if post_ln else nn.LayerNorm(width)
            for part in self.modules():
                if isinstance(part, nn.Embedding | nn.Linear):
                    nn.init.normal_(part.weight, std=part.weight.shape[1] ** -0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores for the token after each of `tokens`."""
        n, (context, width) = tokens.shape[-1], self.position.weight.shape
        if n > context:
            refuse("the length of tokens", n, f"at most {context}, the context")
        x = (self.token(tokens) + self.position.weight[:n]) * width**0.5
        return F.linear(self.norm(self.blocks(x)), self.token.weight)


class _Block(nn.Module):
    """Attention, then two layers on each position; each is added to what came in."""

    def __init__(self, width: int, heads: int, post_ln: bool, qk_norm: bool):
        super().__init__()
        self.heads, self.post_ln, self.qk_norm = heads, post_ln, qk_norm
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def attend(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).movedim(-3, 0).transpose(-2, -3)
        if self.qk_norm:
            q, k = (F.rms_norm(z, z.shape[-1:]) for z in (q, k))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(-2, -3).flatten(-2))

    def feed(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))

    def forward(self, x: Tensor) -> Tensor:
        for norm, part in zip(self.norms, (self.attend, self.feed), strict=True):
            x = norm(x + part(x)) if self.post_ln else x + part(norm(x))
        return x


def next_token_loss(scores: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy in nats over all positions: scores (…, vocabulary), tokens (…) → scalar.

    >>> round(next_token_loss(torch.zeros(2, 3, 128), torch.ones(2, 3, dtype=torch.long)).item(), 2)
    4.85
    """
    return F.cross_entropy(scores.flatten(0, -2), y.flatten())


@torch.no_grad()
def sample(
    model: GPT, prompt: Tensor, count: int, temperature: float = 1.0, seed: int = 0
) -> Tensor:
    """Continue `prompt` by `count` tokens, each drawn from the model's scores over `temperature`.

    Args:
        model: takes as many tokens as its context holds, the last ones.
        prompt: shape (n,), n ≥ 1 tokens.
        count: tokens to draw.
        temperature: below 1 prefers likely tokens more, above 1 less; > 0.
        seed: of the draws.

    Returns:
        Prompt and continuation, shape (n + count,).

    >>> sample(GPT(context=8, seed=0), torch.tensor([1, 2]), 9).shape
    torch.Size([11])
    """
    if prompt.dim() != 1 or not len(prompt):
        refuse("prompt.shape", tuple(prompt.shape), "(n,), n >= 1 tokens")
    check_argument("count", count, Steps)
    check_argument("temperature", temperature, Positive)
    draws = torch.Generator().manual_seed(seed)
    for _ in range(count):
        seen = prompt[-model.position.num_embeddings :]
        chances = (model(seen)[-1].float().cpu() / temperature).softmax(-1)
        drawn = torch.multinomial(chances, 1, generator=draws)
        prompt = torch.cat([prompt, drawn.to(prompt.device)])
    return prompt


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        check_argument(name, size, Count)


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Draw from a generator of its own, and leave the global random state as it was."""
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        yield
