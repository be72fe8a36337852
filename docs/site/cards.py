"""The front page's cards: a chapter's picture, its opening question, its minutes, the core path.

All of it is taken from the chapter as it is, so that a card says no more than the chapter does.
"""

import base64
import io
import json
import re
from pathlib import Path

import nbformat
from docutils import nodes
from nbformat import NotebookNode
from PIL import Image
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
THUMBNAILS = ROOT / "build" / "thumbnails"
WIDTH = 400  # pixels; a card is about half as wide
CORE = (
    "start",
    "gradient",
    "too_large",
    "schedules",
    "steps",
    "cosine",
    "warmup",
    "transformer",
    "choosing",
)
"""How the names of the chapters begin that make a course of a day."""


class Cards(SphinxDirective):
    """`{cards} 04 05`: a card for each chapter of these numbers, side by side."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """The cards of sphinx-design."""
        cards = []
        for number in self.arguments[0].split():
            (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
            self.env.note_dependency(str(path))
            cards.append(card(path, nbformat.read(path, 4)))
        text = "\n".join([":::::{grid} 1 2 3 3", ":gutter: 3", *cards, ":::::"])
        return self.parse_text_to_nodes(text)


def card(path: Path, chapter: NotebookNode) -> str:
    """A chapter's card, in MyST."""
    title, question, minutes = said(chapter)
    core = path.stem[3:].startswith(CORE)
    alt = draw_thumbnail(path.stem, chapter)
    return f"""\
::::{{grid-item-card}} {path.stem[:2]} {title}
:link: ../../notebooks/{path.stem}
:link-type: doc
:img-top: ../../build/thumbnails/{path.stem}.png
:img-alt: {json.dumps(alt, ensure_ascii=False)}

{question}
:::{{card-footer}}
{minutes} minutes{" · **core path**" if core else ""}
:::
::::"""


def said(chapter: NotebookNode) -> tuple[str, str, str]:
    """What a chapter says of itself: its title, its question, its minutes."""
    text = "\n\n".join(c.source for c in chapter.cells[:12] if c.cell_type == "markdown")
    title = re.search(r"^# (.+)", text)
    opening = re.search(r"^# .+\n+(?P<words>[^\n]+)", text)
    minutes = re.search(r"\*\*(\d+) minutes\*\*", text)
    if not (title and opening and minutes):
        raise ValueError("a chapter begins with its title, its question and its minutes")
    return title[1], opening["words"], minutes[1]


def draw_thumbnail(name: str, chapter: NotebookNode) -> str:
    """Put a small picture of a chapter where Sphinx finds it; gives the words that describe it.

    It is the figure of the cell tagged `thumbnail`, or else the chapter's first.
    """
    cells = [cell for cell in chapter.cells if cell.cell_type == "code"]
    chosen = [cell for cell in cells if "thumbnail" in cell.metadata.get("tags", [])] or cells
    figures = (o for c in chosen for o in c.outputs if "image/png" in o.get("data", {}))
    figure = next(figures)
    THUMBNAILS.mkdir(parents=True, exist_ok=True)
    with Image.open(io.BytesIO(base64.b64decode(figure.data["image/png"]))) as full:
        small = full.convert("RGB")
        small.thumbnail((WIDTH, WIDTH))
        small.quantize(64, dither=Image.Dither.NONE).save(THUMBNAILS / f"{name}.png")
    return str(figure.metadata["image/png"]["alt"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this."""
    app.add_directive("cards", Cards)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
