"""What moves: small experiments to drag and press, in JupyterLab and on the course's pages.

A widget is one ECMAScript module, `NAME.mjs`, with its formulas on top; all stand on `stage.mjs`.
JupyterLab shows it live. What is stored with a notebook is a still picture with words, for print,
GitHub, and before the cell is run; the course's pages turn that into the live widget, without a
kernel. Nothing is asked of another host.

>>> descent(rate=0.1)
descent(rate=0.1)
"""

import base64
import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import anywidget
import traitlets

from lrcourse.arguments import Flag, Milestones, Positive, Rule, Share, check_argument

__all__ = ["NAMES", "Widget", "bundle", "cloud", "descent", "loop"]

HERE = Path(__file__).parent
Rate = Annotated[float, Rule("a number > 0, at most 1", lambda v: 0 < v <= 1)]
NAMES = ("descent", "cloud", "loop")
"""Of the widgets, in the order of the chapters that show them."""


def bundle(name: str) -> str:
    """A widget's module in one piece, with what it imports from its neighbours before it."""
    text, before = (HERE / f"{name}.mjs").read_text(encoding="utf-8"), ""
    for found in re.finditer(r'^import \{[^}]*\} from "\./(\w+)\.mjs"\n', text, re.MULTILINE):
        text, piece = text.replace(found[0], ""), bundle(found[1])
        before += "" if piece in before else piece
    return before + text


class Widget(anywidget.AnyWidget):
    """A widget and its `state`: what its controls say now, as far as anybody has set it.

    Args:
        name: one of `NAMES`.
        state: with what to begin; for all else the widget has its own values.
    """

    state = traitlets.Dict().tag(sync=True)

    def __init__(self, name: str, **state: Any) -> None:
        self.name, self._esm = name, bundle(name)
        super().__init__(state={key: value for key, value in state.items() if value is not None})

    def __repr__(self) -> str:
        said = (f"{key}={value!r}" for key, value in self.state.items() if key != "models")
        return f"{self.name}({', '.join(said)})"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Live for JupyterLab; and a picture that carries all that a page needs to be live."""
        data, about = super()._repr_mimebundle_(**kwargs) or ({}, {})
        picture = (HERE / f"{self.name}.svg").read_bytes()
        alt = html.escape(" ".join(re.findall(r'aria-label="([^"]*)"', picture.decode())))
        state = html.escape(json.dumps(self.state, ensure_ascii=False))
        data["text/html"] = (
            f'<div class="lr-widget" data-widget="{self.name}" data-state="{state}">'
            f'<img alt="{html.unescape(alt)}" '
            f'src="data:image/svg+xml;base64,{base64.b64encode(picture).decode()}"></div>'
        )
        return data, about


def descent(
    rate: float | None = None,
    momentum: float | None = None,
    land: Literal["parabola", "valley", "two wells"] | None = None,
) -> Widget:
    """Gradient descent to drag: the rate, the momentum, the start.

    Args:
        rate: the learning rate η, > 0.
        momentum: β, 0 … 1.
        land: the landscape: a parabola of curvature 4, a valley, or two wells.
    """
    check_argument("rate", rate, Positive | None)
    check_argument("momentum", momentum, Share | None)
    check_argument("land", land, Literal["parabola", "valley", "two wells"] | None)
    return Widget("descent", land=land, rate=rate, momentum=momentum)


def cloud(
    rate: float | None = None,
    batch: Literal[1, 4, 16, 64] | None = None,
    cuts: Sequence[int] | None = None,
    average: bool | None = None,
) -> Widget:
    """Many noisy runs in a bowl, in which to cut the rate.

    Args:
        rate: the learning rate η, above 0 and at most 1.
        batch: examples behind each gradient: the noise goes with 1/√batch.
        cuts: updates, 0 … 400, at which the rate is cut to a fifth.
        average: whether to show the running averages of the runs' places as well.
    """
    check_argument("rate", rate, Rate | None)
    check_argument("batch", batch, Literal[1, 4, 16, 64] | None)
    check_argument("cuts", cuts, Milestones | None)
    check_argument("average", average, Flag | None)
    return Widget("cloud", rate=rate, batch=batch, cuts=cuts, average=average)


def loop(
    first: Literal["optimizer", "scheduler"] | None = None,
    once: Literal["update", "minibatch", "epoch"] | None = None,
    every: Literal[1, 2, 4] | None = None,
    scaler: bool | None = None,
) -> Widget:
    """The training loop, line by line: which rate each update really gets.

    Args:
        first: whose `step()` comes first.
        once: per what the scheduler steps; "minibatch" differs from "update" for `every` > 1.
        every: minibatches whose gradients are added up for an update.
        scaler: whether a GradScaler leaves one update out.
    """
    check_argument("first", first, Literal["optimizer", "scheduler"] | None)
    check_argument("once", once, Literal["update", "minibatch", "epoch"] | None)
    check_argument("every", every, Literal[1, 2, 4] | None)
    check_argument("scaler", scaler, Flag | None)
    return Widget("loop", first=first, once=once, every=every, scaler=scaler)
