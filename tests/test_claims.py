"""The list of claims is that of the executed notebooks."""

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import claims


def code(text, tags=()):
    return new_code_cell(
        "claim(...)",
        outputs=[new_output("stream", name="stdout", text=text)],
        metadata={"tags": list(tags)},
    )


def test_entries_stand_in_their_section_with_figures_and_papers(tmp_path):
    cells = [
        new_markdown_cell("# Warmup\n\nA question."),
        new_markdown_cell("Text.\n\n## Why\n\nSaid by Smith (2015) and by Goyal and others."),
        code("✔ It | rises  [measured: times = 2, list = (1, 2)]\nnoise\n✔ And falls\n"),
        code("✔ 11 rate: right\n", ["exercise"]),
        new_markdown_cell("### Still why\n\nWords.\n\n## Myth check\n\nNone."),
        code("✔ Myth refuted: “It is [not so] hard”  [measured: loss = 3]\n"),
        new_markdown_cell(
            "**Sources.** P. Goyal et al., *Large* (2017), arXiv:1706.02677, a figure. L. N. "
            "Smith, *Cyclical*, Proc. of WACV (2015). Keras 3.15, source.\n\n**Next:** Noam (2017)."
        ),
    ]
    path = tmp_path / "11_warmup.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    one, two, three = claims.entries(path)
    assert (one.title, one.section, one.text) == ("Warmup", "Why", "It | rises")
    assert one.figures == "times = 2, list = (1, 2)" and not one.myth
    assert one.papers == two.papers == ("Goyal 2017", "Smith 2015")
    assert (two.text, two.figures) == ("And falls", "")
    assert (three.section, three.text) == ("Myth check", "It is [not so] hard")
    assert three.myth and three.figures == "loss = 3" and three.papers == ()


def test_the_page_is_that_of_the_notebooks():
    text = claims.PAGE.read_text(encoding="utf-8")
    assert text == claims.page(), "make it anew: python -m tools.claims"
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) > 200  # fewer with each chapter that is told again
    assert {len(row.replace("\\|", "").split("|")) for row in rows} == {6}
