"""The optimizers of torch and schedulefree over the weights of many runs at once, in one tensor."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["FLAT_OPTIMIZERS", "FlatOptimizer", "kind_of"]


def kind_of(optimizer: type[Optimizer]) -> str:
    """Package and name: an optimizer is known by them, so that none need be there to import."""
    return f"{optimizer.__module__.partition('.')[0]}.{optimizer.__qualname__}"


class FlatOptimizer:
    """An optimizer over the weights of many runs, (runs, weights), each with settings of its own.

    All that depends on them and on t alone is computed beforehand: no update waits for a number.

    Attributes:
        defaults: what it can be told, with torch's defaults.
        buffers: how many averages of the weights' size it keeps.
    """

    defaults: ClassVar[dict[str, Any]] = {}
    buffers = 1

    def __init__(
        self,
        weights: Tensor,
        rates: np.ndarray,
        settings: list[dict[str, Any]],
        layout: Sequence[tuple[torch.Size, bool]] = (),
    ):
        """Begin; `layout` has shape, and whether it is a linear layer's, of each of the weights."""
        self.layout = layout
        given = {
            name: np.array([one.get(name, value) for one in settings], dtype=float)[:, np.newaxis]
            for name, value in self.defaults.items()
        }
        # A row for each update, or one for all; in it a number for each run.
        self.numbers = {
            name: torch.from_numpy(values.T.copy()).to(weights.dtype).to(weights.device)[..., None]
            for name, values in self.plan(rates, given).items()
        }
        self.state = [torch.zeros_like(weights) for _ in range(self.buffers)]

    def plan(self, rates: np.ndarray, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The numbers that `step` needs, of shape (runs, updates) or (runs, 1).

        Args:
            rates: of shape (runs, updates).
            given: the settings, (runs, 1) each, and (runs, 1, 2) for betas.
        """
        raise NotImplementedError

    def step(self, w: Tensor, g: Tensor, n: dict[str, Tensor]) -> None:
        """Change the weights in place; the gradient may be used up."""
        raise NotImplementedError

    def __call__(self, weights: Tensor, gradient: Tensor, t: int) -> None:
        """Make update t."""
        self.step(weights, gradient, {n: v[t % len(v)] for n, v in self.numbers.items()})

    def answers(self, weights: Tensor) -> Tensor:
        """The weights to evaluate, where they are not those that gradients are taken at."""
        return weights

    def keep(self, rows: Tensor) -> None:
        """Go on with these runs alone."""
        self.numbers = {name: values[:, rows] for name, values in self.numbers.items()}
        self.state = [one[rows] for one in self.state]


class _SGD(FlatOptimizer):
    defaults: ClassVar = {"momentum": 0.0, "weight_decay": 0.0}

    def plan(self, rates: np.ndarray, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"rate": -rates} | {name: v for name, v in given.items() if v.any()}

    def step(self, w: Tensor, g: Tensor, n: dict[str, Tensor]) -> None:
        if "weight_decay" in n:
            g.addcmul_(w, n["weight_decay"])
        if "momentum" in n:
            g = torch.addcmul(g, self.state[0], n["momentum"], out=self.state[0])
        w.addcmul_(g, n["rate"])


class _RMSprop(FlatOptimizer):
    defaults: ClassVar = {"alpha": 0.99, "eps": 1e-8}

    def plan(self, rates: np.ndarray, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"rate": -rates, "share": 1 - given["alpha"], "eps": given["eps"]}

    def step(self, w: Tensor, g: Tensor, n: dict[str, Tensor]) -> None:
        square = self.state[0].lerp_(g * g, n["share"])
        w.addcmul_(g.div_(square.sqrt().add_(n["eps"])), n["rate"])


class _Adam(FlatOptimizer):
    defaults: ClassVar = {"betas": (0.9, 0.999), "eps": 1e-8}
    buffers = 2

    def plan(self, rates: np.ndarray, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        beta1, beta2 = np.moveaxis(given["betas"], -1, 0)
        t = np.arange(1, rates.shape[1] + 1)
        # Both sides of mean / (√square / root + eps) times root: one call less.
        root = np.sqrt(1 - beta2**t)
        numbers = {"share": 1 - beta1, "share2": 1 - beta2, "eps": given["eps"] * root}
        numbers |= {"rate": -rates * root / (1 - beta1**t)}
        if "weight_decay" in given:
            numbers["kept"] = 1 - rates * given["weight_decay"]
        return numbers

    def step(self, w: Tensor, g: Tensor, n: dict[str, Tensor]) -> None:
        mean, square = self.state[:2]
        if "kept" in n:
            w.mul_(n["kept"])
        mean.lerp_(g, n["share"])
        square.lerp_(g.square_(), n["share2"])
        scale = torch.sqrt(square, out=g).add_(n["eps"])
        w.addcmul_(torch.div(mean, scale, out=g), n["rate"])


class _AdamW(_Adam):
    defaults: ClassVar = {**_Adam.defaults, "weight_decay": 0.01}


class _ScheduleFree(FlatOptimizer):
    """Gradients at y, the weights; a walk z; the walk's average x, which is the answer."""

    defaults: ClassVar = {**_Adam.defaults, "weight_decay": 0.0}
    buffers = 3

    def __init__(self, weights: Tensor, *given: Any):
        super().__init__(weights, *given)
        for start in self.state[:2]:  # z and x
            start.copy_(weights)

    def plan(self, rates: np.ndarray, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        beta1, beta2 = np.moveaxis(given["betas"], -1, 0)
        root = np.sqrt(1 - beta2 ** np.arange(1, rates.shape[1] + 1))
        largest = np.maximum.accumulate(rates, axis=1) ** 2
        total = largest.cumsum(axis=1)
        numbers = {"beta1": beta1, "share": largest / np.where(total > 0, total, 1)}
        numbers |= {"share2": 1 - beta2, "eps": given["eps"] * root, "rate": -rates * root}
        return numbers | {"decay": -rates * given["weight_decay"]}

    def step(self, w: Tensor, g: Tensor, n: dict[str, Tensor]) -> None:
        z, x, square = self.state
        square.lerp_(g * g, n["share2"])
        z.addcmul_(g.div_(square.sqrt().add_(n["eps"])), n["rate"])
        z.addcmul_(w, n["decay"])
        x.lerp_(z, n["share"])
        torch.lerp(z, x, n["beta1"], out=w)

    def answers(self, weights: Tensor) -> Tensor:
        return self.state[1]


class _Muon(_AdamW):
    """Muon for the matrices of linear layers, AdamW for all other weights, both at one rate.

    Jordan et al., Muon: An optimizer for hidden layers in neural networks (2024), with the length
    of step that lets it share AdamW's rate and decay (Liu et al., Muon is Scalable, 2025).
    """

    defaults: ClassVar = {**_AdamW.defaults, "weight_decay": 0.1, "momentum": 0.95}
    buffers = 3

    def plan(self, rates: np.ndarray, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return super().plan(rates, given) | {"peak": rates, "momentum": given["momentum"]}

    def step(self, w: Tensor, g: Tensor, n: dict[str, Tensor]) -> None:
        walk = self.state[2].lerp_(g, 1 - n["momentum"])
        ahead = g.lerp(walk, n["momentum"])
        old, where = w.clone(), 0
        super().step(w, g, n)  # and then the matrices anew
        for shape, linear in self.layout:
            here = slice(where, where := where + shape.numel())
            if linear and len(shape) == 2:
                turned = _orthogonal(ahead[:, here].unflatten(1, shape)).flatten(1)
                length = 0.2 * max(shape) ** 0.5 * n["peak"]
                w[:, here] = old[:, here] * n["kept"] - length * turned


def _orthogonal(matrices: Tensor) -> Tensor:
    """Near the closest matrices without a preferred direction: all singular values about 1.

    A Newton-Schulz iteration with the numbers of torch.optim.Muon. That rounds to bfloat16, which
    each processor does in its own way; this keeps the precision of the weights.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * (square @ square)) @ x
    return x.mT if tall else x


FLAT_OPTIMIZERS: dict[str, type[FlatOptimizer]] = {
    "torch.SGD": _SGD,
    "torch.RMSprop": _RMSprop,
    "torch.Adam": _Adam,
    "torch.AdamW": _AdamW,
    "torch.Muon": _Muon,
    "schedulefree.AdamWScheduleFree": _ScheduleFree,
}
