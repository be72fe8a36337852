"""What a check is made of: a registry of small functions, and the words they answer with."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Hint", "check", "exercise", "names", "number"]

Hint = str | None
_EXERCISES: dict[str, Callable[[Any], Hint]] = {}


def exercise(name: str) -> Callable[[Callable[[Any], Hint]], Callable[[Any], Hint]]:
    """Register the function below as the check of exercise `name`."""

    def register(function: Callable[[Any], Hint]) -> Callable[[Any], Hint]:
        if name in _EXERCISES:
            raise ValueError(f"exercise {name!r} is defined twice")
        _EXERCISES[name] = function
        return function

    return register


def names() -> list[str]:
    """The names of all exercises, sorted."""
    return sorted(_EXERCISES)


def check(name: str, answer: Any) -> None:
    """Print the verdict on `answer`; never raise for a wrong or missing one.

    An answer of the wrong kind (text where a number is asked for) is answered with a hint, so a
    chapter runs to its end whatever a learner typed.

    Raises:
        ValueError: there is no exercise of that name.

    >>> check("demo", ...)
    ☐ demo: put your answer in place of the dots, then run this cell again.
    >>> check("demo", 41)
    ✘ demo: not yet. A little more.
    >>> check("demo", 42)
    ✔ demo: right.
    """
    if name not in _EXERCISES:
        raise ValueError(f"no exercise is called {name!r}; there are {', '.join(names())}")
    if answer is ...:
        print(f"☐ {name}: put your answer in place of the dots, then run this cell again.")
        return
    try:
        hint = _EXERCISES[name](answer)
    except Exception as error:  # a learner's function may fail in any way at all
        hint = f"Your answer raised {type(error).__name__}: {error}"
        if "object is not callable" in str(error):
            hint = "A function is asked for: give its name, without brackets."
    print(f"✔ {name}: right." if hint is None else f"✘ {name}: not yet. {hint}")


def number(answer: Any, right: float, *, rel: float = 0.01, hint: str = "") -> Hint:
    """A hint unless `answer` is a number within `rel` of `right`."""
    if isinstance(answer, (str, bool)) or np.ndim(answer) != 0:
        return "A single number is asked for."
    value = float(answer)
    if math.isfinite(value) and math.isclose(value, right, rel_tol=rel, abs_tol=1e-12):
        return None
    if math.isfinite(value) and right and value / right > 0:
        size = value / right
        for factor, word in ((10, "ten"), (100, "a hundred"), (1000, "a thousand"), (2, "two")):
            if math.isclose(size, factor, rel_tol=rel) or math.isclose(
                size, 1 / factor, rel_tol=rel
            ):
                return f"You are off by a factor of {word}. {hint}".strip()
    return hint or "Try again."


@exercise("demo")
def _(answer: Any) -> Hint:
    return number(answer, 42, rel=0, hint="A little more." if answer < 42 else "A little less.")
