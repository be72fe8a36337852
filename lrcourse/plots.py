"""Every figure of the course, in one style.

Each function takes plain arrays, draws, and returns a `Picture`: shown by Jupyter as a PNG with its
alternative text, open to your own additions through `.figure`.
Curves differ in colour (Okabe and Ito's palette, safe for colour-blind readers) *and* in line
style, so that a print in grey still tells them apart.
"""

import base64
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from textwrap import fill
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike
from PIL import Image

from lrcourse.arguments import check_argument, refuse
from lrcourse.evidence import Finding

__all__ = ["Picture", "charts", "contours", "forest", "lines", "panels", "picture"]
__all__ += ["terrain", "u_curve"]

_Limits = tuple[float | None, float | None] | None
_Range = tuple[float, float]
_Surface = Callable[[np.ndarray], np.ndarray]

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#8C6D00", "#000000"]
DASHES: list[Any] = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)), (0, (1, 1))]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
STYLE: dict[str, Any] = {
    **mpl.rc_params_from_file(Path(__file__).with_name("course.mplstyle"), False, False),
    "axes.prop_cycle": cycler(color=COLOURS, linestyle=DASHES),
}
NO_GRID, NO_LAYOUT = {"axes.grid": False}, {"figure.constrained_layout.use": False}


@dataclass(frozen=True)
class Picture:
    """A finished figure and the words that stand for it where it cannot be seen."""

    figure: Figure
    alt: str

    def png(self) -> bytes:
        """The picture as PNG in 256 colours, a third of the size; the same bytes each time."""
        full, small = io.BytesIO(), io.BytesIO()
        # Saving gives a figure without a layout engine the default one: that must be none as well.
        with mpl.rc_context(STYLE | NO_LAYOUT):
            self.figure.savefig(full, format="png")
        with Image.open(full) as image:
            image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "png")
        return small.getvalue()

    def signed(self, note: str) -> "Picture":
        """The same picture above a note in small grey letters, which says where it is from."""
        note = f"{self.figure.get_supxlabel()}\n{note}".lstrip()
        self.figure.supxlabel(note, fontsize=10.5, color="#555555", x=0.99, ha="right")
        return self

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        width, height = (int(100 * inches) for inches in self.figure.get_size_inches())
        data = {"image/png": base64.b64encode(self.png()).decode(), "text/plain": self.alt}
        return data, {"image/png": {"alt": self.alt, "width": width, "height": height}}


@contextmanager
def picture(alt: str, title: str, height: float, **style: Any) -> Iterator[Picture]:
    """A white picture in the course's style, to be drawn on.

    Args:
        alt: what the figure shows, in words.
        title: the message of the figure, which stands above it.
        height: in inches, without the title; it is 7 wide.
        **style: settings of matplotlib's, beside the course's own.
    """
    if not isinstance(alt, str) or len(alt.split()) < 4:
        refuse("alt", alt, "words that say what the figure shows")
    if not isinstance(title, str):
        refuse("title", title, "the message of the figure, in words")
    message = fill(title, 58)
    with mpl.rc_context(STYLE | style):
        figure = Figure(figsize=(7, height + 0.28 * len(message.splitlines())))
        if message:
            figure.suptitle(message, x=0.01, ha="left", fontsize=15)
        yield Picture(figure, " ".join(alt.split()))


def _over_rates(figure: Figure) -> tuple[Axes, Axes]:
    """Two panels over one x-axis, the lower one for the learning rate."""
    top, bottom = figure.subplots(2, sharex=True, height_ratios=[2.2, 1])
    bottom.set_ylabel("learning rate")
    return top, bottom


def _some(name: str, curves: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(curves, Mapping) or not curves:
        refuse(name, curves, "at least one name with its values")
    return curves


def _xy(curve: Any) -> tuple[np.ndarray, np.ndarray]:
    """A curve is `values`, or `(x, values)`; x is 0, 1, 2, … where it is not given."""
    given = isinstance(curve, tuple) and len(curve) == 2
    x, y = (np.asarray(v, float) for v in (curve if given else (range(len(curve)), curve)))
    if x.ndim != 1 or x.shape != y.shape:
        refuse("the shapes of a curve", (x.shape, y.shape), "x and values of one length")
    return x, y


def _scale(axes: Axes, log: str) -> None:
    check_argument("log", log, Literal["", "x", "y", "xy"])
    for name in log:
        axis = getattr(axes, f"{name}axis")
        getattr(axes, f"set_{name}scale")("log")
        low, high = sorted(getattr(axes, f"get_{name}lim")())
        if high < 150 * low:  # so few powers of ten that they alone would label next to nothing
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())


_PLAIN = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1}  # behind words


def _references(axes: Axes, across: Mapping[str, float], down: Mapping[str, float]) -> None:
    """Thin grey lines at values that theory names, each with its name beside it."""
    line: dict[str, Any] = {"color": "#555555", "lw": 1.2, "linestyle": (0, (2, 2)), "zorder": 1}
    curves = [np.asarray(curve.get_ydata(), float) for curve in axes.lines]
    for name, value in across.items():
        axes.axhline(value, **line)
        first, last = (min([abs(c[end] - value) for c in curves], default=0) for end in (0, -1))
        edge, by = (0, 2) if first > last else (1, -2)  # the name stands where no curve is near
        _note(axes, name, (edge, value), ("axes fraction", "data"), (by, -5), bbox=dict(_PLAIN))
    for name, value in down.items():
        axes.axvline(value, **line)
        at = axes.transData.transform((value, axes.get_ylim()[0]))
        left = axes.transAxes.inverted().transform(at)[0] > 0.6  # keep the name inside the axes
        _note(axes, name, (value, 1), ("data", "axes fraction"), (-5 if left else 5, -3))


def _note(axes: Axes, name: str, at: Any, kind: Any, offset: tuple[int, int], **how: Any) -> None:
    """A name beside the point `at`, in coordinates of that `kind`: before it, or after."""
    side = "right" if offset[0] < 0 else "left"
    axes.annotate(
        name, at, xycoords=kind, xytext=offset, textcoords="offset points",
        ha=side, va="top", color="#333333", fontsize=11, **how,
    )  # fmt: skip


def _finish(
    axes: Axes,
    y: str,
    log: str,
    across: Mapping[str, float] | None = None,
    down: Mapping[str, float] | None = None,
) -> None:
    """What comes when all curves are drawn; their names, where there are several."""
    _scale(axes, log)
    _references(axes, across or {}, down or {})
    axes.set_ylabel(y)
    named = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
    if len(named) > 1 and not _name_ends(axes, named):
        axes.legend(loc="best", ncols=2 if len(named) > 5 else 1)


def _name_ends(axes: Axes, curves: Sequence[Line2D]) -> bool:
    """Write each curve's name at its end; False where they do not all end at the right, with room.

    Names stand a line apart: curves that end close together have theirs pushed up and down a bit.
    """
    names = [str(curve.get_label()) for curve in curves]
    data = [np.asarray(curve.get_xydata(), float) for curve in curves]
    dots = any(curve.get_linestyle() == "None" for curve in curves)
    if dots or min(map(len, data)) < 2 or max(map(len, names)) > 20:
        return False
    axes.autoscale_view()  # otherwise the limits are found when the figure is drawn
    ends = axes.transData.transform([points[-1] for points in data])
    across, up = axes.transAxes.inverted().transform(ends).T
    order, gap = np.argsort(up), 16 / 72 * axes.figure.dpi / axes.bbox.height
    steps = gap * np.arange(len(up))
    rising, level = up[order] - steps, np.empty(len(up))
    lowest, highest = np.maximum.accumulate(rising), np.minimum.accumulate(rising[::-1])[::-1]
    level[order] = (lowest + highest) / 2 + steps
    inside = (up >= 0) & (up <= 1) & (across > 0.9) & (across > across.max() - 0.02)
    if not (inside & (abs(level - up) < 1.2 * gap)).all():  # not a number is not inside
        return False
    for curve, name, points, height in zip(curves, names, data, level, strict=True):
        axes.annotate(
            name, (points[-1][0], height), xycoords=axes.get_xaxis_transform(), xytext=(6, 0),
            textcoords="offset points", va="center", annotation_clip=False, fontsize=11.5,
            color=[0.65 * part for part in to_rgb(curve.get_color())],
        )  # fmt: skip
    return True


def lines(
    curves: Mapping[str, Any],
    *,
    x: str,
    y: str,
    alt: str,
    title: str = "",
    log: str = "",
    rates: Mapping[str, Any] | None = None,
    across: Mapping[str, float] | None = None,
    down: Mapping[str, float] | None = None,
    markers: bool = False,
    dots: Mapping[str, Any] | None = None,
    errors: Mapping[str, ArrayLike] | None = None,
    ylim: _Limits = None,
) -> Picture:
    """Curves over one axis; with `rates`, the learning rate in a panel below, sharing the x-axis.

    Args:
        curves: name → values, or name → (x, values).
        x, y: axis labels, with units.
        alt: what the figure shows, in words.
        title: the message of the figure, such as "Half the rate, half the floor".
        log: which axes are logarithmic: "", "x", "y" or "xy".
        rates: name → learning rates, drawn in the same colours as the curves of the same order.
        across, down: name → value of a horizontal or vertical reference line.
        markers: mark each point, for curves of few points.
        dots: name → points without a line between them, in the colours of the curves of the same
            order: what was measured, on curves that theory gives.
        errors: name of a curve or of dots → half the height of the bar through each of its points.
        ylim: limits of the y-axis; None leaves a side free.

    >>> lines({"x²": [0, 1, 4]}, x="x", y="y", alt="A parabola that starts at zero.").alt
    'A parabola that starts at zero.'
    """
    _some("curves", curves)
    dots = dots or {}
    with picture(alt, title, 4.0 if rates is None else 5.2) as made:
        if rates is None:
            top = bottom = made.figure.subplots()
        else:
            top, bottom = _over_rates(made.figure)
            for name, rate in rates.items():
                bottom.plot(*_xy(rate), label=name)
        for (name, curve), marker in zip(curves.items(), cycle(MARKERS), strict=False):
            top.plot(*_xy(curve), label=name, marker=marker if markers else None, markersize=6)
        marks = zip(dots.items(), cycle(MARKERS), cycle(COLOURS), strict=False)
        for (name, points), marker, colour in marks:
            top.plot(*_xy(points), marker, color=colour, label=name, markersize=9)
        drawn = dict(zip([*curves, *dots], top.lines, strict=True))
        for name, halves in (errors or {}).items():
            if name not in drawn:
                refuse("a name in errors", name, f"one of {', '.join(drawn)}")
            at, colour = drawn[name].get_data(), drawn[name].get_color()
            top.errorbar(at[0], at[1], halves, fmt="none", ecolor=colour, capsize=5)
        if ylim:
            top.set_ylim(*ylim)
        _finish(top, y, log, across, down)
        bottom.set_xlabel(x)
    return made


def forest(
    findings: Mapping[str, Finding],
    *,
    x: str,
    alt: str,
    title: str = "",
    dots: Mapping[str, ArrayLike] | None = None,
) -> Picture:
    """What several comparisons came to: a row each, with its 95 % interval and its verdict.

    Grey is the margin within which a difference does not matter. A filled point is settled: higher,
    lower, or no difference that matters; an open one is not.

    Args:
        findings: what stands at the left of a row → what was found.
        x: label of the axis, with its unit, and which side is the better one.
        alt: what the figure shows, in words.
        title: the message of the figure.
        dots: the same name → what single live runs gave, drawn as short strokes.

    >>> from lrcourse.evidence import Difference
    >>> found = {"constant": Finding("constant above linear", Difference(2.0, 0.2, 16), 0.5)}
    >>> forest(found, x="% above linear", alt="The constant rate ends higher.").alt
    'The constant rate ends higher.'
    """
    rows = len(_some("findings", findings))
    # Many rows stand closer, so that a slide can show them all.
    with picture(alt, title, 1.0 + (0.56 if rows <= 10 else 0.46) * rows) as made:
        axes = made.figure.subplots()
        for y, (name, found) in enumerate(findings.items()):
            mean, margin = found.difference.mean, found.margin
            face = "white" if found.verdict == "not settled" else COLOURS[0]
            axes.fill_between([-margin, margin], y, y + 0.4, color="#DDDDDD", lw=0, zorder=0)
            axes.plot(found.difference.interval, [y + 0.2, y + 0.2], "-", color=COLOURS[0])
            axes.plot(mean, y + 0.2, "o", color=COLOURS[0], markerfacecolor=face, markersize=8)
            live = np.asarray((dots or {}).get(name, ()), float)
            (strokes,) = axes.plot(
                live, [y + 0.2] * len(live), "|", color=COLOURS[1], markersize=13
            )
            verdict = f"{mean:+.2f} %: {found.verdict}"
            for at, side, told in ((0.005, "left", name), (0.995, "right", verdict)):
                how: Any = {"transform": axes.get_yaxis_transform(), "bbox": dict(_PLAIN)}
                axes.text(at, y - 0.22, told, ha=side, va="center", fontsize=11, **how)
        if dots:
            axes.legend([strokes], ["single live pairs"], loc="lower right", bbox_to_anchor=(1, 1))
        axes.axvline(0, color="#555555", lw=1.2, linestyle="-", zorder=1)
        axes.spines["left"].set_visible(False)
        axes.set_yticks([])
        axes.set_ylim(len(findings) - 0.5, -0.5)
        axes.set_xlabel(x)
    return made


def panels(
    curves: Mapping[str, Any], *, x: str, y: str, alt: str, title: str = "", ylim: _Limits = None
) -> Picture:
    """Many curves side by side, each in a small panel under its name, all to one scale.

    Args:
        curves: name → values, or name → (x, values).
        x, y, alt, title, ylim: as in `lines`; the labels stand once for all.
    """
    rows = -(-len(_some("curves", curves)) // 4)
    small = {"xtick.labelsize": 10, "ytick.labelsize": 10}
    with picture(alt, title, 0.6 + 1.4 * rows, **small) as made:
        figure = made.figure
        grid = figure.subplots(rows, 4, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, (name, curve) in zip(grid, curves.items(), strict=False):
            points, values = _xy(curve)
            axes.plot(points, values, color=COLOURS[0], linestyle="-")
            axes.fill_between(points, values, color=COLOURS[0], alpha=0.15, lw=0)
            axes.set_title(name, fontsize=10.5, loc="left", pad=3, linespacing=1.05)
        for axes in grid[len(curves) :]:
            axes.set_axis_off()
        if ylim:
            grid[0].set_ylim(*ylim)
        figure.supxlabel(x, fontsize=13)
        figure.supylabel(y, fontsize=13)
    return made


def charts(
    columns: Mapping[str, Mapping[str, Any]],
    *,
    x: str,
    alt: str,
    title: str = "",
    grey: Mapping[str, Mapping[str, Any]] | None = None,
    log: Sequence[str] = (),
) -> Picture:
    """Several quantities of several runs: a column a run, a row a quantity, each row to one scale.

    Args:
        columns: name of the run → label of the quantity, with its unit → curve. All runs have the
            quantities of the first.
        x: label of the shared x-axis, with its unit.
        alt: what the figure shows, in words.
        title: the message of the figure.
        grey: the same for runs to compare with, drawn behind as thick grey lines.
        log: labels of the quantities that are drawn on a logarithmic axis.
    """
    rows = list(next(iter(_some("columns", columns).values())))
    small = {"xtick.labelsize": 10.5, "ytick.labelsize": 10.5}
    with picture(alt, title, 0.6 + (1.45 if len(rows) > 3 else 1.9) * len(rows), **small) as made:
        figure = made.figure
        grid = figure.subplots(len(rows), len(columns), sharex=True, sharey="row", squeeze=False)
        for column, (name, curves) in zip(grid.T, columns.items(), strict=True):
            column[0].set_title(name, loc="left")
            for axes, row in zip(column, rows, strict=True):
                if grey and name in grey:
                    axes.plot(*_xy(grey[name][row]), color="#BBBBBB", linestyle="-", linewidth=5)
                axes.plot(*_xy(curves[row]), color=COLOURS[0], linestyle="-", linewidth=1.7)
        for first, row in zip(grid[:, 0], rows, strict=True):
            first.set_ylabel(row, fontsize=12)
            _scale(first, "y" if row in log else "")
        figure.align_ylabels()
        figure.supxlabel(x, fontsize=13)
    return made


def u_curve(
    frame: pd.DataFrame,
    *,
    y: str,
    alt: str,
    title: str = "",
    x: str = "peak learning rate",
    by: str | None = None,
    value: str = "loss",
    log: str = "xy",
    down: Mapping[str, float] | None = None,
) -> Picture:
    """What the peak rate does to a result: the mean over seeds, and a band from lowest to highest.

    Peaks at which some seed diverged get a cross at the top of the figure instead of a point.

    Args:
        frame: one row a run, as `sweeps.sweep` gives: columns `peak`, `value` and `by`.
        x, y: labels of the axes, with units.
        alt: what the figure shows, in words.
        title: the message of the figure.
        by: the column that tells the curves apart; None for one curve.
        value: the column that is drawn.
        log: which axes are logarithmic.
        down: name → value of a vertical reference line.
    """
    groups = frame.groupby(by, sort=False) if by else [(None, frame)]
    with picture(alt, title, 4.2) as made:
        axes = made.figure.subplots()
        for (name, rows), marker in zip(groups, cycle(MARKERS), strict=False):
            ends = rows.groupby("peak")[value]
            lost = ends.agg(lambda v: not np.isfinite(v).all()).astype(bool)
            kept = ends.agg(["mean", "min", "max"])[~lost]
            label = None if name is None else str(name)
            (line,) = axes.plot(kept.index, kept["mean"], marker=marker, label=label)
            colour = line.get_color()
            axes.fill_between(kept.index, kept["min"], kept["max"], color=colour, alpha=0.2, lw=0)
            crosses, top = lost.index[lost], axes.get_xaxis_transform()
            heights = np.full(len(crosses), 0.97)
            axes.plot(crosses, heights, "X", color=colour, markersize=9, transform=top)
        _finish(axes, y, log, down=down)
        axes.set_xlabel(x)
    return made


def _grid(
    surface: _Surface, x: _Range, y: _Range, points: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    across, up = np.meshgrid(np.linspace(*x, points), np.linspace(*y, points))
    return across, up, surface(np.stack([across, up], axis=-1))


def terrain(
    surface: _Surface,
    *,
    x: _Range,
    y: _Range,
    alt: str,
    title: str = "",
    path: ArrayLike | None = None,
    minimum: tuple[float, float] | None = None,
) -> Picture:
    """A loss over two parameters, drawn as a landscape; higher is lighter.

    Args:
        surface: points of shape (…, 2) → losses of shape (…).
        x, y: the range of each parameter.
        alt: what the figure shows, in words.
        title: the message of the figure.
        path: points of shape (steps, 2) to draw on the landscape.
        minimum: where to put a star.
    """
    across, up, height = _grid(surface, x, y, 80)
    with picture(alt, title, 5, **NO_GRID) as made:
        axes: Any = made.figure.subplots(subplot_kw={"projection": "3d", "computed_zorder": False})
        axes.plot_surface(across, up, height, cmap="cividis", rstride=2, cstride=2, alpha=0.9)
        if path is not None:
            points = np.asarray(path, dtype=float)
            axes.plot(*points.T, surface(points), "o-", color="white", ms=8, lw=4.5, zorder=5)
            axes.plot(*points.T, surface(points), "o-", color="#D55E00", ms=5, lw=2.2, zorder=6)
        if minimum:
            axes.plot(*minimum, surface(np.array(minimum)), "*k", mec="white", ms=17, zorder=7)
        axes.set_xlabel("x", labelpad=4)
        axes.set_ylabel("y", labelpad=2)
        axes.set_zlabel("loss", labelpad=4)
        axes.locator_params(nbins=4)
        axes.view_init(elev=45, azim=-25)  # from the open end of a valley along x
        axes.set_box_aspect((5, 3.4, 2.6), zoom=0.93)
    return made


def contours(
    surface: _Surface,
    paths: Mapping[str, ArrayLike],
    *,
    x: _Range,
    y: _Range,
    alt: str,
    title: str = "",
    minimum: tuple[float, float] | None = None,
) -> Picture:
    """The landscape seen from above: lines of equal loss, and the paths that descents took.

    Args:
        surface: points of shape (…, 2) → losses of shape (…).
        paths: name → points of shape (steps, 2).
        x, y: the range of each parameter.
        alt: what the figure shows, in words.
        title: the message of the figure.
        minimum: where to put a star.
    """
    across, up, height = _grid(surface, x, y, 200)
    floor = np.nanmin(height)
    # Levels that are even in the square root lie evenly on a parabola's slope.
    levels = floor + (np.nanmax(height) - floor) * np.linspace(0.02, 1, 16) ** 2
    with picture(alt, title, 4.6, **NO_GRID) as made:
        axes = made.figure.subplots()
        axes.contourf(across, up, height, levels=[floor, *levels], cmap="Greys", alpha=0.35)
        axes.contour(across, up, height, levels=levels, colors="#888888", linewidths=0.7)
        for (name, path), marker in zip(paths.items(), cycle(MARKERS), strict=False):
            points = np.asarray(path, dtype=float)
            axes.plot(*points.T, marker=marker, ms=5, lw=1.8, label=name)
        if minimum:
            axes.plot(*minimum, "*", color="black", ms=14, zorder=6)
        axes.set(xlim=x, ylim=y, xlabel="first parameter", ylabel="second parameter")
        if len(paths) > 1:
            axes.legend(loc="upper right", frameon=True, framealpha=0.9, edgecolor="white")
    return made
