"""What a workshop needs, made from the chapters: `python3 course.py workshop OUT`.

    OUT/learner      the notebooks to work in: no solutions, no outputs, answers left as `...`
    OUT/instructor   the notebooks as they are here, with solutions and outputs
    OUT/slides       the chapters as slides for a browser (tools/slides.py); they need no network
    OUT/*.zip        the hand-out: the course with the learner copies in place of its notebooks;
                     of these `course.py lab` makes each participant's own, in `work`

With `--run [NN ...]` nothing is written: learner copies run from top to bottom, unanswered.
With `--boards FOLDER` the boards of a room become one: FOLDER/NAME holds somebody's `work/boards`.
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
import pandas as pd
from nbconvert.preprocessors import TagRemovePreprocessor
from nbformat import NotebookNode

from lrcourse.files import ROOT
from tools import notebooks, slides

__all__ = ["fetch", "handout", "learner", "room"]

OURS = ".lrcourse-workshop"  # marks a folder that this program made, and may write anew
HANDOUT = "learning-rate-workshop"
AFTERWARDS = "| no solution | Try first; in a workshop the solutions come afterwards. |"
HANDED_OUT = (  # with the learner copies, all that a participant needs; README's links hold in it
    "course.py pyproject.toml constraints.txt environment.yml lrcourse/**/*.py lrcourse/*.mplstyle "
    "lrcourse/widgets/*.mjs lrcourse/widgets/*.svg lrcourse/**/*.toml docs/findings/*.png "
    "data/**/*.* README*.md .github/CONTRIBUTING.md CITATION.cff LICENSE notebooks/LICENSE.md "
    "CHANGELOG.md docs/*.md docs/*.py docs/*.png docs/*.svg docs/loops/*.py "
    "docs/site/glossary.md deploy/jupyterhub/README.md deploy/jupyterlab/**/*.js* "
    "deploy/kubernetes/values.yaml"
)

# ---------------------------------------------------------------------------------- copies


def learner(source: Path) -> NotebookNode:
    """The notebook of a source, for a learner: never run, and without its `solution` cells."""
    taker = TagRemovePreprocessor(remove_cell_tags={"solution"}, enabled=True)
    copy = taker.preprocess(notebooks.read_source(source), {})[0]
    for cell in copy.cells:  # chapter 00 says where they are
        cell.source = re.sub(r"(?m)^\| a folded solution \|.*", AFTERWARDS, cell.source)
    return copy


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


def fetch(into: Path) -> str | None:
    """Put reveal.js and KaTeX into a folder, from npm; a sentence when that cannot be done."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if not (npm and node):
        return "they need Node.js (its programs node and npm): install it, and run this again."
    cache = ROOT / "build" / "slides"
    cache.mkdir(parents=True, exist_ok=True)
    install = [npm, "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
    install += ["--prefer-offline", "--silent", *(f"{name}@{v}" for name, v in slides.NPM.items())]
    if subprocess.call(install, cwd=cache) != 0:
        return "npm could not fetch reveal.js and KaTeX: run this again when the network answers."
    for name in slides.NPM:
        package = cache / "node_modules" / name
        unneeded = shutil.ignore_patterns("*.map", "*.mjs", "*.esm.js", "*.ttf")
        for part in ("dist", "plugin/notes"):
            if (package / part).exists():
                shutil.copytree(package / part, into / name / part, ignore=unneeded)
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
        notebook = nbformat.read(notebooks.notebook_of(source), 4)
        if notebooks.tagged(notebook, "exercise"):  # the reference is to look up
            (out / "slides" / f"{source.stem}.html").write_text(slides.html(notebook), "utf-8")
    print(f"{out / 'slides'}: slides of each; open {sources[0].stem}.html in a browser.")
    return 0


def rehearse(sources: Sequence[Path]) -> int:
    """Run learner copies as they are handed out; 1 when a cell of one failed."""
    status = 0
    for source in sources:
        start = time.monotonic()
        try:
            ran = notebooks.execute(learner(source), source.stem, cwd=notebooks.NOTEBOOKS)
            wrong, slow = notebooks.verdicts(ran), long_cells(ran)
        except notebooks.ChapterError as error:
            wrong, slow = [str(error)], []
        status |= bool(wrong)
        said = "; ".join(wrong) or "runs unanswered"
        mark = notebooks.WRONG if wrong else notebooks.RIGHT
        print(
            f"{mark} {source.stem}: {said}, {time.monotonic() - start:.0f} s", *slow, sep="\n    "
        )
    return status


def long_cells(ran: NotebookNode) -> list[str]:
    """The cells that took five seconds or more: what to run before the room comes to them."""
    found, head = [], ""
    for cell in ran.cells:
        took = cell.metadata.get("papermill", {}).get("duration") or 0
        if cell.cell_type == "markdown":
            head = [head, *re.findall("(?m)^#+ (.+)", cell.source)][-1]
        elif took >= 5:
            found.append(f"{took:.0f} s in {head}: {cell.source.splitlines()[0]}")
    return found


def room(folder: Path) -> pd.DataFrame:
    """The best entry of each person in each exercise, first places first, and how many they made.

    Raises:
        SystemExit: the folder has no boards of anybody.
    """
    boards = [
        pd.read_csv(path).assign(exercise=path.stem, who=path.relative_to(folder).parts[0])
        for path in sorted(folder.glob("*/**/*_open.csv"))
    ]
    if not boards:
        sys.exit(
            f"{folder} holds no boards: they are NAME/boards/04_open.csv, or NAME/04_open.csv."
        )
    entries = pd.concat(boards).sort_values(["exercise", "per_cent"])
    entries["entries"] = entries.groupby(["exercise", "who"])["entry"].transform("size")
    return entries.drop_duplicates(["exercise", "who"]).set_index(["exercise", "who"])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python3 course.py workshop",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("out", nargs="?", type=Path, metavar="OUT", help="the folder to write")
    what.add_argument("--run", nargs="*", metavar="NN", help="chapters; all when none is named")
    what.add_argument("--boards", type=Path, metavar="FOLDER", help="where boards were collected")
    wanted = parser.parse_args(arguments)
    if wanted.boards:
        print(room(wanted.boards)[["per_cent", "se", "entries"]].round(2).to_string())
        return 0
    try:
        sources = notebooks.chapters(wanted.run or ())
    except notebooks.ChapterError as error:
        sys.exit(str(error))
    if not sources:
        sys.exit("There is no chapter in notebooks/source: this is a hand-out, not the course.")
    return make(wanted.out, sources) if wanted.run is None else rehearse(sources)


if __name__ == "__main__":
    sys.exit(main())
