"""A chapter as slides, by the pattern that chapters follow: an idea a page, the prose as notes.

A page is the question that a chapter opens with, what one can do after it, a prediction below what
leads to it, a figure with the sentence to remember, a short loop, an exercise, or what to remember.
All other text, and what the cells printed, are the notes of the page that it goes with: the one
before it, or at the beginning of a section the first one of that section. The notes of a question
begin with its right answer.
"""

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from string import Template

from markdown_it import MarkdownIt
from nbconvert.filters import Highlight2HTML, markdown2html
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from tools import notebooks

__all__ = ["MOST", "NPM", "Page", "deck", "html"]

MOST = 20  # pages of a chapter
NPM = {"reveal.js": "5.2.1", "katex": "0.16.22"}  # what shows the slides, and their formulas
CHOICE = '<details class="predict"'  # how each answer to a question begins
RIGHT = re.compile(r"(?s)data-right><summary>(.*?)</summary>(.*?)</details>")
SENTENCE = re.compile(r"\*\*([^*]{25,}[.?])\*\*")  # the one to remember, in bold
PROMISE = "After this chapter you can"
OWN = "## In your own loop"
LEADS = 400  # letters of the paragraphs that lead to a prediction
BRIEF, SHORT = 8, 12  # lines of the code that a prediction is about, and of a loop elsewhere
HIDDEN = {"fold", "parameters", "exercise", "solution"}


@dataclass
class Page:
    """A page: what it is, the heading above it, what it shows (Markdown), and its notes."""

    kind: str  # title, text, asks, figure, sentence or code
    head: str
    shown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figure: tuple[str, str] = ("", "")  # the image, and its description

    @property
    def promises(self) -> bool:
        """Does it say what one can do after the chapter?"""
        return "".join(self.shown).startswith(PROMISE)


def deck(notebook: NotebookNode) -> list[Page]:
    """The pages of a chapter: at most `MOST`, the longest loops being left out for that."""
    pages: list[Page] = []
    early: list[str] = []  # notes for the next page
    leads: list[str] = []  # what the section says since its last question or sentence to remember
    section, head, fresh, chosen, code = "", "", True, listings(notebook), ""

    def add(kind: str, *shown: str) -> Page:
        nonlocal fresh
        pages.append(Page(kind, head, [*shown], [*early]))
        early.clear()
        fresh = False
        return pages[-1]

    def note(text: str) -> None:
        (early if fresh or not pages else pages[-1].notes).append(text)
        for page in pages:
            if page.figure[0] and not page.notes:  # the next paragraph speaks of it
                page.notes.append(text)

    for piece in pieces(notebook):
        last = pages[-1] if pages and not fresh else None
        if isinstance(piece, NotebookNode):
            if section == "Your turn":
                faulty = re.split("(?m)^answer =", piece.source)[0].strip()
                shown = last.shown if last and "Repair" in last.shown[0] else ["\ndef "]
                if faulty and not any("\ndef " in text for text in shown):
                    shown.append(listed(faulty))  # what is to be repaired, and no solution
                continue
            code = listed(piece.source) if visible(piece) and height(piece) <= BRIEF else ""
            if piece.id in chosen:
                add("code", *first_sentence(leads[-1:]), listed(functions(piece.source)))
                code = ""
            for output in piece.outputs:
                data = output.get("data", {})
                if "image/png" in data:
                    alt = output.metadata.get("image/png", {}).get("alt", "")
                    opens = last if last and last.kind == "title" and not last.figure[0] else None
                    page = opens or add("figure")
                    page.figure = (data["image/png"], alt)
                elif text := "\n".join(notebooks.text_of(NotebookNode(outputs=[output]))).strip():
                    note(f"```\n{text}\n```")
        elif piece.startswith("# "):
            head = piece[2:]
            add("title")
        elif piece.startswith(("## ", "### ")):
            fresh, head = True, piece.lstrip("# ")
            leads.clear()
            if piece.startswith("## "):
                section = head
                if section == "Remember":
                    add("text")
        elif CHOICE in piece and last:
            last.kind = "asks"
            last.shown.append(piece)
            last.notes[:0] = [
                f"**Right: {choice}.** {reply}" for choice, reply in RIGHT.findall(piece)
            ]
            leads.clear()
        elif section == "Your turn":
            if re.match(r"\*\*\d", piece):
                add("text", piece)
            elif last:
                last.shown.append(piece)
            else:
                note(piece)
        elif section == "Remember":
            ended = any(text.startswith("**Ask") for text in [*pages[-1].notes, piece])
            (pages[-1].notes if ended else pages[-1].shown).append(piece)
        elif piece.startswith("**Predict"):
            add("asks", *nearest(leads), *([code] if code else []), piece)
        elif piece.startswith(PROMISE):
            add("text", piece)
        elif last and last.kind == "title" and not last.shown:
            last.shown.append(piece)  # the question
        elif last and last.promises:
            last.shown.append(piece)
        else:
            note(piece)
            leads.append(piece)
            for sentence in SENTENCE.findall(piece):
                leads.clear()
                if last and last.kind in ("figure", "sentence") and not last.shown:
                    last.shown.append(sentence)
                else:
                    add("sentence", sentence)
        if not isinstance(piece, NotebookNode):
            code = ""
    pages.sort(key=lambda page: page.kind != "title" and not page.promises)
    return shortened(pages)


def nearest(leads: list[str]) -> list[str]:
    """Of what leads to a prediction the last paragraph, and what goes before while all is short."""
    short = [at for at in range(len(leads)) if len("".join(leads[at:])) <= LEADS]
    return leads[min(short, default=-1) :]


def first_sentence(paragraphs: list[str]) -> list[str]:
    """The first sentence of each paragraph."""
    return [re.split(r"(?<=[.?!])\s", text)[0] for text in paragraphs]


def listed(code: str) -> str:
    """Code as Markdown shows it."""
    return f"```python\n{code}\n```"


def functions(code: str) -> str:
    """The functions of a listing, without what only gets ready to call them."""
    body = ast.parse(code).body
    ends = [
        node.end_lineno or 0 for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]
    rest = [node for node in body if ends and node.lineno > ends[-1]]
    if not ends or any(isinstance(node, ast.For | ast.With) for node in rest):
        return code
    return "\n".join(code.splitlines()[: ends[-1]])


def pieces(notebook: NotebookNode) -> Iterator[str | NotebookNode]:
    """The blocks of a chapter's text, and its cells of code."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield cell
            continue
        lines = cell.source.splitlines()
        for block in MarkdownIt().enable("table").parse(cell.source):
            if block.level == 0 and block.map and block.nesting >= 0:
                yield "\n".join(lines[slice(*block.map)])


def listings(notebook: NotebookNode) -> set[str]:
    """The cells whose code is shown, by id: of each section at most one.

    Where the loop to paste stands it is that, the longest piece if it comes in several; elsewhere
    the first loop that is short, and uses nothing that is made in other cells.
    """
    sections: list[list[NotebookNode]] = [[]]
    known = {*dir(builtins), *(name for cell in notebook.cells for name in imported(cell))}
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and re.search("(?m)^## ", cell.source):
            sections.append([])
        sections[-1].append(cell)
    chosen = set()
    for cells in sections:
        head = next((cell.source for cell in cells if cell.cell_type == "markdown"), "")
        own = [cell for cell in cells if visible(cell) and (OWN in head or "loop" in tags(cell))]
        own.sort(key=lambda cell: (".step(" in cell.source, loops(cell), height(cell)))
        short = [
            cell
            for cell in cells
            if visible(cell) and height(cell) <= SHORT and loops(cell) and used(cell) <= known
        ]
        chosen |= {cell.id for cell in own[-1:] or short[:1]}
    return chosen


def visible(cell: NotebookNode) -> bool:
    """Is it code that a reader of the chapter sees?"""
    return cell.cell_type == "code" and not HIDDEN & tags(cell)


def imported(cell: NotebookNode) -> set[str]:
    """The names that a cell imports."""
    nodes = ast.walk(ast.parse(cell.source)) if cell.cell_type == "code" else ()
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    return {name.asname or name.name for node in imports for name in node.names}


def used(cell: NotebookNode) -> set[str]:
    """The names that a cell uses and does not make."""
    nodes = [*ast.walk(ast.parse(cell.source))]
    names = [node for node in nodes if isinstance(node, ast.Name)]
    made = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    made |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    made |= {name.id for name in names if isinstance(name.ctx, ast.Store)}
    return {name.id for name in names} - made


def height(cell: NotebookNode) -> int:
    """How many lines a cell has."""
    return len(cell.source.splitlines())


def tags(cell: NotebookNode) -> set[str]:
    """The tags of a cell."""
    return set(cell.metadata.get("tags", []))


def loops(cell: NotebookNode) -> bool:
    """Is something made again and again from what it was before, as training does?"""
    return any(
        getattr(node, "attr", "") == "step"
        or (isinstance(node, ast.Assign) and _names(node.targets[0]) & _names(node.value))
        for loop in ast.walk(ast.parse(cell.source))
        if isinstance(loop, ast.For)
        for node in ast.walk(loop)
    )


def _names(node: ast.AST) -> set[str]:
    """The names in a piece of code."""
    return {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}


def shortened(pages: list[Page]) -> list[Page]:
    """The pages without the longest loops, as far as there are too many; their notes stay.

    The loop to paste is left out after the others, and a sentence by itself after that.
    """
    for kind, own in (("code", False), ("code", True), ("sentence", False)):
        rest = [page for page in pages[1:] if page.kind == kind and (page.head in OWN) == own]
        rest.sort(key=lambda page: page.shown[-1].count("\n"))
        while rest and len(pages) > MOST:
            at = pages.index(rest.pop())
            pages[at - 1].notes += pages.pop(at).notes
    return pages


# ---------------------------------------------------------------------------------- the page

WIDE, HIGH = 1160, 590  # pixels that text may fill, of 1280 and 720
TEMPLATE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>$title</title>
<link rel="stylesheet" href="reveal.js/dist/reveal.css">
<link rel="stylesheet" href="reveal.js/dist/theme/white.css">
<link rel="stylesheet" href="katex/dist/katex.min.css">
<style>
$code
.reveal .slides, .reveal .slides :is(h1, h2) { text-align: left; text-transform: none; }
.reveal .slides section { box-sizing: border-box; height: 720px; padding: 28px 56px 36px;
  flex-direction: column; gap: 14px; line-height: 1.35; }
.reveal .slides :is(h1, h2, p, ul, ol, pre, table, blockquote) { margin: 0; }
.reveal h1 { font-size: 52px; }
.reveal h2 { font-size: 24px; font-weight: 400; color: #555; letter-spacing: 0; }
.reveal .slides :is(ul, ol) { display: block; padding-left: 1.2em; }
.reveal .slides li { margin-bottom: 0.4em; }
.reveal .slides img { flex: 1 1 0; min-height: 0; width: 100%; max-width: 100%; max-height: none;
  margin: 0; object-fit: contain; }
.reveal .slides .title > div { flex: 1 1 0; min-height: 0; display: flex; gap: 32px;
  align-items: center; }
.reveal .slides .title p { flex: 3 1 0; }
.reveal .slides .title img { flex: 5 1 0; min-width: 0; height: 100%; }
.reveal .slides .figure { gap: 8px; padding-bottom: 28px; }
.reveal .slides .figure p { font-size: 26px; font-weight: 600; text-align: center; }
.reveal .slides .sentence p { margin: auto; font-size: 44px; font-weight: 600; }
.reveal .slides pre { width: auto; box-shadow: none; font-size: 1em; line-height: 1.35; }
.reveal .slides :is(th, td) { font-size: max(0.85em, 18px); line-height: 1.25; padding: 4px 10px; }
.reveal .slides details { border: 1px solid #999; border-radius: 6px; padding: 4px 14px; }
.reveal .slides summary { cursor: pointer; }
.reveal .slides details[open] { background: #f4f4f4; }
.reveal .slides details[open] summary { font-weight: 600; }
.reveal .slides details[data-right][open] { border-color: #17692f; background: #e8f4ea; }
.reveal .slide-number { right: auto; left: 8px; }
</style>
<div class="reveal"><div class="slides">
$sections
</div></div>
<script src="reveal.js/dist/reveal.js"></script>
<script src="reveal.js/plugin/notes/notes.js"></script>
<script src="katex/dist/katex.min.js"></script>
<script src="katex/dist/contrib/auto-render.min.js"></script>
<script>
  const delimiters = [
    { left: "$$$$", right: "$$$$", display: true }, { left: "$$", right: "$$", display: false }]
  for (const aside of document.querySelectorAll("aside.notes")) // the notes' window has no KaTeX
    renderMathInElement(aside, { delimiters, output: "mathml" })
  renderMathInElement(document.querySelector(".slides"), { delimiters, ignoredClasses: ["notes"] })
  Reveal.initialize({ width: 1280, height: 720, margin: 0, center: false, display: "flex",
    hash: true, controls: false, slideNumber: "c/t", transition: "none", plugins: [RevealNotes] })
</script>
</html>
""")


def html(notebook: NotebookNode) -> str:
    """The slides of a chapter; what they load lies beside them, in `reveal.js` and `katex`."""
    pages = deck(notebook)
    return TEMPLATE.substitute(
        title=escape(pages[0].head),
        code=HtmlFormatter().get_style_defs(".highlight"),
        sections="\n".join(section(page, number) for number, page in enumerate(pages)),
    )


def section(page: Page, number: int) -> str:
    """A page as a section of reveal.js."""
    rank = "h1" if page.kind == "title" else "h2"
    shown = "\n".join(map(rendered, page.shown))
    if page.kind == "asks":  # a reply closes the one before
        shown = shown.replace("<details", f'<details name="asked-{number}"')
    image, alt = page.figure
    if image:
        image = f'<img src="data:image/png;base64,{image.strip()}" alt="{escape(alt)}">'
    shown = f"<div>{shown}{image}</div>" if page.kind == "title" else image + shown
    notes = "\n".join(map(rendered, page.notes))
    return (
        f'<section class="{page.kind}" style="font-size: {size(page):.0f}px">'
        f"<{rank}>{rendered(page.head, inline=True)}</{rank}>\n{shown}\n"
        f'<aside class="notes">{notes}</aside></section>'
    )


def rendered(text: str, *, inline: bool = False) -> str:
    """Markdown as HTML: links lead to other slides, or nowhere."""
    if text.startswith("```python"):
        return Highlight2HTML()(text.removeprefix("```python\n").removesuffix("\n```"))
    text = re.sub(r"\[([^\]]*)\]\(\.\./[^)]*\)", r"\1", text).replace(".ipynb", ".html")
    text = re.sub(r" \(Click on an answer[^)]*\)", "", text)  # said of the notebook
    made = markdown2html(text).strip()
    return re.sub(r"^<p>|</p>$", "", made) if inline else made


def size(page: Page) -> float:
    """How large letters may be for all of a page to fit, in pixels."""
    code = [line for text in page.shown if text[:3] == "```" for line in text.splitlines()[1:-1]]
    text = "\n".join(text for text in page.shown if text[:3] != "```")
    words = sum(max(60, len(re.sub(r"<[^>]+>|\]\(.*?\)", "", line))) for line in text.splitlines())
    words += 120 * text.count("$$") + len("".join(re.findall("`[^`]*`", text)))  # these are wide
    if code:
        lines = len(code) + words / 115 + 1.5 * text.count(CHOICE) + 0.6 * len(page.shown)
        return min(26, HIGH / 1.35 / lines, WIDE / 0.63 / max(map(len, code)))
    room = {"asks": 640_000, "title": 260_000 if page.figure[0] else 640_000}
    return min(34, (room.get(page.kind, 730_000) / max(words, 1)) ** 0.5)
