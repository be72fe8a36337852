"""From source to notebook, and back to check: the pipeline behind `python3 course.py notebooks`.

    source/NN_slug.md  →  cells  →  run by papermill  →  cleaned  →  NN_slug.ipynb

`build` makes notebooks, and from them the list of their claims, docs/claims.md. `verify` runs the
stored ones with another seed, `compare` runs them once more and compares every output with the
stored one. Several chapters run at once, each in a process of its own. Commands:

    python -m tools.notebooks build [NN ...]
    python -m tools.notebooks verify [NN ...] --seed 1
    python -m tools.notebooks compare [NN ...]
"""

import argparse
import ast
import atexit
import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

from lrcourse.files import ROOT, write_whole
from tools import claims
from tools.jobs import Result, chapter_jobs, run_jobs, run_program

__all__ = [
    "ChapterError",
    "build",
    "cells_of",
    "chapters",
    "clean",
    "compare_outputs",
    "execute",
    "loop_of",
    "parameters",
    "read_source",
    "verdicts",
    "verify",
    "write_notebook",
]

NOTEBOOKS = ROOT / "notebooks"
FRONT = ROOT / "docs" / "front.png"  # the README's picture
LOOPS = ROOT / "docs" / "loops"  # the loops of the chapters, as programs
CELL_SECONDS = 300  # longest a cell may take, here and under nbval, on the slowest machine
RIGHT, WRONG = "✔", "✘"  # how the lines of claim() and check() begin
LANGUAGE = {  # what JupyterLab needs to know; the version would differ from machine to machine
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}


class ChapterError(Exception):
    """What is wrong with a chapter, in one line that names the chapter and the cell."""


def chapters(numbers: Sequence[str] = (), folder: Path = NOTEBOOKS) -> list[Path]:
    """The sources of all chapters, or of those numbered, in order.

    Raises:
        ChapterError: a number that no source has, or that two have.
    """
    sources = sorted((folder / "source").glob("*.md"))
    if not numbers:
        return sources
    chosen = []
    for number in numbers:
        fits = [s for s in sources if s.stem == number or s.stem.split("_")[0] == number.zfill(2)]
        if len(fits) != 1:
            have = ", ".join(s.stem for s in sources)
            raise ChapterError(f"{len(fits)} chapters are called {number!r}; there are: {have}")
        chosen += fits
    return chosen


def notebook_of(source: Path) -> Path:
    """Where the notebook of a source lies: `notebooks/source/x.md` → `notebooks/x.ipynb`."""
    return source.parents[1] / f"{source.stem}.ipynb"


def read_source(source: Path) -> NotebookNode:
    """The notebook that a source makes, before it is run: cells with tags and stable ids.

    A cell's id comes from its kind and text, so it stays while other cells come and go. Cells
    tagged `solution` are collapsed, below a line that gives nothing away. Of cells tagged `fold`
    the code is folded away, in JupyterLab and on the page, and the output stays. The pairing is
    left out of the notebook on purpose: with it, JupyterLab would write a learner's every save back
    into the source.
    """
    notebook = jupytext.read(source)
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info=LANGUAGE,
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "solution" in tags:
            cell.metadata["jupyter"] = {"outputs_hidden": True, "source_hidden": True}
            cell.source = f"# The solution\n{cell.source}"  # JupyterLab shows the first line
        if "fold" in tags:
            cell.metadata["jupyter"] = {"source_hidden": True}  # JupyterLab's word for it
            tags.append("hide-input")  # and the site's
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        seen[digest] += 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    return notebook


def cells_of(notebook: NotebookNode) -> list[tuple[str, str, str, Any]]:
    """What must agree between a source and its notebook: id, kind, text and metadata of cells."""
    return [(c.id, c.cell_type, c.source, dict(c.metadata)) for c in notebook.cells]


def tagged(notebook: NotebookNode, tag: str) -> list[NotebookNode]:
    """The cells that carry a tag, in order."""
    return [c for c in notebook.cells if tag in c.metadata.get("tags", [])]


def parameters(notebook: NotebookNode) -> dict[str, Any]:
    """The names and values that the `parameters` cell sets: plain constants, one a line.

    Raises:
        ValueError: there is not exactly one such cell, or it does more than set constants.
    """
    cells = tagged(notebook, "parameters")
    if len(cells) != 1:
        raise ValueError(f"needs one cell tagged parameters, has {len(cells)}")
    values = {}
    for line in ast.parse(cells[0].source).body:
        if not (isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)):
            raise ValueError(f"the parameters cell may only set constants, not {ast.unparse(line)}")
        values[line.targets[0].id] = ast.literal_eval(line.value)
    return values


# Run in each kernel first. Bars are for people: none may reach a stored output; and tqdm's bar for
# notebooks does not look at TQDM_DISABLE, so it is told here.
STARTUP = """
from functools import partialmethod
from tqdm.notebook import tqdm_notebook
tqdm_notebook.__init__ = partialmethod(tqdm_notebook.__init__, disable=True)
"""


@cache
def _profile() -> Path:
    """An IPython folder with `STARTUP` alone, in place of the user's, gone when we are."""
    folder = Path(tempfile.mkdtemp(prefix="lrcourse-ipython-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    startup = folder / "profile_default" / "startup" / "00_bars.py"
    startup.parent.mkdir(parents=True)
    startup.write_text(STARTUP, encoding="utf-8")
    return folder


def prepare() -> None:
    """Set this process's environment, and so each kernel's, to one that is the same everywhere."""
    os.environ["TQDM_DISABLE"] = "1"
    os.environ["IPYTHONDIR"] = str(_profile())
    # The kernel called python3 must be this Python's, not another of that name in the home folder.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ["PYTHONUTF8"] = "1"
    for name in ("JUPYTER_PATH", "MPLBACKEND"):
        os.environ.pop(name, None)


def execute(
    notebook: NotebookNode, name: str, *, cwd: Path, values: Mapping[str, Any] | None = None
) -> NotebookNode:
    """Run a notebook in a kernel of its own, in the folder `cwd`, with other parameters if given.

    Args:
        notebook: what to run; it is not changed.
        name: the chapter, for messages.
        cwd: the folder the kernel runs in.
        values: replace what the `parameters` cell sets.

    Raises:
        ChapterError: a value that the `parameters` cell does not set, or a cell that failed.
    """
    values = dict(values or {})
    try:
        known = parameters(notebook)
    except ValueError as error:
        raise ChapterError(f"{name}: {error}") from None
    for key in values:
        if key not in known:
            raise ChapterError(f"{name}: no parameter {key!r}; there are {', '.join(known)}")
    prepare()
    with tempfile.TemporaryDirectory(prefix="lrcourse-") as scratch:
        before, after = Path(scratch, f"{name}.ipynb"), Path(scratch, "out.ipynb")
        nbformat.write(notebook, before)
        try:
            return papermill.execute_notebook(
                before,
                after,
                parameters=values,
                cwd=cwd,
                kernel_name="python3",
                progress_bar=False,
                request_save_on_cell_execute=False,
                execution_timeout=CELL_SECONDS,
                extra_arguments=["--IPKernelApp.log_level=ERROR"],  # its advice is not for readers
            )
        except PapermillExecutionError as error:
            first = (error.source.strip().splitlines() or [""])[0]
            what = f"{error.ename}: {error.evalue}".strip().splitlines()
            raise ChapterError(
                f"{name}, code cell {error.exec_count} ({first}): {what[-1] if what else 'failed'}"
            ) from None
        except CellTimeoutError as error:
            first = re.search(r"-{5,}\n\W*(.*)", str(error))  # it shows the beginning of the cell
            where = f" ({first.group(1)})" if first else ""
            raise ChapterError(
                f"{name}, a code cell{where}: not done in {CELL_SECONDS} s"
            ) from None
        except DeadKernelError:
            raise ChapterError(f"{name}: the kernel died (out of memory?)") from None


def clean(made: NotebookNode, ran: NotebookNode) -> NotebookNode:
    """The cells of `made` with the outputs of `ran`: nothing of when, where or by what it was run.

    Args:
        made: from `read_source`.
        ran: the same cells after `execute` without values.
    """
    result = nbformat.from_dict(made)
    for cell, executed in zip(result.cells, ran.cells, strict=True):
        if cell.cell_type == "code":
            cell.execution_count = executed.execution_count
            cell.outputs = merged(executed.outputs)
    return result


def merged(outputs: Sequence[NotebookNode]) -> list[NotebookNode]:
    """Outputs with neighbouring pieces of one stream joined: how often it was flushed is chance."""
    result: list[NotebookNode] = []
    streams: dict[str, NotebookNode] = {}  # of the run of stream outputs that we are in
    for output in outputs:
        if output.output_type != "stream":
            streams = {}
        elif output.name in streams:
            streams[output.name].text += output.text
            continue
        else:
            streams[output.name] = output
        for live in ("application/vnd.jupyter.widget-view+json",):
            output.get("data", {}).pop(live, None)  # points to a kernel that is gone
        result.append(output)
    return result


def write_notebook(notebook: NotebookNode, path: Path) -> bool:
    """Write a notebook, whole or not at all, with LF line ends; False when nothing changed."""
    nbformat.validate(notebook)
    data = (nbformat.writes(notebook, version=nbformat.NO_CONVERT).rstrip("\n") + "\n").encode()
    if path.exists() and path.read_bytes() == data:
        return False
    with write_whole(path) as part:
        part.write_bytes(data)
    return True


def build(source: Path) -> bool:
    """Make a chapter's notebook from its source; False when the file was right already.

    Raises:
        ChapterError: a cell failed; the old notebook is left as it was.
    """
    made = read_source(source)
    target = notebook_of(source)
    notebook = clean(made, execute(made, source.stem, cwd=target.parent))
    for picture in front_pictures(notebook):
        with write_whole(FRONT) as part:
            part.write_bytes(picture)
    script = loop_of(made, source.stem)
    if script:
        LOOPS.mkdir(exist_ok=True)
        with write_whole(LOOPS / f"{source.stem}.py") as part:
            part.write_text(script, encoding="utf-8", newline="\n")
    return write_notebook(notebook, target)


def loop_of(notebook: NotebookNode, name: str) -> str:
    """The cells tagged `loop` as a program that needs PyTorch alone; "" where there is none."""
    cells = [cell.source for cell in tagged(notebook, "loop")]
    title = re.search(r"(?m)^# (.+)$", notebook.cells[0].source)
    begin = f'"""{title[1] if title else name}: the loop of chapter {name[:2]}, to paste."""'
    return "\n\n".join([begin, *cells]) + "\n" if cells else ""


def front_pictures(notebook: NotebookNode) -> list[bytes]:
    """The PNG of the cell tagged `front-picture`, which the README shows; [] without one."""
    return [
        base64.b64decode(output["data"]["image/png"])
        for cell in tagged(notebook, "front-picture")
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]


def text_of(cell: NotebookNode) -> list[str]:
    """The lines that a cell printed or showed as text."""
    parts = [
        o.text if o.output_type == "stream" else o.get("data", {}).get("text/plain", "")
        for o in cell.get("outputs", [])
    ]
    return "\n".join(parts).splitlines()


def verdicts(notebook: NotebookNode) -> list[str]:
    """What is wrong with the exercises of an executed notebook, one line each; [] when all is well.

    A solution must be found right by its check, and the untouched exercise must not.
    """
    wrong = []
    for number, cell in enumerate(notebook.cells):
        tags, lines = cell.metadata.get("tags", []), text_of(cell)
        right = any(line.startswith(RIGHT) for line in lines)
        where = f"cell {number} ({(cell.source.splitlines() or [''])[0]})"
        if "solution" in tags and (not right or any(line.startswith(WRONG) for line in lines)):
            wrong.append(
                f"{where}: the solution is not found right: {' / '.join(lines) or 'silent'}"
            )
        if "exercise" in tags and right:
            wrong.append(f"{where}: the untouched exercise is found right")
        if "exercise" in tags and any(o.output_type == "error" for o in cell.outputs):
            wrong.append(f"{where}: the untouched exercise raises an error")
    return wrong


def verify(path: Path, seed: int) -> None:
    """Run a stored notebook with another seed, up to its exercises: all claims must hold.

    The exercises are left out: whether a solution is found right does not depend on the chapter's
    seed, and `compare_outputs` runs each of them.

    Raises:
        ChapterError: a cell failed.
    """
    notebook = nbformat.read(path, 4)
    notebook.cells = [
        cell
        for cell in notebook.cells
        if not {"exercise", "solution"} & set(cell.metadata.get("tags", []))
    ]
    execute(notebook, path.stem, cwd=path.parent, values={"seed": seed})


def compare_outputs(path: Path) -> None:
    """Run a stored notebook with nbval, each output against the stored one.

    Raises:
        ChapterError: an output differs, a cell failed, or there was nothing to compare.
    """
    prepare()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-o", "addopts=", "-q"]
    command += ["--nbval", "--nbval-current-env", f"--nbval-cell-timeout={CELL_SECONDS}"]
    command += ["--nbval-sanitize-with", str(ROOT / "tests" / "nbval_sanitize.cfg")]
    # By its name alone: in the name of a folder pytest may take brackets for something else.
    if subprocess.run([*command, path.name], cwd=path.parent).returncode != 0:
        raise ChapterError(f"{path.stem}: it does not give its stored outputs again, see above")


def show_said(result: Result) -> None:
    """Print what a chapter's process said."""
    print(result.said, end="", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; every chapter is tried, and the status is 1 when one failed."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.notebooks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=["build", "verify", "compare"])
    parser.add_argument("numbers", nargs="*", metavar="NN", help="chapters; all when none is named")
    parser.add_argument("--seed", type=int, default=1, help="for verify; 1 when not given")
    wanted = parser.parse_intermixed_args(arguments)  # numbers may stand after --seed, too
    try:
        sources = chapters(wanted.numbers)
    except ChapterError as error:
        sys.exit(str(error))
    if not sources:  # pytest without a file to run would run everything else
        sys.exit("There is no chapter in notebooks/source.")
    if len(sources) > 1:
        words = ["tools.notebooks", wanted.command, "--seed", str(wanted.seed)]
        results = run_jobs(chapter_jobs(wanted.command, sources, *words), show_said)
        if wanted.command == "build":
            claims.write()  # once more, now that all chapters are there
        return int(any(result.status for result in results))
    (source,) = sources
    start = time.monotonic()
    try:
        if wanted.command == "build":
            done = "written" if build(source) else "unchanged"
            claims.write()
        elif wanted.command == "verify":
            verify(notebook_of(source), wanted.seed)
            done = f"holds for seed {wanted.seed}"
        else:
            compare_outputs(notebook_of(source))
            done = "gives its stored outputs again"
    except (ChapterError, OSError) as error:
        print(f"{WRONG} {error}", file=sys.stderr, flush=True)
        return 1
    print(f"{RIGHT} {source.stem}: {done}, {time.monotonic() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    run_program(main)
