"""Claims that are run: a sentence of the course stands only while its condition holds.

`claim` and `myth` print one line that is the same on every machine, and stop the chapter when
they are wrong. Figures that vary with the machine go inside `[measured: …]`, which the comparison
of stored outputs leaves out. `paired` and `above` compare two sets of runs that shared their seeds.
"""

from dataclasses import dataclass
from math import inf, nan, sqrt
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lrcourse.arguments import refuse

__all__ = ["ClaimError", "Difference", "above", "claim", "measured", "myth", "paired"]


class ClaimError(AssertionError):
    """A sentence of the course that this run does not bear out."""


def _text(name: str, text: object) -> str:
    if not isinstance(text, str) or not text.strip() or "[" in text or "\n" in text:
        refuse(name, text, "one line of text without '['")
    return text


def _verdict(name: str, condition: object) -> bool:
    # An array, a string or a tuple in parentheses would always be true: a claim that cannot fail.
    if not isinstance(condition, (bool, np.bool_)):
        kind = type(condition).__name__
        raise TypeError(
            f"{name} must be one True or False, got {kind} {condition!r}; use .all() or .any()"
        )
    return bool(condition)


def _show(value: object) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (Real, np.number)):
        return f"{float(value):.4g}"
    if isinstance(value, (np.ndarray, list, tuple)):
        return "(" + ", ".join(_show(v) for v in value) + ")"
    return str(value).replace("[", "(").replace("]", ")")


def measured(**figures: object) -> str:
    """Figures of this run, in the one form that the comparison of outputs leaves out.

    >>> measured(ratio=2.03456, steps=100)
    '[measured: ratio = 2.035, steps = 100]'
    """
    if not figures:
        raise ValueError("measured needs at least one figure, as in measured(ratio=2.0)")
    told = [f"{name.replace('_', ' ')} = {_show(value)}" for name, value in figures.items()]
    return f"[measured: {', '.join(told)}]"


def _line(mark: str, text: str, figures: dict[str, Any]) -> str:
    return f"{mark} {text}" + (f"  {measured(**figures)}" if figures else "")


def claim(text: str, condition: bool | np.bool_, **figures: object) -> None:
    """Print `✔ text` when `condition` is true; raise ClaimError when it is not.

    Args:
        text: the sentence that is claimed: one line, no square brackets.
        condition: one True or False (an array raises TypeError).
        **figures: what was measured; shown behind the sentence, never compared.

    >>> claim("Two is less than three", 2 < 3, difference=1)
    ✔ Two is less than three  [measured: difference = 1]
    """
    _text("text", text)
    if not _verdict("condition", condition):
        raise ClaimError(_line("✘ does not hold in this run:", text, figures))
    print(_line("✔", text, figures))


def myth(text: str, *, false_because: bool | np.bool_, **figures: object) -> None:
    """Print `✔ Myth refuted: “text”` when `false_because` holds; raise ClaimError if not.

    Args:
        text: the popular claim, as people state it.
        false_because: one True or False: the observation that contradicts it.
        **figures: what was measured; shown behind the sentence, never compared.

    >>> myth("All numbers are even", false_because=3 % 2 == 1)
    ✔ Myth refuted: “All numbers are even”
    """
    _text("text", text)
    if not _verdict("false_because", false_because):
        raise ClaimError(_line("✘ this run does not contradict:", f"“{text}”", figures))
    print(_line("✔", f"Myth refuted: “{text}”", figures))


@dataclass(frozen=True)
class Difference:
    """A paired difference: `mean` ± `se` (its standard error) over `n` pairs."""

    mean: float
    se: float
    n: int

    @property
    def sigmas(self) -> float:
        """How many standard errors the mean lies from zero, with its sign."""
        if self.se > 0:
            return self.mean / self.se
        return nan if self.mean == 0 else inf * np.sign(self.mean)

    def __str__(self) -> str:
        return f"{self.mean:+.3g} ± {self.se:.2g} (n = {self.n})"


def paired(a: ArrayLike, b: ArrayLike) -> Difference:
    """Mean of `a − b` with its standard error, pair by pair.

    Pairs share their seed, hence their minibatches and first weights, so what the seed does to
    both cancels. The standard error is that of a mean of n differences: s/√n, n − 1 in s.

    Args:
        a, b: shape (n,), the same seeds in the same order, n ≥ 2, all finite.

    Raises:
        ValueError: shapes that differ, fewer than two pairs, a value that is not finite.

    >>> print(paired([1.0, 2.0, 3.0], [0.5, 1.4, 2.7]))
    +0.467 ± 0.088 (n = 3)
    """
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 2:
        raise ValueError(
            f"a and b must be two rows of the same length ≥ 2, got shapes {x.shape} and {y.shape}"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a and b must be finite: say what a diverged run counts as first")
    d = x - y
    return Difference(float(d.mean()), float(d.std(ddof=1) / sqrt(len(d))), len(d))


def above(a: ArrayLike, b: ArrayLike) -> Difference:
    """By how many per cent `a` lies above `b`, pair by pair: mean ± standard error.

    Args:
        a, b: as for `paired`; 100 · (a/b − 1) is taken of each pair.

    Raises:
        ValueError: as `paired`, and where b holds a zero.

    >>> print(above([2.2, 3.3, 4.0], [2.0, 3.0, 4.0]))
    +6.67 ± 3.3 (n = 3)
    """
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if x.shape == y.shape and (y == 0).any():
        raise ValueError("b holds a zero: nothing lies above it by a share")
    share = 100 * (x / y - 1) if x.shape == y.shape else x
    return paired(share, np.zeros(y.shape))
