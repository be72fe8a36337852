"""Every figure has its words, the same bytes twice, and curves that grey tells apart."""

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lrcourse import plots
from lrcourse.chapters.reading import readings
from lrcourse.evidence import Difference, Finding
from lrcourse.landscapes import Quadratic

FOUND = {
    "sure": Finding("a instead of b", Difference(2.0, 0.1, 16), margin=0.5),
    "open": Finding("a instead of c", Difference(0.4, 0.5, 16), margin=0.5),
}


def pictures():
    words: dict[str, str] = {"alt": "Words that say what is seen.", "title": "What it says"}
    bowl, box = Quadratic([1.0, 4.0]), {"x": (-1, 1), "y": (-1, 1)}
    frame = pd.DataFrame(
        {"peak": [0.1, 0.1, 1.0, 1.0, 10.0, 10.0], "loss": [3, 4, 1, 1, 2, np.nan]}
    )
    return {
        "lines": plots.lines(
            {"a": [1, 2], "b": ([0, 9], [3, 1])},
            x="x",
            y="y",
            **words,
            log="y",
            rates={"a": [1, 1]},
            across={"1": 1},
            down={"2": 2},
        ),
        "forest": plots.forest(FOUND, x="per cent", **words),
        "panels": plots.panels(
            {"a": [1, 2], "b": ([0, 9], [3, 1])}, x="x", y="y", **words, ylim=(0, 4)
        ),
        "charts": plots.charts(
            {"a": {"rate": [1, 2], "loss": [2, 1]}},
            x="x",
            **words,
            grey={"a": {"rate": [1, 1], "loss": [3, 1]}},
            log=["loss"],
        ),
        "u_curve": plots.u_curve(frame, y="loss", **words),
        "terrain": plots.terrain(bowl, **words, path=[[1, 1], [0, 0]], minimum=(0, 0), **box),
        "contours": plots.contours(
            bowl, {"a": [[1, 1], [0, 0]], "b": [[1, 0]]}, **words, minimum=(0, 0), **box
        ),
        "readings": readings(np.ones((2, 8, 8)), [1, 2], {"a": [1, 1]}, **words),
    }


@pytest.mark.slow
def test_every_figure_is_drawn_with_its_words_and_the_same_bytes_twice():
    first, second = pictures(), pictures()
    assert set(first) == set(plots.__all__) - {"Picture", "picture"} | {"readings"}
    for name, picture in first.items():
        assert picture.png() == second[name].png(), name
        data, metadata = picture._repr_mimebundle_()
        assert data["text/plain"] == metadata["image/png"]["alt"] == "Words that say what is seen."
        assert json.dumps(data) and picture.png().startswith(b"\x89PNG")
        assert b"matplotlib" not in picture.png().lower()
        assert isinstance(picture.figure, Figure)
        assert picture.figure.get_suptitle() == "What it says"


def test_a_long_title_takes_lines_and_room_of_its_own():
    title = "After a cut the loss falls at the pace of the new rate, and not of the old one"
    plain, said = (
        plots.lines({"a": [1, 2]}, x="x", y="y", alt="One line that rises.", title=words).figure
        for words in ("", title)
    )
    assert said.get_suptitle().replace("\n", " ") == title
    assert said.get_figheight() > plain.get_figheight() and plain.get_suptitle() == ""


def ends(curves, **how):
    """The names written at the ends of curves, with their heights; {} where a legend has them."""
    axes = plots.lines(curves, x="x", y="y", alt="Curves side by side.", **how).figure.axes[0]
    assert (axes.get_legend() is None) == bool(axes.texts)
    return {text.get_text(): text.xyann and text.xy[1] for text in axes.texts}


def test_curves_are_named_at_their_ends_where_there_is_room():
    apart = ends({"a": [1, 2], "b": [1, 0]})
    assert apart["a"] > 0.9 and apart["b"] < 0.1
    near = ends({"a": [9, 2], "b": [0, 1.95]})
    assert 0.04 < near["a"] - near["b"] < 0.1, "pushed apart by a line"
    for crowd in (
        {"a": [0, 1], "b": [0, 1.01], "c": [0, 1.02], "d": [9, 1.03]},  # four lines of text
        {"a": [0, 1], "b": [0, 1, 2]},  # one ends before the other
        {"a": [0, 1], "b": [2, np.nan]},
        {"a": [0, 1], "b with a name that fills the page": [2, 3]},
    ):
        assert ends(crowd) == {}
    assert ends({"a": [0, 1], "b": [0, 5]}, ylim=(0, 2)) == {}, "an end outside the picture"
    assert ends({"a": [0, 1]}, dots={"b": [0, 1]}) == {}, "points are no curve with an end"


def test_curves_differ_without_colour():
    curves = {str(i): [i, i] for i in range(7)}
    axes = plots.lines(curves, x="x", y="y", alt="Seven flat lines here.").figure.axes[0]
    assert len({str(line._dash_pattern) for line in axes.lines}) == 7


def test_a_forest_tells_what_is_settled_from_what_is_not():
    axes = plots.forest(FOUND, x="per cent", alt="One sure, one open.").figure.axes[0]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_markerfacecolor() == "white" for line in points] == [False, True]
    low, high = axes.lines[0].get_xdata()
    assert (low, high) == pytest.approx(FOUND["sure"].difference.interval)
    words = [text.get_text() for text in axes.texts]
    assert words == ["sure", "+2.00 %: higher", "open", "+0.40 %: not settled"]


def test_error_bars_stand_on_their_curve():
    curves = {"a": ([1, 2], [10, 20]), "b": ([1, 2], [3, 4])}
    words = {"x": "x", "y": "y", "alt": "Two curves, one with bars.", "errors": {"b": [1, 2]}}
    picture = plots.lines(curves, **words).signed("from somewhere")
    (bars,) = picture.figure.axes[0].collections
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[2, 4], [2, 6]]
    assert picture.figure.get_supxlabel() == "from somewhere"


def test_figures_without_words_or_with_bad_arguments_are_refused():
    good = {"x": "x", "y": "y", "alt": "Words that say enough."}
    for bad, match in (
        ({"alt": "plot"}, "alt is 'plot', expected words"),
        ({"title": 3}, "title is 3, expected"),
        ({"log": "z"}, "log is 'z', expected"),
        ({"curves": {}}, "curves is {}, expected at least one name"),
        ({"curves": {"a": ([1, 2], [1, 2, 3])}}, "x and values of one length"),
        ({"errors": {"b": [1, 2]}}, "a name in errors is 'b', expected one of a"),
    ):
        with pytest.raises(ValueError, match=match):
            plots.lines(**({"curves": {"a": [1, 2]}} | good | bad))
