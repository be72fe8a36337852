"""The same model many times: its weights in one tensor, a row for each run."""

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vmap
from torch.nn.modules.dropout import _DropoutNd as _Dropout

from lrcourse.arguments import refuse
from lrcourse.training import one_number

__all__ = ["Stack", "read_out", "refuse_unstackable", "used_weights"]


def refuse_unstackable(model: nn.Module) -> None:
    """Refuse what cannot be trained in a stack as it would be alone."""
    for name, part in model.named_modules():
        dropout = part.p if isinstance(part, _Dropout) else getattr(part, "dropout", 0)
        for met, what in (
            (isinstance(part, nn.RNNBase), "recurrent layer"),
            (isinstance(dropout, int | float) and dropout > 0, "dropout"),
            (getattr(part, "track_running_stats", False), "buffers that change"),
        ):
            if met:
                refuse("model", part, f"no {what}, as {name} has: use training.train")
    if not any(p.requires_grad for p in model.parameters()):
        refuse("model", type(model).__name__, "some parameters with requires_grad")


def used_weights(model: nn.Module, loss: Callable[..., Tensor], x: Tensor, y: Tensor) -> list[str]:
    """Names of the weights that the loss depends on; a buffer that forward changes is refused."""
    tried = deepcopy(model)
    weights = {name: p for name, p in tried.named_parameters() if p.requires_grad}
    value = one_number(loss(tried(x), y))
    for (name, before), after in zip(model.named_buffers(), tried.buffers(), strict=True):
        if not torch.equal(before, after):
            refuse("model", type(model).__name__, f"no buffer that forward changes, as {name} is")
    gradients = torch.autograd.grad(value, [*weights.values()], allow_unused=True)
    return [name for name, g in zip(weights, gradients, strict=True) if g is not None]


def read_out(values: Tensor) -> np.ndarray:
    """`values` from their device: here alone the loop waits for it. (Not every one has float64.)"""
    return values.detach().cpu().double().numpy()


class Stack:
    """The same module many times, once for each run.

    Attributes:
        weights: all that a run trains in one row, shape (runs, weights).
        gradient: of each run's loss by them, likewise.
        layout: shape, and whether it is the matrix of a linear layer, of each of the weights.
        mean: the mean of all that `average` was given, likewise; without a row before.
    """

    def __init__(
        self,
        models: list[nn.Module],
        used: list[str],
        places: np.ndarray,
        loss: Callable[[Tensor, Tensor], Tensor],
        stacked: bool,
        bf16: bool,
    ):
        self.base, self.places, self.loss, self.stacked = models[0], places, loss, stacked
        parts = [{**dict(m.named_parameters()), **dict(m.named_buffers())} for m in models]
        # Frozen weights stand with the buffers, and so do those that no gradient reaches: they
        # differ by seed, and no update changes them.
        others = [name for name in parts[0] if name not in used]
        self.shapes = [parts[0][name].shape for name in used]
        linear = {id(m.weight) for m in self.base.modules() if isinstance(m, nn.Linear)}
        self.layout = [(parts[0][n].shape, id(parts[0][n]) in linear) for n in used]
        rows = [torch.cat([part[name].detach().flatten() for name in used]) for part in parts]
        self.weights = torch.stack(rows)
        self.fixed = [torch.stack([part[name].detach() for part in parts]) for name in others]
        self.idle = [i for i, name in enumerate(others) if parts[0][name].requires_grad]
        # Where the module keeps each of them; weights that are tied stand in several places.
        number = {id(parts[0][name]): i for i, name in enumerate([*used, *others])}
        homes: list[dict[str, Any]] = []
        for module in self.base.modules():
            homes += [module._parameters, module._buffers]
        self.slots = [(h, k, number[id(v)]) for h in homes for k, v in h.items() if v is not None]
        self.gradient, self.mean = torch.empty_like(self.weights), self.weights[:0]
        self.bf16 = torch.autocast(self.weights.device.type, torch.bfloat16) if bf16 else None
        self._lay_out()

    def _lay_out(self) -> None:
        """Make what is handed to the module: views of all rows at once, or of each by itself."""
        self.seeds = torch.from_numpy(self.places).to(self.weights.device)
        rows: Iterable[Any] = [slice(None)] if self.stacked else range(len(self.places))
        leaves = [[v.detach().requires_grad_() for v in self._views(self.weights[r])] for r in rows]
        fixed = [[tensor[r] for tensor in self.fixed] for r in rows]
        gradients = [self._views(self.gradient[r]) for r in rows]
        self.parts = [*zip(leaves, fixed, gradients, strict=True)]

    def _views(self, rows: Tensor) -> list[Tensor]:
        """The weights in `rows`, (…, weights), each in its shape."""
        parts = rows.split([shape.numel() for shape in self.shapes], -1)
        return [p.view(p.shape[:-1] + s) for p, s in zip(parts, self.shapes, strict=True)]

    def _run(self, weights: list[Tensor], fixed: list[Tensor], x: Tensor) -> Tensor:
        """The module's output, with these in the places of its own."""
        given = [*weights, *fixed]
        for home, name, i in self.slots:
            home[name] = given[i]
        if self.bf16 is None:
            return self.base(x)
        with self.bf16:
            return self.base(x).float()

    def _loss(self, weights: list[Tensor], fixed: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        return one_number(self.loss(self._run(weights, fixed, x), y))

    def _losses(self, weights: list[Tensor], fixed: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        """The loss of one run, or those of a stack, shape (runs,)."""
        if not self.stacked:
            return self._loss(weights, fixed, x, y)
        if self.loss is not F.cross_entropy or y.is_floating_point() or y.dim() < 2:
            return vmap(self._loss)(weights, fixed, x, y)
        # vmap takes cross-entropy to pieces, and a CPU then spends as long on them as on a layer.
        # Of all runs' examples at once it is whole.
        out, count = vmap(self._run)(weights, fixed, x), (y != -100).flatten(1).sum(1)
        each = F.cross_entropy(out.flatten(0, 1), y.flatten(0, 1), reduction="none")
        return each.view(len(y), -1).sum(1) / count

    def losses_and_gradients(self, drawn: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Losses of shape (runs,) on the minibatch of each seed; leaves the gradients."""
        batches = [drawn[i] for i in self.places]
        if self.stacked:  # what a seed draws is gathered once, and then goes to its runs
            x, y = (
                torch.stack(one).index_select(0, self.seeds) for one in zip(*drawn, strict=True)
            )
            batches = [(x, y)]
        found = []
        for (weights, fixed, gradients), (x, y) in zip(self.parts, batches, strict=True):
            losses = self._losses(weights, fixed, x, y)
            # A run's loss depends on its own weights alone, so the gradient of the sum is all the
            # gradients side by side; a lost run's NaN stays in its own row.
            torch._foreach_copy_(gradients, torch.autograd.grad(losses.sum(), weights))
            found.append(losses.detach())
        return torch.stack(found).flatten()

    def change(self, before: Tensor) -> Tensor:
        """‖weights − before‖ / ‖weights‖ of each run, shape (runs,)."""
        whole = torch.cat([self.weights, *(self.fixed[i].flatten(1) for i in self.idle)], 1)
        return (self.weights - before).norm(dim=1) / whole.norm(dim=1)

    def average(self, weights: Tensor, count: int) -> None:
        """Take `weights` into `mean`, the plain mean of all `count` that were taken in."""
        self.mean = self.mean.lerp_(weights, 1 / count) if count > 1 else weights.clone()

    def evaluate(
        self, evaluate: Callable[..., Mapping[str, Tensor]], weights: Tensor
    ) -> dict[str, np.ndarray]:
        """What `evaluate` gives of each run's model with these weights."""
        if not len(weights):
            return {}

        def one(row: Tensor, fixed: list[Tensor]) -> dict[str, Tensor]:
            views = self._views(row)
            values = evaluate(lambda x: self._run(views, fixed, x))
            return {name: torch.as_tensor(value) for name, value in values.items()}

        self.base.eval()
        with torch.no_grad():
            if self.stacked:
                values = vmap(one, chunk_size=64)(weights, self.fixed)
            else:
                each = [one(row, part[1]) for row, part in zip(weights, self.parts, strict=True)]
                values = {name: torch.stack([v[name] for v in each]) for name in each[0]}
        self.base.train()
        return {name: read_out(value) for name, value in values.items()}

    def keep(self, rows: Tensor) -> None:
        """Go on with these runs alone."""
        self.weights, self.gradient = self.weights[rows], self.gradient[rows]
        self.mean = self.mean[rows] if len(self.mean) else self.mean
        self.fixed = [tensor[rows] for tensor in self.fixed]
        self.places = self.places[rows.numpy()]
        self._lay_out()
