"""Claims that are run: a sentence of the course stands only while its condition holds.

`claim` and `myth` print one line that is the same on every machine, and stop the chapter when
they are wrong. Figures that vary with the machine go inside `[measured: …]`, which the comparison
of stored outputs leaves out. `paired` and `above` compare two sets of runs that shared their seeds.

A *verdict* is what a difference says once a margin is fixed beforehand, and it is computed:
`verdict` takes it from the 95 % interval, and nobody words it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from lrcourse.arguments import Positive, check_argument, refuse

__all__ = ["VERDICTS", "ClaimError", "Difference", "Finding"]
__all__ += ["above", "claim", "measured", "myth", "paired", "verdict"]

VERDICTS = (
    "lower",
    "lower, by less than matters",
    "no difference that matters",
    "higher, by less than matters",
    "higher",
    "not settled",
)
"""All that `verdict` can say."""


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


@dataclass(frozen=True)
class Difference:
    """A paired difference: `mean` ± `se` (its standard error) over `n` pairs."""

    mean: float
    se: float
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        """Student's 95 % interval of the mean (The Probable Error of a Mean, 1908)."""
        half = float(stdtrit(self.n - 1, 0.975)) * self.se
        return self.mean - half, self.mean + half

    @property
    def p_value(self) -> float:
        """How often luck alone gives a mean at least this far from zero: Student's t, two-sided."""
        if self.mean == 0 or self.se == 0:
            return float(self.mean == 0)
        return float(2 * stdtr(self.n - 1, -abs(self.mean) / self.se))

    def __str__(self) -> str:
        return f"{self.mean:+.3g} ± {self.se:.2g} (n = {self.n})"


def verdict(difference: Difference, margin: float) -> str:
    """What the 95 % interval of a difference says: one of `VERDICTS`.

    Wholly above zero is *higher*, wholly below it *lower*, and either *by less than matters* where
    it also lies wholly within the margin. Within the margin and around zero: *no difference that
    matters*. All else is *not settled*: more runs could still say one or the other.

    Args:
        difference: what was measured.
        margin: how large a difference must be to matter, > 0, in the same unit; fixed beforehand.

    >>> verdict(Difference(2.0, 0.1, 16), margin=0.5), verdict(Difference(0.1, 0.1, 16), margin=0.5)
    ('higher', 'no difference that matters')
    """
    check_argument("margin", margin, Positive)
    low, high = difference.interval
    within = -margin < low and high < margin
    if low > 0 or high < 0:
        return ("higher" if low > 0 else "lower") + (", by less than matters" if within else "")
    return "no difference that matters" if within else "not settled"


@dataclass(frozen=True)
class Finding:
    """A question that a recording answers.

    Attributes:
        asks: what is compared, in words.
        difference: by how many per cent the first ends above the second.
        margin: how large a difference must be to matter, in per cent.
        nats: the same difference in nats.
    """

    asks: str
    difference: Difference
    margin: float
    nats: Difference | None = None

    @property
    def verdict(self) -> str:
        """What the interval and the margin say: see `verdict`."""
        return verdict(self.difference, self.margin)

    @property
    def effect(self) -> str:
        """Mean, 95 % interval and number of pairs, in words."""
        low, high = self.difference.interval
        mean, n = self.difference.mean, self.difference.n
        return f"{mean:+.2f} % (95 %: {low:+.2f} … {high:+.2f}, n = {n})"

    def __str__(self) -> str:
        return f"{self.asks}: {self.effect}: {self.verdict}"


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


def _judged(name: str, condition: object, says: str | None, figures: dict[str, Any]) -> bool:
    """Whether a condition holds, or a finding's verdict is the one that the sentence says."""
    if not isinstance(condition, Finding):
        if says is not None:
            refuse("says", says, f"None: it is for a Finding, and {name} is none")
        return _verdict(name, condition)
    check_argument("says", says, Literal[VERDICTS])
    figures |= {"recorded": condition.effect, "verdict": condition.verdict}
    return condition.verdict == says


def claim(
    text: str, condition: bool | np.bool_ | Finding, says: str | None = None, **figures: object
) -> None:
    """Print `✔ text` when `condition` is true; raise ClaimError when it is not.

    Args:
        text: the sentence that is claimed: one line, no square brackets.
        condition: one True or False (an array raises TypeError), or what a recording found.
        says: of a finding the verdict that the sentence puts into words, one of `VERDICTS`; with
            any other verdict the sentence does not stand.
        **figures: what was measured; shown behind the sentence, never compared. A finding brings
            its effect, interval and verdict.

    >>> claim("Two is less than three", 2 < 3, difference=1)
    ✔ Two is less than three  [measured: difference = 1]
    >>> found = Finding("constant above linear", Difference(2.0, 0.1, 16), margin=0.5)
    >>> claim("A constant rate ends higher than a line", found, "higher")
    ✔ A constant rate ends higher than a line  [measured: recorded = +2.00 % (95 %: +1.79 … +2.21, \
n = 16), verdict = higher]
    """
    _text("text", text)
    if not _judged("condition", condition, says, figures):
        raise ClaimError(_line("✘ does not hold in this run:", text, figures))
    print(_line("✔", text, figures))


def myth(
    text: str,
    *,
    false_because: object = None,
    true_when: Mapping[str, object] | None = None,
    not_settled: Finding | None = None,
    says: str | None = None,
    **figures: object,
) -> None:
    """Print what became of a popular claim; raise ClaimError where this run does not bear that out.

    Args:
        text: the popular claim, as people state it.
        false_because: the observation that contradicts it: one True or False, or a finding.
        true_when: the case in which it is true → the observation, or finding, that shows it.
        not_settled: the finding that leaves it open.
        says: of a finding the verdict that this ending asks for, one of `VERDICTS`.
        **figures: as for `claim`.

    >>> myth("All numbers are even", false_because=3 % 2 == 1)
    ✔ Myth refuted: “All numbers are even”
    >>> myth("Numbers are even", true_when={"they are doubled": 2 * 3 % 2 == 0})
    ✔ Myth, true when they are doubled: “Numbers are even”
    """
    _text("text", text)
    if sum(end is not None for end in (false_because, true_when, not_settled)) > 1:
        refuse("the endings of a myth", "more than one", "one: it is refuted, true when, or open")
    name, ending, observed = "false_because", "Myth refuted", false_because
    if true_when is not None:
        ((case, observed),) = true_when.items()
        name, ending = "true_when", f"Myth, true when {_text('true_when', case)}"
    elif not_settled is not None:
        name, ending = "not_settled", "Myth, not settled"
        observed, says = not_settled, "not settled"
    if not _judged(name, observed, says, figures):
        contradicts = "✘ this run does not contradict:"
        mark = contradicts if name == "false_because" else f"✘ not so in this run: {ending}:"
        raise ClaimError(_line(mark, f"“{text}”", figures))
    print(_line("✔", f"{ending}: “{text}”", figures))
