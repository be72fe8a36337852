"""How a check is found by its name, the words it answers with, and what several checks share.

The check of exercise "06 left" is the function `check_06_left` of the module `chapter_06`: it takes
the answer, and yields hints in the order in which one would notice what is wrong. The first of
them is told, and nothing behind it is run; an answer without a hint is right, and what the check
returns then is told beside that. There is no list of checks; the name alone finds one, and loads
that chapter's module and no other.
"""

import math
import warnings
from collections.abc import Callable, Generator
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_, parameters_to_vector
from torch.optim import SGD, Optimizer

from lrcourse.schedules import recorded

__all__ = ["Hints", "check", "is_number", "names", "on_the_board", "one_weight", "parting"]
__all__ += ["rates_under", "rates_used", "update", "weights"]

Hints = Generator[str, None, Any]
"""What a check yields; the first is told. It may return words for who is right."""

on_the_board: ContextVar[bool] = ContextVar("on_the_board", default=True)
"""Whether what is checked gets its place on a board for good."""


# ------------------------------------------------------------------------------ found by its name


def _chapters() -> list[str]:
    files = Path(__file__).parent.glob("chapter_*.py")
    return sorted(file.stem.removeprefix("chapter_") for file in files)


def _checks(chapter: str) -> dict[str, Callable[[Any], Hints]]:
    """The checks of a chapter, by their exercises' names; none of what is no chapter."""
    if chapter not in _chapters():
        return {}
    module = vars(import_module(f"{__package__}.chapter_{chapter}"))
    return {
        function.removeprefix("check_").replace("_", " "): module[function]
        for function in sorted(module)
        if function.startswith(f"check_{chapter}_")
    }


def names() -> list[str]:
    """The names of all exercises, sorted; it loads the modules of all chapters."""
    return [name for chapter in _chapters() for name in _checks(chapter)]


def check(name: str, answer: Any, *, board: bool = True) -> None:
    """Print the verdict on `answer`; never raise for a wrong or missing one.

    An answer of the wrong kind (text where a number is asked for) is answered with a hint, so a
    chapter runs to its end whatever a learner typed. With `board=False` an entry in an open
    exercise is told its place, but not put on the board: the course's solutions are checked so.

    Raises:
        ValueError: there is no exercise of that name.

    >>> check("02 repair", ...)
    ☐ 02 repair: put your answer in place of the dots, then run this cell again.
    >>> check("02 repair", 0.1)
    ✘ 02 repair: not yet. A function is asked for: give its name, without brackets.
    """
    checks = _checks(str(name).partition(" ")[0])
    if name not in checks:
        raise ValueError(
            f"no exercise is called {name!r}; there are {', '.join(checks or names())}"
        )
    if answer is ...:
        print(f"☐ {name}: put your answer in place of the dots, then run this cell again.")
        return
    on_the_board.set(board)
    try:
        with warnings.catch_warnings():  # a verdict is one line, whatever torch has to say
            warnings.simplefilter("ignore")
            hint, praise = _first(checks[name](answer))
    except Exception as error:  # a learner's function may fail in any way at all
        hint, praise = f"Your answer raised {type(error).__name__}: {error}", ""
        if "object is not callable" in str(error):
            hint = "A function is asked for: give its name, without brackets."
    said = f"✔ {name}: right. {praise}" if hint is None else f"✘ {name}: not yet. {hint}"
    print(said.rstrip())


def _first(hints: Hints) -> tuple[str | None, str]:
    """The first hint, or None and what the check returned."""
    try:
        return next(hints), ""
    except StopIteration as end:
        return None, end.value or ""


# ------------------------------------------------------------------------------ kinds of answers


def is_number(answer: Any) -> bool:
    """Whether it may be one number: no text, no True or False, no list."""
    return not isinstance(answer, (str, bool)) and np.ndim(answer) == 0


def parting(mine: ArrayLike, right: ArrayLike, rtol: float = 1e-5) -> int | None:
    """The first place at which two rows are not the same to rounding; None if there is none."""
    off = np.flatnonzero(~np.isclose(mine, right, rtol=rtol))
    return int(off[0]) if len(off) else None


# ------------------------------------------------------------------------- training in small steps


def one_weight(lr: float, **settings: Any) -> SGD:
    """An optimizer of a single weight, for a scheduler whose rates are all that matters."""
    return SGD([torch.zeros(1, requires_grad=True)], lr=lr, **settings)


def rates_under(answer: Any, *arguments: Any, steps: int, lr: float) -> np.ndarray:
    """The rates of `steps` updates under the scheduler that `answer(optimizer, *arguments)` is.

    Raises:
        TypeError: it is none.
    """

    def make(optimizer: Optimizer) -> Any:
        scheduler = answer(optimizer, *arguments)
        if not callable(getattr(scheduler, "step", None)):
            raise TypeError(f"it must return a scheduler, not {scheduler!r}")
        return scheduler

    return recorded(make, steps, lr)


def rates_used(optimizer: Optimizer) -> list[float]:
    """A list that grows at each `optimizer.step()`, whoever calls it, by the rate in use."""
    rates: list[float] = []
    optimizer.register_step_pre_hook(
        lambda *_: rates.append(float(optimizer.param_groups[0]["lr"]))
    )
    return rates


def update(
    model: nn.Module,
    optimizer: Optimizer,
    batch: tuple[Tensor, Tensor],
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
    clip: float = math.inf,
) -> None:
    """One plain update with the minibatch (x, y), the gradient no longer than `clip`."""
    x, y = batch
    optimizer.zero_grad()
    loss(model(x), y).backward()
    clip_grad_norm_(model.parameters(), clip)
    optimizer.step()


def weights(model: nn.Module) -> Tensor:
    """All weights of a model in one row."""
    return parameters_to_vector(model.parameters()).detach()
