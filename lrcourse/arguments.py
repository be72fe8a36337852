"""What an argument may be, and one wording for what it may not: "steps is 0, expected …".

A kind is a type with a rule: `check_argument("steps", steps, Count)` says nothing, or raises a
ValueError that names the argument, what it got and what is expected. The same kinds stand behind
the fields of schedules, where they are checked without being asked for.
"""

import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, NoReturn, get_args, get_origin

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Count", "Factor", "Flag", "Milestones", "Positive", "Rule", "Share", "Steps"]
__all__ += ["check_argument", "check_array", "refuse", "whole_number"]


class Rule(NamedTuple):
    """What is expected, in words, and whether a value is that."""

    expected: str
    holds: Callable[[Any], bool]


def _whole(value: object) -> bool:
    # True is an integer to Python, but `Linear(0, 1, True)` is a slip and not a length of 1.
    return not isinstance(value, bool) and isinstance(value, Integral)


def _finite(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def _ascending(value: Any) -> bool:
    steps = isinstance(value, list | tuple | range) and all(_whole(m) and m >= 0 for m in value)
    return steps and list(value) == sorted(value)


Steps = Annotated[int, Rule("a whole number >= 0", lambda v: _whole(v) and v >= 0)]
Count = Annotated[int, Rule("a whole number >= 1", lambda v: _whole(v) and v >= 1)]
Factor = Annotated[float, Rule("a finite number >= 0", lambda v: _finite(v) and v >= 0)]
Positive = Annotated[float, Rule("a finite number > 0", lambda v: _finite(v) and v > 0)]
Share = Annotated[float, Rule("a number from 0 to 1", lambda v: _finite(v) and 0 <= v <= 1)]
Flag = Annotated[bool, Rule("True or False", lambda v: isinstance(v, bool))]
Milestones = Annotated[Sequence[int], Rule("ascending whole numbers >= 0", _ascending)]


def whole_number(least: int, most: int | None = None) -> Any:
    """The kind of the whole numbers from `least` to `most`, or without end.

    >>> check_argument("tests", 9, whole_number(1, 8))
    Traceback (most recent call last):
    ValueError: tests is 9, expected a whole number from 1 to 8
    """
    end, told = (math.inf, f">= {least}") if most is None else (most, f"from {least} to {most}")
    rule = Rule(f"a whole number {told}", lambda v: _whole(v) and least <= v <= end)
    return Annotated[int, rule]


def check_argument(name: str, value: Any, kind: Any) -> None:
    """Say nothing when `value` is of a kind, and refuse it when it is not.

    Args:
        name: of the argument, as the caller wrote it.
        value: what it got.
        kind: one of the kinds above, a Literal, or either of them `| None`; others hold no rule.

    Raises:
        ValueError: as `refuse` words it.

    >>> check_argument("mode", "low", Literal["min", "max"])
    Traceback (most recent call last):
    ValueError: mode is 'low', expected 'min' or 'max'
    """
    if NoneType in get_args(kind):
        if value is None:
            return
        kind = get_args(kind)[0]
    rules = getattr(kind, "__metadata__", ())
    if get_origin(kind) is Literal:
        words = " or ".join(map(repr, get_args(kind)))
        rules = (Rule(words, get_args(kind).__contains__),)
    for rule in rules:
        if isinstance(rule, Rule) and not rule.holds(value):
            refuse(name, value, rule.expected)


def check_array(
    name: str, values: ArrayLike, low: float = -np.inf, *, strict: bool = False
) -> NDArray[np.float64]:
    """`values` as an array of float64, all finite, none below `low` (or at it, when `strict`).

    Raises:
        ValueError: as `refuse` words it.

    >>> check_array("noise", [0.1, -1.0], 0)
    Traceback (most recent call last):
    ValueError: noise is [0.1, -1.0], expected finite numbers >= 0
    """
    array = np.asarray(values, dtype=float)
    if not (np.isfinite(array) & ((array > low) if strict else (array >= low))).all():
        limit = "" if low == -np.inf else f" {'>' if strict else '>='} {low:g}"
        refuse(name, values, f"finite numbers{limit}")
    return array


def refuse(name: str, value: Any, expected: str) -> NoReturn:
    """Raise the ValueError of an argument that cannot be used.

    >>> refuse("clip", -1, "a number > 0")
    Traceback (most recent call last):
    ValueError: clip is -1, expected a number > 0
    """
    raise ValueError(f"{name} is {value!r}, expected {expected}")
