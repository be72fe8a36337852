#!/usr/bin/env python3
"""The course's one command. `python3 course.py` lists what it can do: the table COMMANDS, below.

Whatever runs, runs in an environment of its own, which `set_up` makes and keeps complete. Any
Python since 3.6 may call this file, so it keeps to the standard library and to that syntax; where
the environment is still to be made, one that the course supports is looked for.
"""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence

ROOT = Path(__file__).resolve().parent
ENV = Path(os.path.abspath(os.path.expanduser(os.environ.get("LRCOURSE_VENV") or ROOT / ".venv")))
WINDOWS = os.name == "nt"
BIN = ENV / ("Scripts" if WINDOWS else "bin")
PYTHON = BIN / ("python.exe" if WINDOWS else "python")
STAMP = ENV / "lrcourse-stamp.json"  # empty: begun by this file; filled, last of all: complete
OLDEST, TOO_NEW = (3, 11), (3, 15)  # requires-python in pyproject.toml
NEWEST = f"{TOO_NEW[0]}.{TOO_NEW[1] - 1}"
RANGE = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST}"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CACHES = "__pycache__ .pytest_cache .ruff_cache .mypy_cache .hypothesis .ipynb_checkpoints runs"

HELP = """The Learning Rate, by Experiment: one command to learn, one to check.

{commands}

Each sets up what it needs in .venv (or the folder that LRCOURSE_VENV names), in minutes, once. On
Linux, --cuda brings PyTorch's CUDA build, gigabytes more. On Windows write python for python3."""


# ------------------------------------------------------------------------ a Python to begin with


def ask(*command: str) -> str:
    """What a program prints; nothing when it is missing or broken. It must download nothing."""
    never = {**os.environ, "PYTHON_MANAGER_AUTOMATIC_INSTALL": "false"}  # for Windows' `py`
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
    """The variables under which everything runs: our programs and kernel first, UTF-8 always."""
    ours = {"PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}", "VIRTUAL_ENV": str(ENV)}
    return {**os.environ, **ours, "JUPYTER_PREFER_ENV_PATH": "1", "PYTHONUTF8": "1"}


def set_up(cuda: bool, extras: Iterable[str]) -> None:
    """Make the environment complete: at once when it is, in place when the packages changed.

    What it once had it keeps: the CUDA build of PyTorch, and each of the extras, which are lists
    of packages in pyproject.toml beside those that everybody needs.
    """
    if cuda and not sys.platform.startswith("linux"):
        sys.exit("--cuda is for Linux; elsewhere the usual build of PyTorch is the one to have.")
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
    ask_nothing()
    STAMP.write_text(" ".join(new))


def packages_key() -> str:
    """What the environment is made from, in one word that changes with it."""
    needs = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    # The course's folder counts too: the environment refers to it, and it may have been moved.
    return hashlib.sha256(b"".join([*needs, str(ROOT).encode()])).hexdigest()


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
    if subprocess.call([*python, "-m", "venv", str(ENV)]) != 0:
        sys.exit(f"Python could not make a virtual environment in {ENV}.")


def get_torch(build: str, old: Sequence[str]) -> None:
    """Fetch PyTorch before the rest, where it matters which of its builds that is."""
    if build == "cuda" and "cpu" in old:
        pip("--force-reinstall", "--no-deps", "torch")
    elif build == "cpu" and sys.platform.startswith("linux"):
        # torch for Linux brings gigabytes of CUDA, unless PyTorch's own index offers the CPU build
        # of that version, which sorts above it. Out of reach, it costs seconds and fails nothing.
        hasty = ["--retries", "0", "--timeout", "15", "--extra-index-url", CPU_INDEX]
        pip("torch", "--no-deps", *hasty, may_fail=True)


def pip(*what: str, may_fail: bool = False) -> None:
    """Install under the constraints; leave with one sentence when that cannot be done."""
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", *what]
    command += ["-c", str(ROOT / "constraints.txt")]
    options = {"cwd": str(ROOT), "env": {**environment(), "PIP_USER": "0"}, "errors": "replace"}
    said = ""  # progress goes straight to the screen; complaints pass through here, to be read
    with subprocess.Popen(command, stderr=subprocess.PIPE, **options) as process:  # type: ignore
        for line in process.stderr:
            sys.stderr.write(line)
            said += line
    if process.returncode != 0 and not may_fail:
        sys.exit(why_not(said))


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


def ask_nothing() -> None:
    """Keep JupyterLab from asking, before chapter 00, whether it may fetch news."""
    settings = ENV / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
    settings.parent.mkdir(parents=True, exist_ok=True)
    news = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}
    settings.write_text(json.dumps(news))


# ---------------------------------------------------------------------------------- the commands


def program(*words: str) -> Callable[[List[str]], int]:
    """What runs the environment's Python with these words, and those of the command line."""

    def run(rest: List[str]) -> int:
        command = [str(PYTHON), *words, *rest]
        return subprocess.call(command, cwd=str(ROOT), env=environment())

    return run


def lab(options: List[str]) -> int:
    """JupyterLab on chapter 00, for this machine only, behind its token."""
    given = " ".join(options)
    port = re.search(r"--(?:ServerApp\.)?port[= ](\d+)", given)
    if port:
        refuse_taken(int(port.group(1)))
        options = ["--ServerApp.port_retries=0", *options]  # it would move on in silence
    if not re.search(r"--(ServerApp\.)?ip\b", given):
        options = ["--ServerApp.ip=127.0.0.1", *options]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # in a container; JupyterLab would refuse
        options = ["--allow-root", *options]
    start = "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb"
    os.chdir(str(ROOT))
    return become([str(PYTHON), "-m", "jupyterlab", start, *options])


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
    """Delete caches and scratch folders; never a notebook, never the environment."""
    for here, folders, _files in os.walk(str(ROOT)):
        for name in set(folders) & set(CACHES.split()):
            shutil.rmtree(os.path.join(here, name), ignore_errors=True)
        folders[:] = [name for name in folders if name[0] != "." and Path(here, name) != ENV]
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
    "[OUT]": "[^-].*",
    "OUT": "[^-].*",
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
        "open JupyterLab on chapter 00, with its options (--port 9999)",
        lab,
        handed_out=True,
    ),
    "check": Command(
        "",
        "is this machine ready, and how fast is it? before a workshop",
        program("-m", "lrcourse.machine"),
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
        "OUT",
        "make what a workshop needs: copies to work in, slides, a zip",
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
    if name == "help" or {"-h", "--help"} & {name, *rest}:
        print(usage())
        return 0
    command = available().get(name)
    if command is None:
        sys.exit(f"course.py does not know `{name}` here; alone, it prints its help.")
    for word in rest:
        if not re.fullmatch(WORDS[command.words], word):
            sys.exit(f"course.py does not know `{word}` here; alone, it prints its help.")
    if "OUT" in command.words:
        rest = [os.path.abspath(folder) for folder in rest]
    if command.extras is not None:
        set_up("--cuda" in arguments, command.extras)
    return command.run(rest)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("\nStopped. The same command goes on from here.")
    except OSError as problem:  # a full disk, a folder without permission, a file held open
        sys.exit(f"Could not go on: {problem}.")
