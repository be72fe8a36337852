"""What goes into a workshop's folder: copies that run, slides without a network, one zip."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from told_again import TOLD_AGAIN

from tools import notebooks, slides, workshop

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
        assert not any("folded solution" in cell.source for cell in copy.cells)
        told = any(workshop.AFTERWARDS in cell.source for cell in copy.cells)
        assert told == (source.stem == "00_start_here")
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


def test_slides_lose_nothing_and_give_nothing_away(made: Path):
    """At most 20 pages; all prose and figures are on them, or in their notes; nothing is loaded."""
    for source in notebooks.chapters():
        if source.stem not in TOLD_AGAIN:
            continue
        notebook = nbformat.read(notebooks.notebook_of(source), 4)
        pages = slides.deck(notebook)
        kinds = [page.kind for page in pages]
        assert (kinds[0], len(pages) <= slides.MOST) == ("title", True), source.stem
        assert pages[1].promises
        assert [page.head for page in pages[-2:]] == ["Your turn", "Remember"]
        told = "\n".join(text for page in pages for text in page.shown + page.notes)
        text = [piece for piece in slides.pieces(notebook) if isinstance(piece, str)]
        assert [one for one in text if one[0] != "#" and one not in told] == []
        asked = [page.shown for page in pages if page.kind == "asks"]
        assert all("data-right" in shown[-1] for shown in asked)
        assert all(page.notes[0].startswith("**Right: ") for page in pages if page.kind == "asks")
        assert all(page.notes for page in pages if page.kind == "figure")
        figures = [page for page in pages if page.figure[0]]
        assert len({page.figure[0] for page in figures}) >= kinds.count("figure") > 2
        assert all(len(page.figure[1]) > 20 for page in figures)
    for source in SOURCES:
        page = (made / "slides" / f"{source.stem}.html").read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|link|img)[^>]*? (?:src|href)="([^":]+)', page)
        assert {address.split("/")[0] for address in loaded} == {"reveal.js", "katex", "data"}


def test_a_chapter_becomes_slides():
    """Each kind of page, of a chapter that a person can read."""
    text, cell, output = (
        getattr(nbformat.v4, f"new_{n}") for n in ("markdown_cell", "code_cell", "output")
    )
    choice = '<details class="predict"{}><summary>{}</summary>A reply.</details>'
    draws = {
        "outputs": [output("display_data", {"image/png": "AAAA"})],
        "metadata": {"tags": ["fold"]},
    }
    loop = "w = 1\nfor t in range(9):\n    w = w - w / 9"
    chapter = [
        text("# Title\n\nThe question?"),
        cell("show()", **draws),
        text("After this chapter you can\n\n- see.\n\n**5 minutes**\n\n## One\n\nExpected."),
        cell(loop),
        text("What is it about?"),
        cell("print(w)"),
        text(
            f"**Predict.** A or b?\n\n{choice.format('', 'A')}\n{choice.format(' data-right', 'B')}"
        ),
        cell("print(w)", outputs=[output("stream", text="0.5")]),
        cell("show()", **draws),
        text(
            "What it shows. **That is the sentence to remember of it.** And why.\n\n## Two\n\nOn."
        ),
        text(
            "**Another sentence to remember, without a figure.**\n\n## In your own loop\n\nPaste."
        ),
        cell("import torch"),
        cell("for t in range(9):\n    w = w - rate * w"),
        cell("def fit():\n    for x, y in loader:\n" + "        step()\n" * 17 + "\n\nfit()"),
        text("## Your turn\n\n**1. Repair.** This loop. It has faults."),
        cell(f"{loop}\n\n\nanswer = ...", metadata={"tags": ["exercise"]}),
        text(f"**2. Judge.** Is it so?\n\n{choice.format(' data-right', 'No')}"),
        text("## Remember\n\n*If:* then.\n\n**Ask yourself.** Why?"),
    ]
    pages = slides.deck(nbformat.v4.new_notebook(cells=chapter))
    assert [(page.kind, page.head, bool(page.figure[0])) for page in pages] == [
        ("title", "Title", True),
        ("text", "Title", False),
        ("code", "One", False),
        ("asks", "One", False),
        ("figure", "One", True),
        ("sentence", "Two", False),
        ("code", "In your own loop", False),
        ("text", "Your turn", False),
        ("asks", "Your turn", False),
        ("text", "Remember", False),
    ]
    assert pages[0].notes == ["Expected."]  # the figure's, as it has none of its own
    assert pages[2].notes == ["Expected.", "What is it about?"]
    assert pages[2].shown[0] == "Expected." and "w / 9" in pages[2].shown[1]
    *about, code, question, _ = pages[3].shown
    assert (about, "print(w)" in code, question) == (
        ["Expected.", "What is it about?"],
        True,
        "**Predict.** A or b?",
    )
    assert pages[3].notes == ["**Right: B.** A reply.", "```\n0.5\n```"]
    assert pages[4].shown == ["That is the sentence to remember of it."]
    assert pages[6].shown[0] == "Paste." and "fit()" not in pages[6].shown[1].splitlines()
    assert "w / 9" in pages[7].shown[1] and "answer" not in pages[7].shown[1]
    assert pages[9].shown == ["*If:* then."]
    made = slides.html(nbformat.v4.new_notebook(cells=chapter))
    assert made.count('<details name="asked-3"') == 2 and "show()" not in made


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


def test_slow_cells_are_named_by_their_section():
    cells = [
        nbformat.v4.new_markdown_cell("## One\n\nText."),
        nbformat.v4.new_code_cell("quick()", metadata={"papermill": {"duration": 0.1}}),
        nbformat.v4.new_markdown_cell("More."),
        nbformat.v4.new_code_cell("slow()\nmore", metadata={"papermill": {"duration": 9.2}}),
    ]
    ran = nbformat.v4.new_notebook(cells=cells)
    assert workshop.long_cells(ran) == ["9 s in One: slow()"]


def test_boards_of_a_room_become_one(tmp_path: Path, capsys):
    for who, entries in {"Ada/boards": [("a", -1.5), ("b", -0.5)], "Bo": [("c", -2.0)]}.items():
        (tmp_path / who).mkdir(parents=True)
        board = pd.DataFrame(entries, columns=["entry", "per_cent"]).assign(se=0.25)
        board.to_csv(tmp_path / who / "04_open.csv", index=False)
    assert workshop.main(["--boards", str(tmp_path)]) == 0
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert said[2:] == [["04_open", "Bo", "-2.0", "0.25", "1"], ["Ada", "-1.5", "0.25", "2"]]
    with pytest.raises(SystemExit, match="no boards"):
        workshop.main(["--boards", str(tmp_path / "Ada" / "boards")])


def test_plans_add_up():
    """In each plan of docs/teaching.md the minutes make the clock, and the clock the total; a whole
    chapter has the minutes of its header."""
    text = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    plans = re.findall(r"^## .*? day: (\d+) minutes$(.*?)(?=^## )", text, re.M | re.S)
    assert len(plans) == 2
    for total, plan in plans:
        rows = re.findall(r"^\| (\d+):(\d\d) \| (\d+) \|", plan, re.M)
        clock = [60 * int(h) + int(m) for h, m, _ in rows]
        minutes = [int(m) for *_, m in rows]
        assert sum(minutes) == int(total)
        assert clock == [sum(minutes[:i]) for i in range(len(minutes))]
        whole = re.findall(r"\| (\d+) \| (\d\d), whole \|", plan)
        assert len(whole) > 2
        for planned, number in whole:
            (source,) = notebooks.chapters([number])
            assert f"**{planned} minutes**" in source.read_text(encoding="utf-8"), number


@pytest.mark.parametrize("name", sorted(TOLD_AGAIN))
def test_each_chapter_has_its_answers(name: str):
    """Its title and minutes, a row for each thing that it promises, an answer to each question."""
    text = (notebooks.NOTEBOOKS / "source" / f"{name}.md").read_text(encoding="utf-8")
    title, minutes = (re.search(p, text)[1] for p in (r"(?m)^# (.+)$", r"\*\*(\d+) minutes\*\*"))
    promised = text.partition("After this chapter you can")[2].partition("minutes**")[0]
    asked = re.search(r"(?m)^\*\*Ask yourself\.\*\*(.*)$", text)[1]
    answers = (ROOT / "docs" / "answers.md").read_text(encoding="utf-8")
    head = f"\n## {name[:2]} {title}: {minutes} minutes\n"
    assert head in answers
    section = answers.partition(head)[2].partition("\n## ")[0]
    assert len(re.findall("(?m)^\\| ", section)) - 1 == len(re.findall("(?m)^- ", promised))
    assert len(re.findall("(?m)^- ", section)) == asked.count("?") + 2  # and two exercises
