"""What moves: small experiments to drag and press, in JupyterLab and on the course's pages.

A widget is one ECMAScript module, `NAME.mjs`, with its formulas on top; all stand on `stage.mjs`.
JupyterLab shows it live. What is stored with a notebook is a still picture with words, and with the
code that the widget makes: for print, GitHub, and before the cell is run. The course's pages turn
that into the live widget, without a kernel. Nothing is asked of another host.

>>> descent(rate=0.1)
descent(rate=0.1)
"""

import html
import json
import re
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import anywidget
import traitlets

from lrcourse.arguments import Count, Flag, Milestones, Positive, Rule, Share, Steps, check_argument
from lrcourse.chapters.recipes import recipes

__all__ = ["NAMES", "Widget", "bundle", "cloud", "descent", "explorer", "loop", "plateau"]

HERE = Path(__file__).parent
_Rate = Annotated[float, Rule("a number > 0, at most 1", lambda v: 0 < v <= 1)]
NAMES = ("descent", "cloud", "loop", "plateau", "explorer")
"""Of the widgets, in the order of the chapters that show them."""


def bundle(name: str) -> str:
    """A widget's module in one piece: each neighbour stands where it is imported."""

    def inlined(found: re.Match[str]) -> str:
        text = bundle(found[2])
        public = ", ".join(re.findall(r"^export (?:const|function) (\w+)", text, re.MULTILINE))
        text = re.sub("^export ", "", text, flags=re.MULTILINE)
        return f"const {found[1]} = (() => {{\n{text}\nreturn {{ {public} }}\n}})()\n"

    text = (HERE / f"{name}.mjs").read_text(encoding="utf-8")
    return re.sub(r'^import (.*) from "\./(\w+)\.mjs"\n', inlined, text, flags=re.MULTILINE)


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
        return f"{self.name}({_arguments(self._given())})"

    def _given(self) -> dict[str, Any]:
        return {key: value for key, value in self.state.items() if key != "models"}

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Live for JupyterLab; and a picture that carries all that a page needs to be live."""
        data, about = super()._repr_mimebundle_(**kwargs) or ({}, {})
        picture, shows, code = _still(self.name, self._given())
        alt = " ".join(re.findall(r'aria-label="([^"]*)"', picture))
        state = html.escape(json.dumps(self.state, ensure_ascii=False))
        source = f"data:image/svg+xml;base64,{b64encode(picture.encode()).decode()}"
        still = f'<img alt="{alt}" src="{source}">'
        text = f"<pre>{html.escape(code)}</pre>" if code else ""
        note = f"<p><em>{html.escape(shows)}</em></p>"
        box = f'class="lr-widget" data-widget="{self.name}" data-state="{state}"'
        data["text/html"] = f"<div {box}>{still}{text}{note}</div>"
        return data, about


def _still(name: str, given: dict[str, Any]) -> tuple[str, str, str]:
    """Of a widget's still pictures, the nearest to what is given; what it shows; and its code."""

    def read(path: Path) -> tuple[str, dict[str, Any]]:
        before, about, after = re.split("</?metadata>", path.read_text(encoding="utf-8"))
        return before + after, json.loads(html.unescape(about))

    def other(about: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in given.items() if about["state"].get(key) != value}

    paths = sorted(HERE.glob(f"{name}.*svg"), key=lambda path: len(path.name))  # the usual first
    stills = [read(path) for path in paths]
    picture, about = min(stills, key=lambda still: len(other(still[1])))
    said = {key: about["state"][key] for key in get_type_hints(globals()[name]) if key != "return"}
    missed = f", not with {_arguments(other(about))}" if other(about) else ""
    note = (
        f"A still picture of something to try, drawn with {_arguments(said)}{missed}. It comes "
        "alive on the course's pages, with JavaScript, and in JupyterLab when its cell is run."
    )
    return picture, note, about["code"]


def _arguments(values: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in values.items())


def _shown(function: Callable[..., Widget], given: dict[str, Any]) -> Widget:
    """The widget of that name; each argument is checked by the kind that the function declares."""
    for key, kind in get_type_hints(function, include_extras=True).items():
        check_argument(key, given.get(key), kind)
    return Widget(function.__name__, **given)


def descent(
    rate: Positive | None = None,
    momentum: Share | None = None,
    land: Literal["parabola", "valley", "two wells"] | None = None,
) -> Widget:
    """Gradient descent to drag: the rate, the momentum, the start.

    Args:
        rate: the learning rate η, > 0.
        momentum: β, 0 … 1.
        land: the landscape: a parabola of curvature 4, a valley, or two wells.
    """
    return _shown(descent, locals())


def cloud(
    rate: _Rate | None = None,
    batch: Literal[1, 4, 16, 64] | None = None,
    cuts: Milestones | None = None,
    average: Flag | None = None,
) -> Widget:
    """Many noisy runs in a bowl, in which to cut the rate.

    Args:
        rate: the learning rate η, above 0 and at most 1.
        batch: examples behind each gradient: the noise goes with 1/√batch.
        cuts: updates, 0 … 400, at which the rate is cut to a fifth.
        average: whether to show the running averages of the runs' places as well.
    """
    return _shown(cloud, locals())


def loop(
    first: Literal["optimizer", "scheduler"] | None = None,
    once: Literal["update", "minibatch", "epoch"] | None = None,
    every: Literal[1, 2, 4] | None = None,
    scaler: Flag | None = None,
) -> Widget:
    """The training loop, line by line: which rate each update really gets.

    Args:
        first: whose `step()` comes first.
        once: per what the scheduler steps; "minibatch" differs from "update" for `every` > 1.
        every: minibatches whose gradients are added up for an update.
        scaler: whether a GradScaler leaves one update out.
    """
    return _shown(loop, locals())


def explorer(peak: Positive | None = None, total: Count | None = None) -> Widget:
    """A schedule to compose or draw, and to copy for PyTorch, transformers, Keras or plain Python.

    Args:
        peak: the rate at factor 1.
        total: updates in the run.
    """
    models = _named_models()
    return _shown(explorer, locals())


def _named_models() -> list[list[Any]]:
    """Those whose curve is known: [model, year, family, stages]."""
    known = recipes().query("stages != ''").reset_index()
    return known[["model", "year", "family", "stages"]].to_numpy().tolist()


def plateau(patience: Steps | None = None, noise: Share | None = None) -> Widget:
    """A scheduler that listens to a noisy metric: when it cuts, and when a run would be stopped.

    Args:
        patience: evaluations in a row that may bring nothing better.
        noise: the error of the metric, as a share of it.
    """
    return _shown(plateau, locals())
