"""What a workshop needs, made from the chapters: `python3 course.py workshop OUT`.

    OUT/learner      the notebooks to work in: no solutions, no outputs, answers left as `...`
    OUT/instructor   the notebooks as they are here, with solutions and outputs
    OUT/slides       the chapters as slides for a browser; they need no network
    OUT/*.zip        the hand-out: the course with the learner copies in place of its notebooks;
                     of these `course.py lab` makes each participant's own, in `work`

With `--run [NN ...]` nothing is written: learner copies run from top to bottom, unanswered.
"""

import argparse
import base64
import re
import shutil
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from copy import deepcopy
from math import ceil
from pathlib import Path

import nbformat
from markdown_it import MarkdownIt
from nbconvert import SlidesExporter
from nbconvert.preprocessors import TagRemovePreprocessor
from nbformat import NotebookNode

from lrcourse.files import ROOT
from tools import notebooks

__all__ = ["handout", "learner", "pages", "slides"]

OURS = ".lrcourse-workshop"  # marks a folder that this program made, and may write anew
HANDOUT = "learning-rate-workshop"
HANDED_OUT = (  # with the learner copies, all that a participant needs; README's links hold in it
    "course.py pyproject.toml constraints.txt environment.yml lrcourse/**/*.py lrcourse/*.mplstyle "
    "lrcourse/widgets/*.mjs lrcourse/widgets/*.svg lrcourse/**/*.toml docs/findings/*.png "
    "data/**/*.* README.md .github/CONTRIBUTING.md CITATION.cff LICENSE notebooks/LICENSE.md "
    "CHANGELOG.md docs/*.md docs/*.py docs/*.png docs/loops/*.py deploy/*/*.* deploy/*/Dockerfile "
    "deploy/jupyterlab/**/*.js*"
)
NPM = {"reveal.js": "5.2.1", "katex": "0.16.22"}  # what shows the slides, and their formulas

# ---------------------------------------------------------------------------------- copies


def learner(source: Path) -> NotebookNode:
    """The notebook of a source, for a learner: never run, and without its `solution` cells."""
    taker = TagRemovePreprocessor(remove_cell_tags={"solution"}, enabled=True)
    return taker.preprocess(notebooks.read_source(source), {})[0]


def handout(sources: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    """The files of the hand-out, by name: the course, with learner copies of these sources."""
    for pattern in HANDED_OUT.split():
        for path in sorted(ROOT.glob(pattern)):
            yield path.relative_to(ROOT).as_posix(), path.read_bytes()
    for source in sources:
        yield f"notebooks/{source.stem}.ipynb", nbformat.writes(learner(source)).encode()


def write_zip(path: Path, sources: Sequence[Path]) -> None:
    """Write the hand-out; the same files give the same bytes on any day."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in handout(sources):
            entry = zipfile.ZipInfo(f"{HANDOUT}/{name}", (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # as on Linux, everywhere
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)


# ---------------------------------------------------------------------------------- slides

WIDTH, HEIGHT = 1280, 720  # pixels of a page; reveal.js scales it to the screen
FULL = 630  # pixels of a page that content may fill
FIGURE = 450  # no figure is taller
CHOICES = '<details class="predict"'  # how each answer to a prediction begins
TEMPLATE = """
{%- extends 'index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}
<link rel="stylesheet" href="katex/dist/katex.min.css">
<script src="katex/dist/katex.min.js"></script>
<script src="katex/dist/contrib/auto-render.min.js"></script>
{%- endblock -%}
{%- block data_png -%}
<img src="data:image/png;base64,{{ output.data['image/png'] }}"
  width="{{ output | get_metadata('width', 'image/png') }}"
  alt="{{ output | get_metadata('alt', 'image/png') | escape_html }}">
{%- endblock -%}
{%- block footer_js -%}
<style>
  .reveal .slides section section { height: 100%; overflow-y: auto; }
  .reveal .slides, .reveal .slides h1, .reveal .slides h2, .reveal .slides h3 {
    text-align: left; text-transform: none; letter-spacing: 0; }
  .reveal .slides h1 { font-size: 48px; }
  .reveal .slides h2 { font-size: 36px; }
  .reveal .slides h3 { font-size: 28px; }
  .reveal .slides .jp-RenderedMarkdown { font-size: 24px; line-height: 1.4; }
  .reveal .slides pre { font-size: 18px; line-height: 1.3; width: auto; margin: 4px 0;
    box-shadow: none; white-space: pre-wrap; }
  .reveal .slides table { font-size: 20px; line-height: 1.25; margin: 0 0 12px; }
  .reveal .slides img { max-height: FIGUREpx; max-width: 100%; width: auto; margin: 4px auto;
    display: block; }
  .reveal .slides .jp-Cell { padding: 2px 0; }
  .reveal .slides details.predict { border: 1px solid #999; border-radius: 6px; margin: 6px 0;
    padding: 4px 14px; }
  .reveal .slides details.predict summary { cursor: pointer; }
  .reveal .slide-number { right: auto; left: 8px; }
</style>
<script src="reveal.js/dist/reveal.js"></script>
<script>
  renderMathInElement(document.body, {delimiters: [
    {left: "$$", right: "$$", display: true}, {left: "$", right: "$", display: false}]});
  Reveal.initialize({width: WIDTH, height: HEIGHT, margin: 0.03, center: false, hash: true,
    slideNumber: "c/t", transition: "none"});
</script>
{%- endblock -%}
"""


def pages(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells of a chapter, cut and marked so that they fill slides.

    A heading of the second level begins a slide; further pages lie below it. A page ends when it
    is full, after a prediction (before the code that tells), and around a solution.
    """
    cells: list[NotebookNode] = []
    filled, ends = 0, True
    for piece in pieces(notebook):
        size, tags = height(piece), piece.metadata.get("tags", [])
        text = piece.source if piece.cell_type == "markdown" else ""
        room = size + (200 if text.startswith("###") else 0)  # no heading at the foot of a page
        kind = "-"
        if text.startswith(("# ", "## ")):
            kind = "slide"
        elif ends or "solution" in tags or filled + room > FULL:
            kind = "subslide"
        piece.metadata["slideshow"] = {"slide_type": kind}
        filled = size if kind != "-" else filled + size
        ends = "**Predict" in text or "solution" in tags
        cells.append(piece)
    return cells


def pieces(notebook: NotebookNode) -> Iterator[NotebookNode]:
    """The cells; text block by block, and output apart from code that would crowd it out.

    The answers to a prediction stay with their question. Of a cell that draws with
    `lrcourse.plots`, or whose code is folded, only the output is left.
    """
    for cell in deepcopy(notebook.cells):
        if cell.cell_type == "markdown":
            lines, texts = cell.source.splitlines(), [""]
            for block in MarkdownIt().enable("table").parse(cell.source):
                if block.level == 0 and block.map and block.nesting >= 0:
                    text = "\n".join(lines[slice(*block.map)]).replace(".ipynb)", ".html)")
                    if CHOICES in text:
                        texts[-1] += f"\n\n{text}"
                    else:
                        texts.append(text)
            yield from map(nbformat.v4.new_markdown_cell, filter(None, texts))
            continue
        bare = {**cell.metadata, "transient": {"remove_source": True}}
        output = nbformat.v4.new_code_cell("", outputs=cell.outputs, metadata=bare)
        draws = re.search(r"^(\w+ = )?plots\.", cell.source, re.MULTILINE)
        if cell.outputs and (draws or "fold" in cell.metadata.get("tags", [])):
            yield output
        elif height(cell) > FULL and cell.outputs:
            cell.outputs = []
            yield from (cell, output)
        else:
            yield cell


def height(cell: NotebookNode) -> int:
    """About how many pixels of a page a cell takes."""
    lines = cell.source.splitlines()
    if cell.cell_type == "markdown":
        if cell.source.startswith("|"):
            return sum(32 * ceil(len(line) / 110) for line in lines) + 20
        if cell.source.startswith("#"):
            return 60
        shown = [line.partition("</summary>")[0] for line in lines]  # of an answer, what one clicks
        return 34 * sum(max(1, ceil(len(line) / 105)) for line in shown) + 20
    size = 24 * len(lines) + 20 if lines else 0
    for output in cell.outputs:
        data = output.get("data", {})
        if "image/png" in data:
            wide, high = struct.unpack(">II", base64.b64decode(data["image/png"][:32])[16:24])
            size += min(FIGURE, high, FULL * 2 * high // wide) + 10
        else:
            text = output.get("text") or data.get("text/plain") or ""
            size += 10 + 24 * sum(ceil(len(line) / 105) for line in text.splitlines())
    return size


def slides(notebook: NotebookNode, name: str) -> str:
    """The page of a chapter's slides; what it loads lies beside it, in `reveal.js` and `katex`."""
    deck = deepcopy(notebook)
    deck.cells = pages(notebook)
    deck.metadata["title"] = deck.cells[0].source.lstrip("# ")
    template = TEMPLATE
    for word, number in {"WIDTH": WIDTH, "HEIGHT": HEIGHT, "FIGURE": FIGURE}.items():
        template = template.replace(word, str(number))
    exporter = SlidesExporter(
        raw_template=template,
        reveal_url_prefix="reveal.js",
        reveal_theme="white",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    return exporter.from_notebook_node(deck, {"metadata": {"name": name}})[0]


def fetch(into: Path) -> str | None:
    """Put reveal.js and KaTeX into a folder, from npm; a sentence when that cannot be done."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if not (npm and node):
        return "they need Node.js (its programs node and npm): install it, and run this again."
    cache = ROOT / "build" / "slides"
    cache.mkdir(parents=True, exist_ok=True)
    install = [npm, "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
    install += ["--prefer-offline", "--silent", *(f"{name}@{v}" for name, v in NPM.items())]
    if subprocess.call(install, cwd=cache) != 0:
        return "npm could not fetch reveal.js and KaTeX: run this again when the network answers."
    for name in NPM:
        package = cache / "node_modules" / name
        unneeded = shutil.ignore_patterns("*.map", "*.mjs", "*.esm.js", "*.ttf")
        shutil.copytree(package / "dist", into / name / "dist", ignore=unneeded)
        shutil.copy(package / "LICENSE", into / name)
    return None


# ---------------------------------------------------------------------------------- the command


def make(out: Path, sources: Sequence[Path]) -> int:
    """Write everything into `out`, saying what; 1 when the slides could not be made.

    Raises:
        SystemExit: `out` is a file, or a folder with content that this program did not write.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / OURS).exists()):
        sys.exit(f"{out} exists, and this program did not make it: name another folder.")
    out.mkdir(parents=True, exist_ok=True)
    (out / OURS).touch()
    for name in ("learner", "instructor", "slides"):
        shutil.rmtree(out / name, ignore_errors=True)
        (out / name).mkdir()
    for source in sources:
        nbformat.write(learner(source), out / "learner" / f"{source.stem}.ipynb")
        shutil.copy(notebooks.notebook_of(source), out / "instructor")
    print(f"{out / 'learner'}: {len(sources)} notebooks without solutions and outputs.")
    print(f"{out / 'instructor'}: the same with both.")
    archive = out / f"{HANDOUT}.zip"
    write_zip(archive, sources)
    size = archive.stat().st_size / 1e6
    print(f"{archive}: the hand-out, {size:.1f} MB: learner copies and all they need.", flush=True)
    missing = fetch(out / "slides")
    if missing:
        print(f"No slides: {missing}")
        return 1
    for source in sources:
        page = slides(nbformat.read(notebooks.notebook_of(source), 4), source.stem)
        (out / "slides" / f"{source.stem}.html").write_text(page, encoding="utf-8")
    print(f"{out / 'slides'}: slides of each; open {sources[0].stem}.html in a browser.")
    return 0


def rehearse(sources: Sequence[Path]) -> int:
    """Run learner copies as they are handed out; 1 when a cell of one failed."""
    status = 0
    for source in sources:
        start = time.monotonic()
        try:
            ran = notebooks.execute(learner(source), source.stem, cwd=notebooks.NOTEBOOKS)
            wrong = notebooks.verdicts(ran)
        except notebooks.ChapterError as error:
            wrong = [str(error)]
        status |= bool(wrong)
        said = "; ".join(wrong) or "runs unanswered"
        mark = notebooks.WRONG if wrong else notebooks.RIGHT
        print(f"{mark} {source.stem}: {said}, {time.monotonic() - start:.0f} s", flush=True)
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.workshop",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("out", nargs="?", type=Path, metavar="OUT", help="the folder to write")
    what.add_argument("--run", nargs="*", metavar="NN", help="chapters; all when none is named")
    wanted = parser.parse_args(arguments)
    try:
        sources = notebooks.chapters(wanted.run or ())
    except notebooks.ChapterError as error:
        sys.exit(str(error))
    if not sources:
        sys.exit("There is no chapter in notebooks/source: this is a hand-out, not the course.")
    return make(wanted.out, sources) if wanted.run is None else rehearse(sources)


if __name__ == "__main__":
    sys.exit(main())
