"""What goes into a workshop's folder: copies that run, slides without a network, one zip."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

from tools import notebooks, workshop

ROOT = Path(__file__).resolve().parents[1]
SOURCES = notebooks.chapters(["00", "12"])  # the shortest chapter, and one full of formulas


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a workshop of two chapters; npm is not asked for anything."""
    out = tmp_path_factory.mktemp("made") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workshop, "fetch", lambda into: None)
        assert workshop.make(out, SOURCES) == 0
    return out


def test_copies(made: Path):
    for source in notebooks.chapters():
        whole, copy = notebooks.read_source(source), workshop.learner(source)
        assert not notebooks.tagged(copy, "solution")
        assert len(copy.cells) == len(whole.cells) - len(notebooks.tagged(whole, "solution"))
        exercises = notebooks.tagged(copy, "exercise")
        assert exercises or "reference" in source.stem
        assert all("answer = ..." in cell.source for cell in exercises)
        assert not any(cell.get("outputs") for cell in copy.cells)
    for source in SOURCES:
        name = f"{source.stem}.ipynb"
        stored = (ROOT / "notebooks" / name).read_bytes()
        assert (made / "instructor" / name).read_bytes() == stored
        assert nbformat.read(made / "learner" / name, 4) == workshop.learner(source)


@pytest.mark.slow
def test_handout_is_all_that_a_learner_copy_needs(made: Path, tmp_path: Path, monkeypatch):
    """Unpacked elsewhere, a learner copy runs to its end, on the package in the hand-out."""
    archive = made / f"{workshop.HANDOUT}.zip"
    again = tmp_path / "again.zip"
    workshop.write_zip(again, SOURCES)
    assert archive.read_bytes() == again.read_bytes()
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path)
    course = tmp_path / workshop.HANDOUT
    assert not [*course.rglob("source")]
    pages = [*course.rglob("*.md")]
    links = [
        page.parent / link
        for page in pages
        for link in re.findall(r"\]\(([^):#]+)\)", page.read_text(encoding="utf-8"))
        if not link.endswith(".ipynb")  # two chapters only
    ]
    assert len(pages) > 5 and len(links) > 10
    assert [link for link in links if not link.exists()] == []

    make = [sys.executable, str(course / "course.py"), "copies"]
    variables = {k: v for k, v in os.environ.items() if k[:8] != "LRCOURSE"}
    subprocess.run(make, env=variables, check=True, capture_output=True)
    copy = course / "work" / f"{SOURCES[0].stem}.ipynb"
    assert "#### Solution" not in copy.read_text(encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(course))
    notebook = nbformat.read(copy, 4)
    asks = nbformat.v4.new_code_cell("import lrcourse\nprint(lrcourse.__file__)")
    notebook.cells.append(asks)
    ran = notebooks.execute(notebook, copy.stem, cwd=copy.parent)
    assert notebooks.verdicts(ran) == []
    told = [o.text for cell in notebooks.tagged(ran, "exercise") for o in cell.outputs]
    assert len(told) == 2 and all(text.startswith("☐") for text in told)
    assert Path(ran.cells[-1].outputs[0].text.strip()).is_relative_to(course)


def test_each_name_of_what_is_handed_out_finds_a_file():
    patterns = workshop.HANDED_OUT.split()
    assert [pattern for pattern in patterns if not [*ROOT.glob(pattern)]] == []


class Addresses(HTMLParser):
    """Collects what a page would load, and its pages of slides."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.alts: list[str] = []
        self.sections = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        have = {name: value or "" for name, value in attrs}
        if tag != "a":
            self.loads += [have[key] for key in ("src", "href", "data") if key in have]
        self.alts += [have["alt"]] if tag == "img" else []
        self.sections += tag == "section"


def test_slides_ask_no_other_host(made: Path):
    for source in SOURCES:
        text = (made / "slides" / f"{source.stem}.html").read_text(encoding="utf-8")
        page = Addresses()
        page.feed(text)
        style = re.findall(r"(?:url\(|@import|from )\s*['\"]?([^'\")\s]+)", text)
        assert len(page.loads) > 5
        assert [a for a in page.loads + style if re.match(r"(https?:)?//", a)] == []
        local = {address for address in page.loads if not address.startswith(("data:", "#"))}
        assert {address.split("/")[0] for address in local} == {"reveal.js", "katex"}
        assert page.alts and all(len(alt) > 20 for alt in page.alts)
        assert page.sections > 20


def test_pages_keep_the_answer_from_the_question():
    """Nothing but text follows a prediction or an exercise on its page; no page is overfull."""
    for source in SOURCES:
        cells = workshop.pages(nbformat.read(notebooks.notebook_of(source), 4))
        starts = [cell.metadata["slideshow"]["slide_type"] != "-" for cell in cells]
        filled = 0
        for before, cell, new in zip([None, *cells], cells, starts, strict=False):
            predicted = before is not None and "**Predict" in before.source
            assert new or not predicted or cell.cell_type == "markdown"
            assert new or "solution" not in cell.metadata.get("tags", [])
            filled = workshop.height(cell) if new else filled + workshop.height(cell)
            assert new or filled <= workshop.FULL


def test_the_answers_to_a_prediction_stay_with_it_and_folded_code_is_left_out():
    choice = '<details class="predict"><summary>{}</summary>A reply.</details>'
    asked = f"**Predict.** One or two?\n\n{choice.format('One')}\n{choice.format('Two')}"
    draws = nbformat.v4.new_code_cell("# Draw it\nshow()", metadata={"tags": ["fold"]})
    draws.outputs = [nbformat.v4.new_output("stream", text="drawn")]
    after = nbformat.v4.new_markdown_cell("What it shows.")
    cells = [nbformat.v4.new_markdown_cell(f"# T\n\nBefore.\n\n{asked}"), draws, after]
    notebook = nbformat.v4.new_notebook(cells=cells)
    deck = workshop.pages(notebook)
    assert [cell.source for cell in deck] == ["# T", "Before.", asked, "", "What it shows."]
    kinds = [cell.metadata["slideshow"]["slide_type"] for cell in deck]
    assert kinds == ["slide", "-", "-", "subslide", "-"]
    page = workshop.slides(notebook, "t")
    assert page.count("<summary>") == 2 and "show()" not in page


def test_other_folders_are_left_alone(made: Path, tmp_path: Path, capsys):
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter1.tex").write_text("years of work")
    for place in (thesis, thesis / "chapter1.tex"):
        with pytest.raises(SystemExit, match="did not make it"):
            workshop.make(place, SOURCES)
    assert [path.name for path in thesis.iterdir()] == ["chapter1.tex"]


def test_without_node_the_rest_is_made_and_said(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    out = tmp_path / "out"
    for _ in range(2):  # again into its own folder
        assert workshop.make(out, SOURCES[:1]) == 1
        (out / "notes.txt").touch()
    said = capsys.readouterr().out
    assert "No slides: they need Node.js" in said
    assert len([*(out / "learner").iterdir()]) == 1
    assert (out / f"{workshop.HANDOUT}.zip").exists() and (out / "notes.txt").exists()


def test_plans_add_up():
    """In each plan of docs/teaching.md the minutes make the clock, and the clock the total."""
    text = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    plans = re.findall(r"^## .*? day: (\d+) minutes$(.*?)(?=^## )", text, re.M | re.S)
    assert len(plans) == 2
    for total, plan in plans:
        rows = re.findall(r"^\| (\d+):(\d\d) \| (\d+) \|", plan, re.M)
        clock = [60 * int(h) + int(m) for h, m, _ in rows]
        minutes = [int(m) for *_, m in rows]
        assert sum(minutes) == int(total)
        assert clock == [sum(minutes[:i]) for i in range(len(minutes))]
