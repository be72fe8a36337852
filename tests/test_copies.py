"""A learner's own copies: nothing they wrote is lost, whatever the course does meanwhile."""

import copy
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat import NotebookNode

from tools import notebooks

ROOT = Path(__file__).resolve().parents[1]
COURSE = runpy.run_path(str(ROOT / "course.py"))
CHAPTER, OTHER = "03_schedules_in_pytorch.ipynb", "00_start_here.ipynb"
FOLDED = COURSE["FOLDED"]


# ---------------------------------------------------------------------------- what copies are


@pytest.fixture(scope="module")
def pairs() -> dict[str, tuple[NotebookNode, NotebookNode]]:
    """Every chapter and its copy."""
    found = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        made = COURSE["copy_of"](json.loads(path.read_text(encoding="utf-8")))
        found[path.name] = nbformat.read(path, 4), nbformat.from_dict(made)
    return found


def test_a_copy_is_the_chapter_that_has_not_run(pairs):
    """All its code, in order; no output, no answer; all its text but the questions' numbers."""
    for chapter, mine in pairs.values():
        nbformat.validate(mine)
        code = [[c.source for c in nb.cells if c.cell_type == "code"] for nb in (chapter, mine)]
        assert code[0] == code[1]
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in mine.cells)
        assert all("answer = ..." in c.source for c in notebooks.tagged(mine, "exercise"))
        texts = [
            re.sub(
                r"\*\*\d+\.( \w+\.)?\*\*|#+ (Exercise \d+(\. \w+)?|Solution|Afterwards)\b|\s",
                "",
                text,
            )
            for text in ("\n".join(c.source for c in nb.cells) for nb in (chapter, mine))
        ]
        assert texts[0] == texts[1]


def test_solutions_alone_are_folded(pairs):
    """What a folded heading hides is solutions and remarks on them; each exercise is in sight."""
    for name, (_, mine) in pairs.items():
        hidden, solutions = False, 0
        for cell in mine.cells:
            tags = cell.metadata.get("tags", [])
            found = re.search(r"^#{1,4} ", cell.source, re.MULTILINE)
            if cell.cell_type == "markdown" and found:
                hidden = cell.metadata.get(FOLDED, False)
                assert hidden == (cell.source == "#### Solution"), name
            if cell.cell_type == "code":
                assert hidden == ("solution" in tags), (name, cell.source)
            if "solution" in tags:
                solutions += 1
                assert "jupyter" not in cell.metadata  # open, once its heading is
        assert solutions == len(notebooks.tagged(mine, "exercise"))


def test_every_question_is_in_the_table_of_contents(pairs):
    for name, (chapter, mine) in pairs.items():
        text = "\n".join(c.source for c in mine.cells if c.cell_type == "markdown")
        asked = [int(n) for n in re.findall(r"^### Exercise (\d+)(?:\. \w+)?$", text, re.MULTILINE)]
        judged = len(re.findall(r"^### Exercise \d+\. Judge$", text, re.MULTILINE))  # without code
        questions = len(notebooks.tagged(chapter, "exercise")) + judged
        assert asked == [*range(1, questions + 1)], name


def test_links_lead_from_a_copy_where_they_lead_from_its_chapter(pairs):
    """Copies lie in a folder beside notebooks; a link names another copy, or leaves that folder."""
    found = set()
    for _, mine in pairs.values():
        for cell in (c for c in mine.cells if c.cell_type == "markdown"):
            prose = re.sub(r"`[^`]*`|\$[^$]*\$", "", cell.source)
            found |= set(re.findall(r"\]\(([^)#:\s]+)", prose))
    assert len(found) > 15
    assert [x for x in found if not x.startswith("../") and x not in pairs] == []
    assert [x for x in found if not (ROOT / "notebooks" / x).exists()] == []


def test_remarks_headings_in_listings_and_titles_of_questions():
    cells = [
        new("markdown", "## Your turn\n\n**1. Judge.** Which?"),
        new("code", 'answer = ...\ncheck("x", answer)', "exercise"),
        new("code", "answer = 1", "solution"),
        new("markdown", "Because:\n\n```\n# no heading\n```\n\n**2.** And now?"),
        new("code", "answer = ..."),
        new("code", "answer = 2", "solution"),
        new("markdown", "Said of the next cell."),
        new("code", "show()"),
    ]
    made = COURSE["copy_of"]({"cells": cells})["cells"]
    assert [cell["source"].splitlines()[0] for cell in made] == [
        "## Your turn",
        "answer = ...",
        "#### Solution",
        "answer = 1",
        "Because:",
        "### Exercise 2",
        "answer = ...",
        "#### Solution",
        "answer = 2",
        "#### Afterwards",
        "Said of the next cell.",
        "show()",
    ]
    assert made[0]["source"].endswith("### Exercise 1. Judge\n\nWhich?")


# ------------------------------------------------------------------------ cells carried over


def new(kind: str, text: str, *tags: str) -> dict[str, Any]:
    """A cell of the course's: its id is made from its text."""
    name = COURSE["fingerprint"]({"cell_type": kind, "source": text})
    cell = {"cell_type": kind, "id": name, "metadata": {"tags": [*tags]}, "source": text}
    return cell | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def own(text: str, kind: str = "code", name: str = "0a1b2c3d") -> dict[str, Any]:
    return {"cell_type": kind, "id": name, "metadata": {}, "source": text}


def exercise(name: str, before: str = "") -> dict[str, Any]:
    return new("code", f'{before}answer = ...\ncheck("{name}", answer)', "exercise")


def carried(first: list, mine: list, second: list, known: bool = True) -> list[dict[str, Any]]:
    """The cells of the second copy after a renewal by who changed the first into `mine`."""
    copies = [COURSE["copy_of"]({"cells": cells}) for cells in (first, second)]
    before = COURSE["marks_of"](copies[0]) if known else None
    COURSE["carry_over"](copies[1], mine, before)
    return copies[1]["cells"]


def sources(cells: list[dict[str, Any]]) -> list[str]:
    return [cell["source"] for cell in cells]


def test_answers_go_where_their_exercise_went_and_own_cells_stay_behind_theirs():
    first = [new("markdown", "# A"), exercise("1"), new("markdown", "Prose."), exercise("2")]
    second = [new("markdown", "# B"), exercise("2", "t = 1\n"), new("code", "x"), exercise("1")]
    answers = [own('answer = 3\ncheck("1", answer)', name=first[1]["id"])]
    answers += [own('answer = 4\ncheck("2", answer)', name=first[3]["id"])]
    notes = [own(text, name=text) for text in ("top", "try", "note", "again")]
    notes[1]["source"] = 'answer = 5\ncheck("1", answer)'  # a second attempt, beside the first
    mine = [notes[0], first[0], answers[0], notes[1], first[2], notes[2], answers[1], notes[3]]
    assert sources(carried(first, mine, second)) == [
        "top",
        "# B",
        'answer = 4\ncheck("2", answer)',
        "again",
        "x",
        'answer = 3\ncheck("1", answer)',
        notes[1]["source"],
        "note",
    ]


def test_a_changed_cell_that_the_course_changed_too_stands_beside():
    first, second = [new("markdown", "Old."), new("code", "f()")], [new("code", "f()")]
    mine = [first[0] | {"source": "Old. Why?"}, first[1] | {"source": "f(2)"}]
    assert sources(carried(first, mine, second)) == ["Old. Why?", "f(2)"]


def test_what_a_cell_holds_besides_its_text_comes_along():
    first = [new("markdown", "A figure?"), new("code", "x", "parameters")]
    picture = {"a.png": {"image/png": "AAAA"}}
    drawn = first[0] | {"source": "![a](attachment:a.png)", "attachments": picture}
    other = {"cell_type": "raw", "id": first[1]["id"], "metadata": {}, "source": "no code"}
    made = carried(first, [drawn, other], first)
    assert made[0]["attachments"] == picture
    assert made[1] == other | {"metadata": first[1]["metadata"]}


def test_what_was_unfolded_stays_so():
    first = [exercise("1"), new("code", "answer = 1", "solution"), new("markdown", "# End")]
    mine = COURSE["copy_of"]({"cells": first})["cells"]
    del mine[1]["metadata"][FOLDED]
    mine.insert(3, own("I see"))
    mine[4]["metadata"][FOLDED] = True
    made = carried(first, mine, [*first, new("markdown", "More")])
    assert sources(made)[1:4] == ["#### Solution", "answer = 1", "I see"]
    assert [FOLDED in cell["metadata"] for cell in made] == [False] * 4 + [True, False]


TEXTS = st.sampled_from(["a = 1", "Prose.", "# Title", "**1.** Why?", "x", ""])
KINDS = st.sampled_from(["code", "markdown"])


@st.composite
def versions(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A chapter: some cells and exercises, each with an id of its own, in any order."""
    cells = [new(draw(KINDS), text) for text in draw(st.lists(TEXTS, max_size=4)) if text]
    for name in draw(st.lists(st.sampled_from("abc"), max_size=3, unique=True)):
        cells += [exercise(name, draw(st.sampled_from(["", "t = 1\n"])))]
        cells += [new("code", f"answer = '{name}'", "solution")] * draw(st.booleans())
    seen: dict[str, int] = {}
    for cell in cells:
        seen[cell["id"]] = seen.get(cell["id"], 0) + 1
        cell["id"] += f"-{seen[cell['id']]}" * (seen[cell["id"]] > 1)
    return copy.deepcopy(cells)


@st.composite
def weeks(draw: st.DrawFn) -> tuple[list, list, list, list[str]]:
    """A chapter, what a learner made of its copy, the next chapter, and the learner's own texts."""
    first, second = draw(versions()), draw(versions())
    mine, wrote = copy.deepcopy(COURSE["copy_of"]({"cells": first})["cells"]), []
    for n in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(mine)))
        what = draw(st.sampled_from(["edit", "answer", "insert", "paste", "delete", "move"]))
        if what == "insert" or at == len(mine):
            wrote.append(f"own {n}")
            name = draw(st.sampled_from([f"id-{n}", "", first[0]["id"] if first else "x"]))
            mine.insert(at, own(wrote[-1], draw(KINDS), name))
            if not name:  # as programs older than ids leave it
                del mine[at]["id"]
        elif what == "paste":
            mine.insert(at, copy.deepcopy(mine[at]))
        elif what == "delete":
            del mine[at]
        elif what == "move":
            mine.insert(draw(st.integers(0, len(mine) - 1)), mine.pop(at))
        else:
            name = draw(st.sampled_from("abcd"))
            answer = f'answer = {n}\ncheck("{name}", answer)'
            mine[at]["source"] = answer if what == "answer" else f"edit {n}"
            wrote.append(mine[at]["source"])
    return first, mine, second, [text for text in wrote if text in sources(mine)]


@given(weeks(), st.booleans())
def test_no_cell_of_a_learner_is_lost_in_a_renewal(week, known: bool):
    """Each text of theirs is in the new chapter as often as before; ids are unique; order holds."""
    first, mine, second, wrote = week
    before = copy.deepcopy(mine)
    made = carried(first, mine, second, known)
    assert mine == before
    for text in wrote:
        assert sources(made).count(text) >= sources(mine).count(text)
    ids = [cell["id"] for cell in made]
    assert len(set(ids)) == len(ids) and all(ids)
    kept = [text for text in sources(made) if text not in wrote]
    of_the_course = sources(COURSE["copy_of"]({"cells": second})["cells"])
    if known:  # nothing of the old chapter is left beside the new one
        assert len(kept) <= len(of_the_course)
        assert set(kept) <= {*of_the_course}


# ----------------------------------------------------------------------------------- on disk


class Place:
    """A course and a learner's copies of it, in folders of their own."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.root, self.work = folder, folder / "work"
        (folder / "notebooks").mkdir(parents=True)
        shutil.copy(ROOT / "course.py", folder)
        shutil.copy(ROOT / ".gitignore", folder)
        for name in names:
            shutil.copy(ROOT / "notebooks" / name, folder / "notebooks")

    def call(self, *words: str) -> str:
        """What course.py says."""
        variables = {k: v for k, v in os.environ.items() if k[:8] != "LRCOURSE"} | UTF8
        command = [sys.executable, str(self.root / "course.py"), *words]
        ran = subprocess.run(command, env=variables, capture_output=True, encoding="utf-8")
        assert ran.returncode == 0, ran
        return ran.stdout

    def read(self, name: str = CHAPTER) -> NotebookNode:
        """A copy as Jupyter reads it."""
        return nbformat.read(self.work / name, 4)

    def save(self, notebook: NotebookNode, name: str = CHAPTER) -> bytes:
        """Save a copy as Jupyter does."""
        nbformat.write(notebook, self.work / name)
        return (self.work / name).read_bytes()

    def change(self, old: str, by: str, name: str = CHAPTER) -> None:
        """A new version of a chapter: in one of its cells, so that its id changes too."""
        path = self.root / "notebooks" / name
        notebook = nbformat.read(path, 4)
        (cell,) = (c for c in notebook.cells if old in c.source and "# The sol" not in c.source)
        cell.source = cell.source.replace(old, by)
        cell.id = COURSE["fingerprint"](cell)
        nbformat.write(notebook, path)


UTF8 = {"PYTHONUTF8": "1"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path / "a course [1] für dich", OTHER, CHAPTER)
    assert "yours to work in: 00, 03." in made.call("copies")
    return made


def cell_with(notebook: NotebookNode, text: str) -> NotebookNode:
    """The first cell with this text that is not under a folded heading."""
    return next(c for c in notebook.cells if text in c.source and "# The sol" not in c.source)


def answered(place: Place, name: str = "03 open", answer: str = "30 * 150") -> bytes:
    notebook = place.read()
    cell = cell_with(notebook, f'check("{name}"')
    cell.source = cell.source.replace("answer = ...", f"answer = {answer}")
    return place.save(notebook)


def ran(place: Place) -> bytes:
    """Run all, as far as the file tells: outputs, counts, and the empty cell that Lab appends."""
    notebook = place.read()
    for number, cell in enumerate(c for c in notebook.cells if c.cell_type == "code"):
        cell.execution_count = number + 1
        cell.outputs = [nbformat.v4.new_output("stream", text="ran\n")]
        cell.metadata["scrolled"] = True
    notebook.cells.append(nbformat.v4.new_code_cell(""))
    notebook.metadata.language_info["version"] = "3.12.1"
    return place.save(notebook)


def test_who_only_ran_a_chapter_gets_the_new_one(place: Place):
    before = ran(place)
    assert place.call("copies").count("\n") == 1  # nothing new, so only where to begin
    assert (place.work / CHAPTER).read_bytes() == before  # outputs stay, too
    place.change("# Schedules in PyTorch", "# Schedules, second edition")
    assert "so you have the new ones: 03." in place.call("copies")
    assert "second edition" in place.read().cells[0].source


def test_who_wrote_keeps_it_until_they_say_renew(place: Place):
    before = answered(place)
    assert "03" not in place.call("copies").replace(str(place.work), "work")
    place.change("# Schedules in PyTorch", "# Schedules, second edition")
    for _ in range(2):
        assert "worked in yours, which stay as they are: 03. `python3" in place.call("copies")
        assert (place.work / CHAPTER).read_bytes() == before
    said = place.call("renew", "3")
    assert "of your cells, 1 in place of the course's and 0 added where they stood" in said
    new = place.read()
    assert "second edition" in new.cells[0].source
    assert "30 * 150" in cell_with(new, 'check("03 open"').source
    (earlier,) = (place.work / "earlier").iterdir()
    assert earlier.read_bytes() == before and str(earlier) in said
    assert "03" not in place.call("copies").replace(str(place.work), "work")
    assert "course's newest" in place.call("renew", str(place.work / CHAPTER))
    assert len([*(place.work / "earlier").iterdir()]) == 1


def test_a_deleted_copy_comes_back_and_other_files_stay(place: Place):
    mine = {"notes.md": b"x", "03_mine.ipynb": b"{}", "Untitled.ipynb": b"", "runs/a/log": b"1"}
    for name, content in mine.items():
        (place.work / name).parent.mkdir(parents=True, exist_ok=True)
        (place.work / name).write_bytes(content)
    (place.work / CHAPTER).unlink()
    assert "yours to work in: 03." in place.call("copies")
    place.call("clean")
    assert {name: (place.work / name).read_bytes() for name in mine} == mine


def test_of_chapters_that_the_course_withdrew_changed_copies_stay(place: Place):
    before = answered(place)
    for name in (OTHER, CHAPTER):
        path = place.root / "notebooks" / name
        path.rename(path.with_name("9" + name[1:]))
    assert "yours to work in: 90, 93." in place.call("copies")
    assert not (place.work / OTHER).exists()
    assert (place.work / CHAPTER).read_bytes() == before


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"03_x.ipynb": [[1, 2]]}', None])
def test_without_its_record_nothing_is_written_over(place: Place, damage: str | None):
    before, record = answered(place), place.work / ".made.json"
    for version in ("today's", "new"):
        if version == "new":
            place.change("# Schedules in PyTorch", "# Schedules, second edition")
        record.unlink() if damage is None else record.write_text(damage)
        said = place.call("copies")
        assert (place.work / CHAPTER).read_bytes() == before
        assert ("which stay as they are: 03." in said) == (version == "new")
    assert "30 * 150" in cell_with(place.read(), 'check("03 open"').source
    record.unlink()
    place.call("renew", "03")
    assert "30 * 150" in cell_with(place.read(), 'check("03 open"').source
    assert "second edition" in cell_with(place.read(), "# Schedules, ").source


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([CHAPTER, OTHER, "../x", ""]), inner, max_size=3)
    ),
)


@given(JSON)
def test_any_record_is_read_as_marks_or_not_at_all(tmp_path_factory, content: Any):
    path = tmp_path_factory.mktemp("record") / ".made.json"
    path.write_text(json.dumps(content))
    read_record = COURSE["read_record"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(read_record.__globals__, "RECORD", path)
        record = read_record()
    assert {*record} <= {CHAPTER, OTHER}
    assert all(len(mark) == 2 for marks in record.values() for mark in marks)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"cells": [1]}', b'{"cells": 1}'])
def test_a_copy_that_cannot_be_read_stays_until_renewed(place: Place, content: bytes):
    (place.work / CHAPTER).write_bytes(content)
    assert "left as it is: 03" in place.call("copies")
    assert (place.work / CHAPTER).read_bytes() == content
    place.call("renew", "03")
    (earlier,) = (place.work / "earlier").iterdir()
    assert earlier.read_bytes() == content
    assert len(place.read().cells) > 50


def test_a_chapter_with_half_a_merge_in_it_makes_no_copy(place: Place):
    before = answered(place)
    path = place.root / "notebooks" / CHAPTER
    path.write_text("<<<<<<< HEAD\n" + path.read_text())
    assert "is not a notebook that can be read: its copy stays" in place.call("copies")
    assert (place.work / CHAPTER).read_bytes() == before


def test_a_full_disk_leaves_the_old_copy_whole(place: Place, monkeypatch: pytest.MonkeyPatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = place.work / CHAPTER
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        COURSE["write_json"](path, {"cells": []})
    assert path.read_bytes() == before
    assert [p.name for p in place.work.iterdir() if ".part" in p.name] == []


def test_which_chapter_to_renew_must_be_said(place: Place):
    command = [sys.executable, str(place.root / "course.py"), "renew"]
    for words in ([], ["77"], [OTHER, "--x"]):
        ran = subprocess.run([*command, *words], capture_output=True, encoding="utf-8")
        assert ran.returncode == 1
        assert re.search(r"Which chapter\?|does not know", ran.stderr)


def test_copies_may_lie_elsewhere(tmp_path: Path):
    """As on a server, where the course belongs to root."""
    place, home = Place(tmp_path / "opt", OTHER), tmp_path / "home" / "work"
    variables = {**os.environ, "LRCOURSE_WORK": str(home)}
    command = [sys.executable, str(place.root / "course.py"), "copies"]
    subprocess.run(command, env=variables, check=True)
    assert (home / OTHER).exists() and not place.work.exists()


# ------------------------------------------------------------------------- two learners' weeks


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "core.autocrlf=false"]
    command = ["git", "-C", str(folder), *who, *words]
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout


@pytest.mark.skipif(not shutil.which("git"), reason="no git here")
def test_two_weeks_of_two_learners(tmp_path: Path):
    """One answers and takes notes, one only runs; the course changes twice under both."""
    author = Place(tmp_path / "author", OTHER, CHAPTER, "04_steps.ipynb")
    git(author.root, "init", "-q", "-b", "main")

    def publish() -> None:
        git(author.root, "add", ".")
        git(author.root, "commit", "-qm", "A version")

    publish()
    ann, ben = (Place.__new__(Place) for _ in range(2))
    for learner, name in ((ann, "ann"), (ben, "ben")):
        git(tmp_path, "clone", "-q", str(author.root), name)
        learner.root, learner.work = tmp_path / name, tmp_path / name / "work"
        learner.call("copies")

    answered(ann)
    notebook = ann.read()
    where = notebook.cells.index(cell_with(notebook, 'check("03 open"'))
    notebook.cells.insert(where + 1, nbformat.v4.new_markdown_cell("30 epochs, **I see**"))
    ann.save(notebook)
    ran(ann)
    ran(ben)

    author.change("# Schedules in PyTorch", "# Schedules, second edition")
    author.change("# Start here", "# Begin here", OTHER)
    publish()
    for learner in (ann, ben):
        git(learner.root, "pull", "-q", "--ff-only")
    assert re.search(r"new ones: 00\.\n.*stay as they are: 03\.", ann.call("copies"))
    assert "new ones: 00, 03." in ben.call("copies")

    answered(ann, "03 repair", "None")
    ran(ann)
    author.change(
        "answer = ...  # when it is better", "steps = 1\nanswer = ...  # when it is better"
    )
    (author.root / "notebooks" / "04_steps.ipynb").rename(author.root / "notebooks" / "05_st.ipynb")
    publish()
    for learner in (ann, ben):
        git(learner.root, "pull", "-q", "--ff-only")
        learner.call("copies")
        learner.call("renew", "03")
        assert git(learner.root, "status", "--porcelain") == ""
        names = sorted(path.name for path in learner.work.glob("*.ipynb"))
        assert names == [OTHER, CHAPTER, "05_st.ipynb"]
        assert "second edition" in learner.read().cells[0].source

    notebook = ann.read()
    cells = [cell.source for cell in notebook.cells]
    (mine,) = (i for i, source in enumerate(cells) if "answer = 30 * 150" in source)
    assert cells[mine + 1] == "30 epochs, **I see**"
    assert cells[mine + 2] == "#### Solution"
    assert "answer = None" in cell_with(notebook, 'check("03 repair"').source
    assert len([*(ann.work / "earlier").iterdir()]) == 1
    assert "steps = 1" in cell_with(ben.read(), 'check("03 open"').source
    assert not (ben.work / "earlier").exists()
