#!/usr/bin/env python3
"""The course's one command. `python3 course.py` lists what it can do: the table COMMANDS, below.

Whatever runs, runs in an environment of its own, which `set_up` makes and keeps complete. Any
Python since 3.6 may call this file, so it keeps to the standard library and to that syntax; where
the environment is still to be made, one that the course supports is looked for.
"""

import ast
import functools
import hashlib
import importlib.util
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent
ENV = Path(os.path.abspath(os.path.expanduser(os.environ.get("LRCOURSE_VENV") or ROOT / ".venv")))
WORK = Path(os.path.abspath(os.path.expanduser(os.environ.get("LRCOURSE_WORK") or ROOT / "work")))
WINDOWS = os.name == "nt"
BIN = ENV / ("Scripts" if WINDOWS else "bin")
PYTHON = BIN / ("python.exe" if WINDOWS else "python")
SETTINGS = ENV / "settings"  # of JupyterLab, IPython and others, in place of the reader's own
STAMP = ENV / "lrcourse-stamp.json"  # empty: begun by this file; filled, last of all: complete
OLDEST, TOO_NEW = (3, 11), (3, 15)  # requires-python in pyproject.toml
NEWEST = f"{TOO_NEW[0]}.{TOO_NEW[1] - 1}"
RANGE = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST}"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CUDA_INDEX = "https://download.pytorch.org/whl/cu130"
CACHES = "__pycache__ .pytest_cache .ruff_cache .mypy_cache .hypothesis .ipynb_checkpoints runs"

HELP = """The Learning Rate, by Experiment: one command to learn, one to check.

{commands}

Your copies of the chapters are in work (or the folder that LRCOURSE_WORK names). What a command
needs is set up in .venv (or the folder that LRCOURSE_VENV names), in minutes, once. With an
NVIDIA card, --cuda brings PyTorch's CUDA build, gigabytes: chapter 13 and lrcourse.pretrain then
train on the card. On Windows write python for python3."""


# ------------------------------------------------------------------------ a Python to begin with


def ask(*command: str, variables: Optional[Dict[str, str]] = None) -> str:
    """What a program prints; nothing when it is missing or broken. It must download nothing."""
    never = {**(variables or os.environ), "PYTHON_MANAGER_AUTOMATIC_INSTALL": "false"}  # for `py`
    try:
        said = subprocess.check_output(command, stderr=subprocess.DEVNULL, timeout=60, env=never)
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.decode(errors="replace").strip()


def other_pythons() -> Iterator[List[str]]:
    """The commands by which another Python may answer here, the newest first; uv is asked last."""
    versions = [f"{OLDEST[0]}.{minor}" for minor in range(TOO_NEW[1] - 1, OLDEST[1] - 1, -1)]
    for version in versions:
        for folder in os.get_exec_path():  # each one: the first of that name may be the broken one
            yield [os.path.join(folder, f"python{version}{'.exe' if WINDOWS else ''}")]
        if WINDOWS:
            yield ["py", f"-{version}"]
    wanted = ">={}.{},<{}.{}".format(*OLDEST, *TOO_NEW)
    found = ask("uv", "python", "find", "--system", "--no-python-downloads", wanted)
    if found:
        yield [found]


def version_of(command: Sequence[str]) -> str:
    """The version of a Python that runs, suits the course and can make environments; else ""."""
    say = "import sys, venv, ensurepip; print('%d.%d.%d' % sys.version_info[:3])"
    version = ask(*command, "-c", say)
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        return ""
    return version if OLDEST <= tuple(map(int, version.split(".")[:2])) < TOO_NEW else ""


def suitable_python() -> List[str]:
    """The command of a Python to make the environment with: this one, if not another found here."""
    if OLDEST <= sys.version_info[:2] < TOO_NEW:
        refuse_without_venv()
        return [sys.executable]
    why = f"The course needs Python {RANGE}, and this is {sys.version.split()[0]}"
    for command in other_pythons():
        version = version_of(command)
        if version:
            print(f"{why}: using {' '.join(command)}, which is {version}.", flush=True)
            return command
    sys.exit(f"{why}, and no other is found here: get one {how_to_get_one()}, then run this again.")


def how_to_get_one() -> str:
    """With what command a person gets a Python for the course on this system."""
    if WINDOWS:
        return f"from python.org or with `winget install Python.Python.{NEWEST}`"
    if sys.platform == "darwin":
        return f"from python.org or with `brew install python@{NEWEST}`"
    debian = "with `sudo apt install python3 python3-venv` on Debian 12, Ubuntu 24.04 or later"
    return f"{debian}, elsewhere with `uv python install {NEWEST}`"


def refuse_without_venv() -> None:
    """Leave with one sentence when this Python cannot make virtual environments."""
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            sys.exit(
                f"This Python has no {module} module, so it cannot make virtual environments: "
                "install it first (on Debian and Ubuntu: sudo apt install python3-venv)."
            )


# ------------------------------------------------------------------------------- the environment


def environment() -> Dict[str, str]:
    """The variables under which everything runs: our programs, kernel and settings; UTF-8 always.

    A person's own settings of Python, Jupyter, matplotlib and others may serve another folder, run
    other code before ours or draw elsewhere. They are set aside, files and variables, so that the
    course is the same on every machine.
    """
    theirs = ("PYTHON", "JUPYTER", "IPYTHON", "MPL", "MATPLOTLIB", "KERAS_", "PYTEST_", "TQDM_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    ours = {"PATH": f"{BIN}{os.pathsep}{kept.get('PATH', '')}", "VIRTUAL_ENV": str(ENV)}
    if kept.get("LC_ALL") in ("C", "POSIX"):  # there Python cannot read the names of all folders
        ours["LC_ALL"] = "C.UTF-8"
    python = {"PYTHONUTF8": "1", "PYTHONNOUSERSITE": "1", "PYTHONPATH": str(ROOT)}
    folders = {name: str(SETTINGS / folder) for name, folder in FOLDERS.items()}
    return {**kept, **ours, **python, **folders, "JUPYTER_PREFER_ENV_PATH": "1"}


FOLDERS = {
    "JUPYTER_CONFIG_DIR": "jupyter",
    "JUPYTER_DATA_DIR": "jupyter/data",
    "IPYTHONDIR": "ipython",
    "MPLCONFIGDIR": "matplotlib",
    "KERAS_HOME": "keras",
}


def set_up(cuda: bool, extras: Iterable[str]) -> None:
    """Make the environment complete: at once when it is, in place when the packages changed.

    What it once had it keeps: the CUDA build of PyTorch, and each of the extras, which are lists
    of packages in pyproject.toml beside those that everybody needs.
    """
    if cuda and sys.platform == "darwin":
        sys.exit(
            "--cuda is for NVIDIA's cards. Apple's GPU works with the usual build: leave it out."
        )
    old = STAMP.read_text().split() if STAMP.is_file() and PYTHON.exists() else []
    build = "cuda" if cuda or "cuda" in old else "cpu"
    extras = sorted({*extras, *old[2:]})
    new = [packages_key(), build, *extras]
    if old == new:
        return
    python = None if old else suitable_python()
    print(f"Setting up {ENV} (a few minutes, once) ...", flush=True)
    if python:
        make_venv(python)
    pip("flit_core")  # small and first: it fails soon if it must, and builds the course offline
    get_torch(build, old)
    pip("--no-build-isolation", "-e", f".[{','.join(extras)}]" if extras else ".")
    refuse_incomplete()
    STAMP.write_text(" ".join(new))


def packages_key() -> str:
    """What the environment is made from, in one word that changes with it."""
    needs = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    # The course's folder counts too: the environment refers to it, and it may have been moved.
    return hashlib.sha256(b"".join([*needs, os.fsencode(str(ROOT))])).hexdigest()


def make_venv(python: Sequence[str]) -> None:
    """Make the virtual environment from scratch, in place of a half-made one, and only of that."""
    held = {path.name for path in ENV.iterdir()} if ENV.is_dir() else set()
    if ENV.is_file() or (held and not held & {"pyvenv.cfg", STAMP.name}):
        sys.exit(f"{ENV} is not a virtual environment: move it away, and run this again.")
    if held and ENV != ROOT / ".venv" and STAMP.name not in held:
        sys.exit(f"{ENV} was not made by the course: name another folder in LRCOURSE_VENV.")
    if held:
        print(f"{ENV} is half-made: making it again.", flush=True)
        shutil.rmtree(str(ENV))
    ENV.mkdir(parents=True, exist_ok=True)
    STAMP.write_text("")
    if subprocess.call([*python, "-m", "venv", str(ENV)], env=environment()) != 0:
        sys.exit(f"Python could not make a virtual environment in {ENV}.")


def get_torch(build: str, old: Sequence[str]) -> None:
    """Fetch PyTorch before the rest, where it matters which of its builds that is."""
    anew = ["--force-reinstall"] if build == "cuda" and "cpu" in old else []
    if build == "cuda" and WINDOWS:
        # The usual build for Windows has no CUDA; PyTorch's own index has one that does.
        pip("torch", "--no-deps", "--index-url", CUDA_INDEX, *anew)
    elif anew:
        pip("torch", "--no-deps", *anew)
    elif build == "cpu" and sys.platform.startswith("linux"):
        # torch for Linux brings gigabytes of CUDA, unless PyTorch's own index offers the CPU build
        # of that version, which sorts above it. Out of reach, it costs seconds and fails nothing.
        hasty = ["--retries", "0", "--timeout", "15", "--extra-index-url", CPU_INDEX]
        pip("torch", "--no-deps", *hasty, may_fail=True)


def pip(*what: str, may_fail: bool = False) -> None:
    """Install under the constraints; leave with one sentence when that cannot be done."""
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", *what]
    # Python compiles what it imports; to compile all of it here takes longer than to download it.
    command += ["--no-compile", "-c", str(ROOT / "constraints.txt")]
    options = {"cwd": str(ROOT), "env": pip_environment(), "errors": "replace"}
    options.update(stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = ""
    with subprocess.Popen(command, **options) as process:  # type: ignore
        for line in process.stdout:
            said += line
            if not SMALL.match(line):
                print(line.split(" collected packages: ")[0].rstrip(), flush=True)
    if process.returncode != 0 and not may_fail:
        sys.exit(why_not(said))


SMALL = re.compile(  # of what pip reports, all but downloads of a megabyte and more, and complaints
    r"$|\s*(Collecting|Requirement already|Obtaining|Looking in|Using cached|Processing|Preparing|"
    r"Getting|Checking|Installing build|Building|Created|Stored|Attempting|Found|Uninstalling|"
    r"Successfully|Downloading .*(metadata|kB|bytes)|.*\d/[\d.]+ [kMG]B)"
)
WHERE_FROM = (  # of pip's settings, those that say where packages come from, and how they get here
    "index-url extra-index-url no-index find-links trusted-host proxy cert client-cert timeout "
    "default-timeout retries cache-dir no-cache-dir keyring-provider"
)


@functools.lru_cache()
def pip_environment() -> Dict[str, str]:
    """The variables for pip: of a person's own settings, those of WHERE_FROM and no others.

    Any other may send the packages elsewhere (target, prefix, user), or leave some out (no-deps).
    """
    others = {name: value for name, value in environment().items() if name[:4] != "PIP_"}
    files = {name: os.environ[name] for name in ["PIP_CONFIG_FILE"] if name in os.environ}
    # They hold for `pip config` as well: `user = true` would make it read one of its files alone.
    plain = {"PIP_" + name: "0" for name in ("USER", "GLOBAL", "SITE", "QUIET")}
    reader = {**others, **files, **plain, "PIP_LOG": os.devnull}
    listed = ask(str(PYTHON), "-m", "pip", "config", "list", variables=reader)
    found = {}
    for section in ("global", "install"):  # the second has the last word, as pip has it
        for name, value in re.findall(rf"^{section}\.([\w-]+)=(['\"].*)$", listed, re.MULTILINE):
            found[name] = ast.literal_eval(value.strip())
    for name, value in os.environ.items():
        if name[:4] == "PIP_":
            found[name[4:].lower().replace("_", "-")] = value
    kept = {name: found[name] for name in WHERE_FROM.split() if name in found}
    as_variables = {"PIP_" + name.upper().replace("-", "_"): kept[name] for name in kept}
    return {**others, **as_variables, "PIP_CONFIG_FILE": os.devnull}


def refuse_incomplete() -> None:
    """Leave with one sentence unless each package has what it needs, in a version that suits it."""
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "check"]
    ran = subprocess.Popen(command, env=pip_environment(), stdout=subprocess.PIPE)
    said = ran.communicate()[0].decode(errors="replace").strip()
    if ran.returncode != 0:
        why = said.splitlines()[0] if said else "pip does not run"
        sys.exit(f"{ENV} is not complete ({why}): delete it, and run this again.")


def why_not(said: str) -> str:
    """pip's complaint in one sentence, with what to do where that is known."""
    names = re.findall(r"(?:Cannot install|distribution found for|the requirement) (\S+)", said)
    if names or re.search(r"Connection|Max retries|timed out", said):
        return (
            f"\nCould not fetch {names[-1] if names else 'the packages'}, as the network or the "
            "package index does not answer or lacks it: run this again when it does, or first "
            f"point pip at a mirror with `{PYTHON} -m pip config set global.index-url URL`."
        )
    return f"\npip could not install the packages: {said.strip() and said.splitlines()[-1]}"


def settle_lab() -> None:
    """Set JupyterLab up for a first-time learner: day or night as the system has it, no questions.

    Nothing is fetched for the news or the extension manager. The table of contents is open, at
    first: where it is later, and what else is set in Lab, is the learner's.
    """
    put_down(ENV / "share" / "jupyter" / "lab" / "settings" / "overrides.json", FIRST_SETTINGS)
    workspace = SETTINGS / "jupyter" / "lab" / "workspaces" / "default-37a8.jupyterlab-workspace"
    if not workspace.exists():
        put_down(workspace, FIRST_LAYOUT)


def put_down(path: Path, content: Any) -> None:
    """Write a file where its content is not there already."""
    if read_json(path) != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, content)


FIRST_SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false"},
    "@jupyterlab/apputils-extension:themes": {"adaptive-theme": True},
    "@jupyterlab/extensionmanager-extension:plugin": {"enabled": False},
}
FIRST_LAYOUT = {
    "data": {
        "layout-restorer:data": {
            "main": {"dock": None},
            "left": {
                "collapsed": False,
                "visible": True,
                "current": "@jupyterlab/toc:plugin",
                "widgets": ["filebrowser", "running-sessions", "@jupyterlab/toc:plugin"],
            },
            "right": {"collapsed": True, "visible": True, "widgets": []},
            "relativeSizes": [0.22, 0.78, 0],
        }
    },
    "metadata": {"id": "default"},
}


# ------------------------------------------------------------------------ a learner's own copies
#
# `work` holds a copy of every chapter: nothing in it has run, answers are open, solutions lie under
# folded headings. What the course wrote there is on record, cell by cell, so that the learner's
# cells can be told from the course's. A chapter that the learner has not changed follows the
# course. A changed one is never written over, but by `renew`, which lays the learner's cells into
# the new chapter and keeps the old file. Outputs are no change, nor is an empty cell at the end:
# whoever runs a chapter makes both.

RECORD = WORK / ".made.json"  # damaged or gone, nothing is lost: copies then count as changed
CHAPTERS = "[0-9][0-9]_*.ipynb"
QUESTION = re.compile(r"^\*\*(\d+\.( \w+\.)?)\*\*\s*", re.MULTILINE)  # **3.** or **3. Judge.**
HEADING = re.compile(r"^#{1,4} ", re.MULTILINE)  # such a one ends what is under "#### Solution"
FOLDED = "jp-MarkdownHeadingCollapsed"  # JupyterLab's word for it, in the heading's metadata
Cell = Dict[str, Any]
Notebook = Dict[str, Any]
Marks = List[List[str]]  # for each cell of a notebook that holds anything: id, fingerprint
Record = Dict[str, Marks]  # of the copies by name, as the course wrote them


def update_copies() -> None:
    """Make the copies that are missing, and let those that nobody changed follow the course."""
    WORK.mkdir(parents=True, exist_ok=True)
    record, done = read_record(), {}
    for name, copy in copies().items():
        done.setdefault(update_copy(name, copy, record), []).append(name)
    drop_withdrawn(record)
    write_json(RECORD, record)
    for what, said in DONE.items():
        names = done.get(what)
        if names:
            print(said.format(", ".join(name[:2] for name in names), WORK), flush=True)


DONE = {  # what became of copies: their numbers, where
    "made": "New in {1}, yours to work in: {0}.",
    "followed": "The course has changed these, and you had not (running them does not count), so "
    "you have the new ones: {0}.",
    "kept": "The course has newer ones of these, and you have worked in yours, which stay as they "
    "are: {0}. `python3 course.py renew NN` brings the new one, with your cells in it.",
    "unreadable": "No notebook that can be read, and left as it is: {0} in {1}. "
    "`python3 course.py renew NN` sets it aside and brings the course's.",
}


def update_copy(name: str, copy: Notebook, record: Record) -> str:
    """Bring one copy up to date where that loses nothing; gives a word of DONE, or "same"."""
    target, now = WORK / name, marks_of(copy)
    done = "made"
    if os.path.lexists(str(target)):
        mine = read_notebook(target)
        if mine is None:
            return "unreadable"
        before = record.get(name)
        if before is None and {mark[0] for mark in now} <= {mark[0] for mark in marks_of(mine)}:
            before = now  # the record was lost, and this is a copy of today's chapter
        if before == now:
            record[name] = now
            return "same"
        if marks_of(mine) != before:
            return "kept"
        done = "followed"
    write_json(target, copy)
    record[name] = now
    return done


def drop_withdrawn(record: Record) -> None:
    """Delete copies of chapters that the course has no more, unless the learner changed them."""
    for name in set(record) - {path.name for path in (ROOT / "notebooks").glob(CHAPTERS)}:
        mine = read_notebook(WORK / name)
        if mine is not None and marks_of(mine) == record[name]:
            (WORK / name).unlink()
        del record[name]


def renew(words: List[str]) -> int:
    """Bring the course's newest of these chapters, with the learner's cells in it."""
    wanted = tuple(Path(word).name.zfill(2) for word in words)
    chosen = {name: copy for name, copy in copies().items() if wanted and name.startswith(wanted)}
    if not chosen:
        sys.exit("Which chapter? Give the number of one, as in `python3 course.py renew 03`.")
    WORK.mkdir(parents=True, exist_ok=True)
    record = read_record()
    for name, copy in chosen.items():
        if update_copy(name, copy, record) in ("kept", "unreadable"):
            print(renew_copy(name, copy, record))
        else:
            print(
                f"{WORK / name} is the course's newest. To begin it anew, delete it or rename it."
            )
    write_json(RECORD, record)
    return 0


def renew_copy(name: str, copy: Notebook, record: Record) -> str:
    """Write the new chapter with the learner's cells in it, the old file kept; says so."""
    old = set_aside(WORK / name)
    now, mine = marks_of(copy), read_notebook(old)
    told = "what stood there could not be read"
    if mine:
        filled, beside = carry_over(copy, mine["cells"], record.get(name))
        told = (
            f"of your cells, {filled} in place of the course's and {beside} added where they stood"
        )
    write_json(WORK / name, copy)
    record[name] = now
    return (
        f"{WORK / name} is new; {told}. What it was is kept in {old}. Is it open in JupyterLab? "
        "Then File > Reload Notebook from Disk."
    )


def set_aside(target: Path) -> Path:
    """Copy a learner's file to `work/earlier`, under a name that no other has; gives its path."""
    earlier = WORK / "earlier"
    earlier.mkdir(exist_ok=True)
    stem = f"{target.stem}.{time.strftime('%Y-%m-%d_%H%M%S')}"
    names = (f"{stem}{'-' * (n > 0)}{n or ''}{target.suffix}" for n in itertools.count())
    kept = next(earlier / name for name in names if not (earlier / name).exists())
    shutil.copy2(str(target), str(kept))
    return kept


def carry_over(copy: Notebook, mine: List[Cell], before: Optional[Marks]) -> Tuple[int, int]:
    """Lay a learner's cells into a new copy; gives how many took a place there, how many stand by.

    A cell takes the place of the course's with its id, else that of the exercise by its name: the
    course gives a cell of another text another id. Any further cell stands behind the one that it
    stood behind. What the course wrote, by `before`, is left behind; where that is not known, what
    is not in the new copy counts as the learner's.
    """
    cells = copy["cells"]
    places = {cell["id"]: cell for cell in cells}
    exercises = {exercise_of(cell): cell for cell in cells if exercise_of(cell)}
    written = {mark[1] for mark in before or marks_of(copy)}
    ids = {mark[0] for mark in before or marks_of({"cells": mine})}
    filled, beside, last = set(), 0, None
    for cell in mine:
        ours = cell.get("id", "") in ids or "id" not in cell  # it began as one of the course's
        place = places.get(cell.get("id", "")) or exercises.get(exercise_of(cell))
        if not text_of(cell).strip():
            continue
        if fingerprint(cell) in written:
            if place and ours:
                fold_like(place, cell)
                last = place
        elif place and ours and place["id"] not in filled:
            put(cell, place)
            filled.add(place["id"])
            last = place
        else:
            at = next((i + 1 for i, other in enumerate(cells) if other is last), 0)
            last = dict(bare(cell), id=free_id(cell, cells))
            cells.insert(at, last)
            beside += 1
    return len(filled), beside


def put(cell: Cell, place: Cell) -> None:
    """Let a learner's cell take the place of one in the copy, whose id and tags stay."""
    kept = {"id": place["id"], "metadata": place["metadata"]}
    place.clear()
    place.update(bare(cell), **kept)
    fold_like(place, cell)


def fold_like(place: Cell, cell: Cell) -> None:
    """Leave a heading folded or open as the learner had it."""
    place["metadata"].pop(FOLDED, None)
    if cell.get("metadata", {}).get(FOLDED):
        place["metadata"][FOLDED] = True


def free_id(cell: Cell, cells: List[Cell]) -> str:
    """The cell's id, or another where it has none or one of these cells has the same."""
    taken = {other["id"] for other in cells}
    names = itertools.chain([cell.get("id")], (f"own-{n}" for n in itertools.count(1)))
    return next(name for name in names if name and name not in taken)


# What a copy is made of


def copies() -> Dict[str, Notebook]:
    """The copies that the course's chapters make, by name; a damaged chapter makes none."""
    found = {}
    for path in sorted((ROOT / "notebooks").glob(CHAPTERS)):
        chapter = read_notebook(path)
        if chapter is None:  # half a merge, perhaps
            print(f"{path} is not a notebook that can be read: its copy stays as it is.")
        else:
            found[path.name] = copy_of(chapter)
    return found


def copy_of(chapter: Notebook) -> Notebook:
    """A chapter as learners get it: nothing has run, and each solution is under a folded heading.

    What JupyterLab runs under a folded heading stays folded. The next heading ends it, so each
    question gets one; where code follows a solution first, a heading of its own is set before it.
    """
    given, cells, folded = list(pieces(chapter["cells"])), [], False
    for at, cell in enumerate(given):
        if is_solution(cell):
            if not folded:
                cells.append(heading(f"{cell['id']}-fold", "#### Solution", FOLDED))
            folded = True
        elif folded and not before_heading(given[at:]):
            cells.append(heading(f"{cell['id']}-on", "#### Afterwards"))
            folded = False
        elif is_heading(cell):
            folded = False
        cells.append(cell)
    return dict(chapter, cells=cells)


def pieces(cells: List[Cell]) -> Iterator[Cell]:
    """The cells that have not run, questions under headings; remarks on a solution stand alone."""
    remark = False
    for given in cells:
        cell = bare(given)
        if cell["cell_type"] == "markdown":
            text = QUESTION.sub(exercise_heading, text_of(cell))
            start = first_heading(text) or 0
            if remark and start:
                yield dict(cell, id=f"{cell['id']}-remark", source=text[:start].rstrip())
                text = text[start:]
            cell["source"] = text
        remark = is_solution(cell) or (remark and not is_heading(cell))
        yield cell


def bare(cell: Cell) -> Cell:
    """The cell as if it had not run; a solution lies open, since the heading above it is folded."""
    new = json.loads(json.dumps(cell))  # a copy, all the way down
    new.update(metadata=new.get("metadata", {}), source=text_of(new))
    if new["cell_type"] == "code":
        new.update(outputs=[], execution_count=None)
    if is_solution(new):
        new["metadata"].pop("jupyter", None)
    return new


def heading(name: str, text: str, *flags: str) -> Cell:
    """A cell with a heading, and these words set in its metadata."""
    metadata = dict.fromkeys(flags, True)
    return {"cell_type": "markdown", "id": name, "metadata": metadata, "source": text}


def exercise_heading(question: "re.Match[str]") -> str:
    """The line above a question, in place of its number in bold."""
    return f"### Exercise {question.group(1)[:-1]}\n\n"


def first_heading(text: str) -> Optional[int]:
    """Where the first heading of a text begins that is not a comment in a listing."""
    starts = (match.start() for match in HEADING.finditer(text))
    return next((start for start in starts if text.count("```", 0, start) % 2 == 0), None)


def is_heading(cell: Cell) -> bool:
    """Does JupyterLab end a fold here?"""
    return cell["cell_type"] == "markdown" and first_heading(text_of(cell)) is not None


def is_solution(cell: Cell) -> bool:
    """Is it tagged as the course's answer to an exercise?"""
    return "solution" in cell.get("metadata", {}).get("tags", [])


def before_heading(cells: List[Cell]) -> bool:
    """Does a heading come before the first code, solutions apart?"""
    rest = (cell for cell in cells if not is_solution(cell))
    return next((is_heading(c) for c in rest if is_heading(c) or c["cell_type"] == "code"), True)


def exercise_of(cell: Cell) -> str:
    """The name of the exercise that a cell asks or answers; "" for any other cell."""
    found = re.search(r"\bcheck\(\s*[\"']([^\"']+)", text_of(cell))
    return found.group(1) if found and cell["cell_type"] == "code" and not is_solution(cell) else ""


def text_of(cell: Cell) -> str:
    """The text of a cell, which a file may hold in lines."""
    return "".join(cell["source"])


def fingerprint(cell: Cell) -> str:
    """A short word that stands for a cell's kind and text."""
    whole = f"{cell['cell_type']}\n{text_of(cell)}"
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def marks_of(notebook: Notebook) -> Marks:
    """What is on record of a notebook: two are the same for us when these are."""
    cells = [cell for cell in notebook["cells"] if text_of(cell).strip()]
    return [[cell.get("id", ""), fingerprint(cell)] for cell in cells]


# How they reach the disk


def read_notebook(path: Path) -> Optional[Notebook]:
    """A notebook, or None where there is none that can be read."""
    notebook = read_json(path)
    try:
        sound = all(sound_cell(cell) for cell in notebook["cells"])
    except (AttributeError, KeyError, TypeError):
        return None
    return notebook if sound else None


def sound_cell(cell: Cell) -> bool:
    """Has a cell what we look at? Other errors than False say the same."""
    words = [cell["cell_type"], cell.get("id", ""), text_of(cell)]
    return is_solution(cell) in (True, False) and all(isinstance(word, str) for word in words)


def read_record() -> Record:
    """What the course wrote into `work`; a damaged entry is left out, and so is a strange name."""
    record = read_json(RECORD)
    entries = record.items() if isinstance(record, dict) else ()
    return {name: marks for name, marks in entries if chapter_name(name) and sound_marks(marks)}


def chapter_name(name: str) -> bool:
    """Is it a name as copies have, in no other folder?"""
    return Path(name).name == name and Path(name).match(CHAPTERS)


def sound_marks(marks: Any) -> bool:
    """Are these marks, and not what a damaged file may hold?"""
    if not isinstance(marks, list) or not all(isinstance(mark, list) for mark in marks):
        return False
    return all([type(word) for word in mark] == [str, str] for mark in marks)


def read_json(path: Path) -> Any:
    """What a file holds; None when it is missing, damaged or closed to us."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def write_json(path: Path, content: Any) -> None:
    """Write a file whole or not at all: JupyterLab may read it meanwhile, and power may fail."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            json.dump(content, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(str(part), str(path))
    finally:
        if part.exists():
            part.unlink()


# ---------------------------------------------------------------------------------- the commands


def program(*words: str, folder: Optional[Path] = ROOT) -> Callable[[List[str]], int]:
    """What runs the environment's Python with these words, and those of the command line.

    Where the folder is None, it runs in that of the person, whose paths then mean what they say.
    """

    def run(rest: List[str]) -> int:
        command = [str(PYTHON), *words, *rest]
        return subprocess.call(command, cwd=folder and str(folder), env=environment())

    return run


def lab(options: List[str]) -> int:
    """JupyterLab on the learner's chapter 00, for this machine only, behind its token."""
    update_copies()
    settle_lab()
    given = " ".join(options)
    port = re.search(r"--(?:ServerApp\.)?port[= ](\d+)", given)
    if port:
        refuse_taken(int(port.group(1)))
        options = ["--ServerApp.port_retries=0", *options]  # it would move on in silence
    if not re.search(r"--(ServerApp\.)?ip\b", given):
        options = ["--ServerApp.ip=127.0.0.1", *options]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # in a container; JupyterLab would refuse
        options = ["--allow-root", *options]
    # The folder above `work` is the server's, so that links out of a chapter lead somewhere.
    start = [
        f"--ServerApp.root_dir={WORK.parent}",
        f"--LabApp.default_url=/lab/tree/{first_page()}",
    ]
    os.chdir(str(WORK.parent))
    return become([str(PYTHON), "-m", "jupyterlab", *start, *options])


def first_page() -> str:
    """Where a learner begins, seen from the server's folder."""
    return quote(os.fsencode(f"{WORK.name}/00_start_here.ipynb"))


def make_copies(_: List[str]) -> int:
    """The learner's copies alone, for whoever has an environment and a JupyterLab already."""
    update_copies()
    print(f"Begin with {WORK / '00_start_here.ipynb'}.")
    return 0


def refuse_taken(port: int) -> None:
    """Leave with one sentence when nothing can listen on a port."""
    with socket.socket() as probe:
        if not WINDOWS:  # here this means: a port that was just given up counts as free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", error)
            sys.exit(f"Port {port} cannot be used ({why}): name another, or none.")


def become(command: List[str]) -> int:
    """Be that program from now on: Ctrl-C and kill reach it, and nothing is left behind."""
    if not WINDOWS:
        os.execve(command[0], command, environment())
    with subprocess.Popen(command, env=environment()) as process:
        while process.poll() is None:
            try:
                process.wait()
            except KeyboardInterrupt:  # it heard that too: JupyterLab asks whether to stop
                continue
    return process.returncode


def clean(_: List[str]) -> int:
    """Delete caches and scratch folders; no notebook, nothing of a learner's, no environment."""
    for here, folders, _files in os.walk(str(ROOT)):
        for name in set(folders) & set(CACHES.split()):
            shutil.rmtree(os.path.join(here, name), ignore_errors=True)
        kept = (ENV, WORK)
        folders[:] = [name for name in folders if name[0] != "." and Path(here, name) not in kept]
    print(f"Clean. To be rid of the environment too, delete {ENV}.")
    return 0


def browser() -> Optional[str]:
    """Where Chromium is, or Chrome, in which the tests can look at pages."""
    name = os.environ.get("CHROMIUM", "chromium")
    return shutil.which(name) or shutil.which("google-chrome")


WORDS = {  # what may follow a command, by how its help shows it: a pattern for each word
    "": "(?!)",  # nothing
    "[options]": ".*",
    "[--fast]": "--fast",
    "[NN]": "[^-].*",
    "NN": "[^-].*",
    "LOG": ".*",  # and the options of what reads it
    "[OUT]": "[^-].*",
    "OUT ...": "--run|--boards|[^-].*",
}


class Command(NamedTuple):
    """All that this file knows of a command."""

    words: str  # what may follow it: a key of WORDS
    help: str
    run: Callable[[List[str]], int]  # takes those words, gives the exit status
    extras: Optional[Sequence[str]] = ()  # beside what everybody needs; None: no environment
    handed_out: bool = False  # is it for participants of a workshop, who have no sources?


COMMANDS = {
    "lab": Command(
        "[options]",
        "open your copies in JupyterLab, with its options (--port 9999)",
        lab,
        handed_out=True,
    ),
    "renew": Command(
        "NN",
        "bring the newest of a chapter you worked in; your cells stay",
        renew,
        extras=None,
        handed_out=True,
    ),
    "copies": Command(
        "",
        "make your copies, and bring them up to date: lab does it too",
        make_copies,
        extras=None,
        handed_out=True,
    ),
    "check": Command(
        "",
        "is this machine ready, and how fast is it? before a workshop",
        program("-m", "lrcourse.machine"),
        handed_out=True,
    ),
    "doctor": Command(
        "LOG",
        "what is wrong? what the log of a training of yours shows",
        program("-P", "-m", "lrcourse.doctor", folder=None),  # -P: your folder's modules are yours
        handed_out=True,
    ),
    "test": Command(
        "[--fast]",
        "run every check; --fast does not run the notebooks",
        program("-m", "tools.checks"),
        extras=["test", "site"] if browser() else ["test"],
    ),
    "notebooks": Command(
        "[NN]",
        "make the notebooks (all, or those numbered) from their sources",
        program("-m", "tools.notebooks", "build"),
        extras=["test"],
    ),
    "site": Command(
        "[OUT]",
        "make the web pages (in build/site) from the notebooks",
        program(str(ROOT / "docs" / "site" / "build.py")),
        extras=["site"],
    ),
    "workshop": Command(
        "OUT ...",
        "make what a workshop needs, in OUT; --run NN and --boards FOLDER: docs/teaching.md",
        program("-m", "tools.workshop"),
        extras=["test"],
    ),
    "clean": Command(
        "",
        "delete caches and scratch files; the environment stays",
        clean,
        extras=None,
        handed_out=True,
    ),
}


def available() -> Dict[str, Command]:
    """The commands that work here: in a workshop's hand-out, some do not."""
    if (ROOT / "notebooks" / "source").is_dir():
        return COMMANDS
    return {name: command for name, command in COMMANDS.items() if command.handed_out}


def usage() -> str:
    """The help: a line for each command that works here."""
    shown = [(f"{name} {command.words}", command.help) for name, command in available().items()]
    return HELP.format(commands="\n".join(f"  python3 course.py {c:<17}{h}" for c, h in shown))


def main(arguments: List[str]) -> int:
    """Obey the command line; give the exit status."""
    name, *rest = [word for word in arguments if word != "--cuda"] or ["help"]
    helping = {"-h", "--help"} & {name, *rest}
    if name == "help" or (helping and name != "doctor"):  # that one has a help of its own
        print(usage())
        return 0
    command = available().get(name)
    if command is None:
        why = ", as a workshop's hand-out has no sources" if name in COMMANDS else ""
        sys.exit(f"course.py does not know `{name}` here{why}; alone, it prints its help.")
    for word in rest:
        if not re.fullmatch(WORDS[command.words], word):
            sys.exit(f"course.py does not know `{word}` here; alone, it prints its help.")
    if "OUT" in command.words and "--run" not in rest:  # chapters follow that, and no folder
        rest = [word if word[0] == "-" else os.path.abspath(word) for word in rest]
    if command.extras is not None:
        set_up("--cuda" in arguments, command.extras)
    return command.run(rest)


if __name__ == "__main__":
    for stream in (
        sys.stdout,
        sys.stderr,
    ):  # a folder's name may hold what the terminal cannot show
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("\nStopped. The same command goes on from here.")
    except OSError as problem:  # a full disk, a folder without permission, a file held open
        sys.exit(f"Could not go on: {problem}.")
