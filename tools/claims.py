"""Every claim of the course in one list, read from the executed notebooks: docs/claims.md.

    python -m tools.claims

writes it. A test refuses a list that is not what the notebooks say.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from lrcourse.files import ROOT, write_whole

__all__ = ["PAGE", "Entry", "entries", "page", "write"]

PAGE = ROOT / "docs" / "claims.md"

_LINE = re.compile(
    r"^✔ (?:Myth(?: refuted|, true when [^“]+|, not settled): “(?P<myth>.+)”|(?P<claim>.+?))"
    r"(?:  \[measured: (?P<figures>.*)\])?$"
)
# "J. Ma and D. Yarats, *On the adequacy …* (2019), …": authors and year
_SOURCE = re.compile(r"(?P<authors>[^*]+?),? \*[^*]+\*[^(]*\((?:[^()]*\b)?(?P<year>\d{4})\)")
_NEXT = re.compile(r"(?<=[a-z\d)])\. (?=[A-Z])")  # between two of them, not after an initial
_HEADING = re.compile(r"^# (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """One sentence that a chapter runs.

    Attributes:
        chapter: stem of the notebook.
        title: of the chapter.
        section: heading under which it stands.
        text: the sentence.
        myth: whether the run contradicts it.
        figures: what was measured, as printed; empty where the condition needs no figure.
        papers: those of the chapter's sources that the section names, "first author year".
    """

    chapter: str
    title: str
    section: str
    text: str
    myth: bool
    figures: str
    papers: tuple[str, ...]


def entries(path: Path) -> Iterator[Entry]:
    """The claims and myths of an executed notebook, in its order; exercises are left out."""
    cells = nbformat.read(path, 4).cells
    written = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    sources = _sources(written)
    heading = _HEADING.search(written)
    title = heading[1] if heading else path.stem
    for section, told, code in _sections(cells):
        said = told.partition("**Sources.**")[0]
        papers = tuple(f"{n} {year}" for n, year in sources if re.search(rf"\b{n}\b", said))
        for cell in code:
            for line in _printed(cell):
                if found := _LINE.match(line):
                    text, figures = found["myth"] or found["claim"], found["figures"] or ""
                    myth = bool(found["myth"])
                    yield Entry(path.stem, title, section, text, myth, figures, papers)


def _sections(cells: list[nbformat.NotebookNode]) -> Iterator[tuple[str, str, list[Any]]]:
    """Heading, text, and cells with code, exercises left out, of each section."""
    heading, told, code = "", "", []
    for cell in cells:
        if cell.cell_type == "code":
            code += [] if {"exercise", "solution"} & _tags(cell) else [cell]
            continue
        before, *parts = re.split(r"^## ", cell.source, flags=re.MULTILINE)
        told += before
        for part in parts:
            yield heading, told, code
            heading, _, told = part.partition("\n")
            code = []
    yield heading, told, code


def _tags(cell: nbformat.NotebookNode) -> set[str]:
    return {*cell.metadata.get("tags", [])}


def _printed(cell: nbformat.NotebookNode) -> Iterator[str]:
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stdout":
            yield from output.text.splitlines()


def _sources(written: str) -> list[tuple[str, str]]:
    """First author's last name and year of each paper in the chapter's list of sources."""
    _, _, told = written.partition("**Sources.**")
    found = []
    for one in _NEXT.split(" ".join(told.partition("\n\n")[0].split())):
        if source := _SOURCE.match(one):
            name = re.split(r",| and | et al", source["authors"])[0].split()[-1]
            found += [(name, source["year"])] if name[0].isalpha() else []
    return found


def page() -> str:
    """The list as Markdown: the myths first, then chapter by chapter."""
    paths = sorted((ROOT / "notebooks").glob("*.ipynb"))
    found = [entry for path in paths for entry in entries(path)]
    myths = [entry for entry in found if entry.myth]
    lines = [
        "# Appendix: all that the chapters claim",
        "",
        "What the course concludes stands in [What the course found](findings.md), from recordings "
        "of many seeds. This list holds what the chapters run live: "
        f"{len(found) - len(myths)} claims and {len(myths)} myths, each run by a cell of a "
        "chapter: the chapter stops where one does not hold. The figures are those of the stored "
        "run, with seed 0; chapters hold for seeds 0 to 3. *Papers* are those of the chapter's "
        "sources that the section names: what they found, and where our result differs, stands "
        "there. Where none is named, the claim rests on the run alone. `python -m tools.claims` "
        "makes this page from the executed notebooks, and a test refuses one that is not theirs.",
        "",
        "## Myths that the runs contradict",
        "",
        "| people say | measured | chapter | papers |",
        "|---|---|---|---|",
        *(_row(f"“{e.text}”", e.figures, e, papers=e.papers) for e in myths),
    ]
    for chapter in dict.fromkeys(entry.chapter for entry in found):
        mine = [entry for entry in found if entry.chapter == chapter and not entry.myth]
        lines += ["", f"## {_link(mine[0])}", "", "| claim | measured | section | papers |"]
        lines += ["|---|---|---|---|"]
        lines += [_row(e.text, e.figures, e.section, papers=e.papers) for e in mine]
    return "\n".join(lines) + "\n"


def _row(text: str, figures: str, where: "Entry | str", papers: tuple[str, ...]) -> str:
    place = _link(where) if isinstance(where, Entry) else _cell(where)
    return f"| {_cell(text)} | {_cell(figures)} | {place} | {', '.join(papers)} |"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("$", "\\$")


def _link(entry: Entry) -> str:
    number = entry.chapter.partition("_")[0]
    return f"[{number} {entry.title}](../notebooks/{entry.chapter}.ipynb)"


def write() -> bool:
    """Write docs/claims.md; whether that changed it."""
    text = page()
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return False
    with write_whole(PAGE) as part:  # chapters are built side by side
        part.write_text(text, encoding="utf-8", newline="\n")
    return True


if __name__ == "__main__":
    print(f"{PAGE.relative_to(ROOT)}: {'written' if write() else 'unchanged'}")
