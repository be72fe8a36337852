"""A chapter told again can be worked through in the minutes that it says, and says what is so.

What is counted: prose, visible code, claims, the package's names. The minutes come from these, by
one formula. And each number in the prose stands in an output, in the code, or in a recording.
"""

import ast
import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from told_again import TOLD_AGAIN

from tools import notebooks

ROOT = Path(__file__).resolve().parents[1]
MOST = {"words": 2000, "cells": 28, "lines": 200, "lines of a cell": 20, "claims": 12, "names": 10}
TASKS = {"00_start_here": ["Count", "Search"]}  # for somebody's first half hour
FORMULA_OR_CODE = re.compile(r"\$\$[^$]*\$\$|\$[^$]*\$|`[^`]*`")
SECTION = re.compile(r"(?m)^## (.+)$")


@dataclass
class Chapter:
    """A chapter's notebook, and what can be counted in it."""

    notebook: NotebookNode

    def cells(self, kind: str) -> list[NotebookNode]:
        return [cell for cell in self.notebook.cells if cell.cell_type == kind]

    @cached_property
    def visible(self) -> list[NotebookNode]:
        """Code that a reader sees: not folded, no exercise, not the parameters."""
        out = {"fold", "exercise", "solution", "parameters"}
        return [cell for cell in self.cells("code") if not out & set(cell.metadata.get("tags", []))]

    @cached_property
    def text(self) -> str:
        return "\n\n".join(cell.source for cell in self.cells("markdown"))

    @cached_property
    def prose(self) -> str:
        """The text without answers, tables, exercises and sources."""
        kept, skip = [], False
        for line in self.text.splitlines():
            if heading := SECTION.match(line):
                skip = heading[1] == "Your turn"
            if not (skip or line.startswith(("<details", "|", "**Sources"))):
                kept.append(line)
        return "\n".join(kept)

    @property
    def code(self) -> str:
        return "\n".join(cell.source for cell in self.cells("code"))

    @property
    def trees(self) -> list[ast.Module]:
        return [ast.parse(cell.source) for cell in self.cells("code")]

    def lines(self, cell: NotebookNode) -> int:
        return len(cell.source.splitlines())

    def counts(self) -> dict[str, int]:
        calls = [n.func.id for tree in self.trees for n in ast.walk(tree) if called(n)]
        names = {
            alias.name
            for tree in self.trees
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lrcourse")
            for alias in node.names
        }
        return {
            "words": len(FORMULA_OR_CODE.sub("x", self.prose).split()),  # each is read as a word
            "cells": len(self.visible),
            "lines": sum(map(self.lines, self.visible)),
            "lines of a cell": max(map(self.lines, self.visible)),
            "claims": sum(name in ("claim", "myth") for name in calls),
            "names": len(names),
        }

    def minutes(self) -> int:
        """What the header should say: the sum, to the next five."""
        counts, turn = self.counts(), self.text.partition("\n## Your turn")[2]
        exercises = len(re.findall(r"(?m)^\*\*\d+\. ", turn))
        is_open = len(re.findall(r"(?m)^\*\*\d+\. Open\.", turn))
        predictions = self.prose.count("**Predict.**")
        total = counts["words"] / 150 + counts["cells"] + 1.5 * predictions
        return 5 * math.ceil((total + 6 * (exercises - is_open) + 20 * is_open) / 5)

    @cached_property
    def outputs(self) -> str:
        """All that its cells printed, drew or showed, in words."""
        return "\n".join(line for cell in self.cells("code") for line in notebooks.text_of(cell))


def called(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


def plain(text: str) -> str:
    """Prose without formulas, code, addresses of links and HTML."""
    text = re.sub(r"<[^>]+>", " ", FORMULA_OR_CODE.sub(" ", text))
    return re.sub(r"\]\([^)]*\)", "]", text)


def numbers(text: str) -> set[str]:
    """The numbers in a text, as they are written: signs and thousands apart."""
    text = re.sub(r"(?<=\d)[\u202f\u00a0 ](?=\d{3}\b)", "", text)
    return {found.rstrip(".") for found in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", text)}


def unfounded(chapter: Chapter) -> set[str]:
    """Numbers of the prose that nothing in the chapter backs.

    Left out are numbers of chapters and years, powers and shares spelled as words, and 0 to 2,
    which are mostly words ("run 1", "from 0").
    """
    prose = re.sub(r"(?i)chapters? \d+|\b(?:19|20)\d\d\b|\*\*\d+ minutes\*\*", " ", chapter.prose)
    shown = numbers(plain(prose)) - {"0", "1", "2", "95"}  # 95 % intervals, everywhere
    backed = numbers(chapter.outputs) | numbers(chapter.code)
    rounded = set()
    for value in backed:
        for digits in range(4):
            rounded.add(f"{float(value):.{digits}f}")
    return {number for number in shown if number not in backed | rounded}


def chapter(name: str) -> Chapter:
    return Chapter(nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4))


@pytest.mark.parametrize("name", sorted(TOLD_AGAIN))
def test_a_chapter_keeps_its_budgets(name: str):
    counts = chapter(name).counts()
    assert {key: n for key, n in counts.items() if n > MOST[key]} == {}, counts


@pytest.mark.parametrize("name", sorted(TOLD_AGAIN))
def test_the_minutes_are_what_the_chapter_takes(name: str):
    told = chapter(name)
    (said,) = re.findall(r"\*\*(\d+) minutes\*\*", told.text)
    assert int(said) == told.minutes(), told.counts()


@pytest.mark.parametrize("name", sorted(TOLD_AGAIN))
def test_each_number_in_the_prose_has_been_computed(name: str):
    assert unfounded(chapter(name)) == set()


@pytest.mark.parametrize("name", sorted(TOLD_AGAIN))
def test_a_chapter_has_its_parts(name: str):
    """A repair, a judgement, an open exercise (00 has two smaller ones); what to remember."""
    told = chapter(name)
    headings = SECTION.findall(told.text)
    assert headings[-2:] == ["Your turn", "Remember"]
    turn = told.text.partition("\n## Your turn")[2].partition("\n## Remember")[0]
    tasks = TASKS.get(name, ["Repair", "Judge", "Open"])
    assert re.findall(r"(?m)^\*\*\d+\. (\w+)\.\*\*", turn) == tasks
    judged = turn.partition("Judge.**")[2].partition("Open.**")[0]
    assert '<details class="predict"' in judged or "Judge" not in tasks
    assert "**Sources.**" in told.text and "**Next:**" in told.text
    assert "DataLoader" in told.code or name in TASKS, "a loop to paste"


def test_the_counts_count(tmp_path: Path):
    """Of a small chapter that a person can count."""
    cell, text = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    fold = {"tags": ["fold"]}
    small = Chapter(
        nbformat.v4.new_notebook(
            cells=[
                text("# One two\n\nthree four 5.5 and `not this` $nor\\ this$ [six](seven.md)"),
                text("$$nor\\ that$$"),
                cell("from lrcourse.evidence import claim, myth", metadata=fold),
                cell("x = 5.51\n\nprint(x)", outputs=[nbformat.v4.new_output("stream", text="9")]),
                text('**Predict.** Eight?\n\n<details class="predict">x</details>\n\n| no | no |'),
                cell("claim('a', True)"),
                text("## Your turn\n\n**1. Repair.** A\n\n**2. Judge.** B\n\n**3. Open.** C"),
                text("## Remember\n\nIt is 9, 10 and 2.\n\n**Sources.** Somebody (2017)."),
            ]
        )
    )
    counts = small.counts()
    assert counts == {"words": 21, "cells": 2, "lines": 4, "lines of a cell": 3} | {
        "claims": 1,
        "names": 2,
    }
    assert small.minutes() == 5 * math.ceil((21 / 150 + 2 + 1.5 + 2 * 6 + 20) / 5)
    assert unfounded(small) == {"10"}
