#!/usr/bin/env python3
"""The Learning Rate, by Experiment: one command to learn, one to check.

  python3 course.py lab [options]    open JupyterLab on chapter 00, with its options (--port 9999)
  python3 course.py check            is this machine ready, and how fast is it? before a workshop
  python3 course.py test [--fast]    run every check; --fast does not run the notebooks
  python3 course.py notebooks [NN]   make the notebooks (all, or those numbered) from their sources
  python3 course.py site [OUT]       make the web pages (in build/site) from the notebooks
  python3 course.py workshop OUT     make what a workshop needs: copies to work in, slides, a zip
  python3 course.py clean            delete caches and scratch files; the environment stays

Each sets up what it needs in .venv (or the folder that LRCOURSE_VENV names), in minutes, once. On
Linux, --cuda brings PyTorch's CUDA build, gigabytes more. On Windows write python for python3.
"""

# Standard library and Python 3.6's syntax only: an old Python must get to say that it is old.
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
from typing import Dict, List

ROOT = Path(__file__).resolve().parent
ENV = Path(os.path.abspath(os.path.expanduser(os.environ.get("LRCOURSE_VENV") or ROOT / ".venv")))
BIN = ENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
STAMP = ENV / "lrcourse-stamp.json"  # empty: begun by this file; filled, last of all: complete
OLDEST, TOO_NEW = (3, 11), (3, 14)  # requires-python in pyproject.toml
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CACHES = "__pycache__ .pytest_cache .ruff_cache .mypy_cache .hypothesis .ipynb_checkpoints runs"


def environment() -> Dict[str, str]:
    """The variables under which everything runs: our programs and kernel first, UTF-8 always."""
    ours = {"PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}", "VIRTUAL_ENV": str(ENV)}
    return {**os.environ, **ours, "JUPYTER_PREFER_ENV_PATH": "1", "PYTHONUTF8": "1"}


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
    if process.returncode == 0 or may_fail:
        return
    names = re.findall(r"(?:Cannot install|distribution found for|the requirement) (\S+)", said)
    if names or re.search(r"Connection|Max retries|timed out", said):
        sys.exit(
            f"\nCould not fetch {names[-1] if names else 'the packages'}, as the network or the "
            "package index does not answer or lacks it: run this again when it does, or first "
            f"point pip at a mirror with `{PYTHON} -m pip config set global.index-url URL`."
        )
    sys.exit(f"\npip could not install the packages: {said.strip() and said.splitlines()[-1]}")


def set_up(cuda: bool, site: bool) -> None:
    """Make the environment complete: at once when it is, in place when the packages changed."""
    if cuda and not sys.platform.startswith("linux"):
        sys.exit("--cuda is for Linux; elsewhere the usual build of PyTorch is the one to have.")
    # The course's folder counts too: the environment refers to it, and it may have been moved.
    needs = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    key = hashlib.sha256(b"".join([*needs, str(ROOT).encode()])).hexdigest()
    old = STAMP.read_text().split() if STAMP.is_file() and PYTHON.exists() else []
    build = "cuda" if cuda or "cuda" in old else "cpu"
    extra = ["site"] if site or "site" in old else []  # what makes the site: added when wanted
    if old == [key, build, *extra]:
        return
    print(f"Setting up {ENV} (a few minutes, once) ...", flush=True)
    if len(old) < 2:
        make_venv()
    pip("flit_core")  # small and first: it fails soon if it must, and builds the course offline
    if build == "cuda" and "cpu" in old:
        pip("--force-reinstall", "--no-deps", "torch")
    elif build == "cpu" and sys.platform.startswith("linux"):
        # torch for Linux brings gigabytes of CUDA, unless PyTorch's own index offers the CPU build
        # of that version, which sorts above it. Out of reach, it costs seconds and fails nothing.
        hasty = ["--retries", "0", "--timeout", "15", "--extra-index-url", CPU_INDEX]
        pip("torch", "--no-deps", *hasty, may_fail=True)
    pip("--no-build-isolation", "-e", ".[site]" if extra else ".")
    settings = ENV / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
    settings.parent.mkdir(parents=True, exist_ok=True)  # no question about news before chapter 00
    news = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}
    settings.write_text(json.dumps(news))
    STAMP.write_text(" ".join([key, build, *extra]))


def make_venv() -> None:
    """Make the virtual environment from scratch, in place of a half-made one, and only of that."""
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            sys.exit(
                f"This Python has no {module} module, so it cannot make virtual environments: "
                "install it first (on Debian and Ubuntu: sudo apt install python3-venv)."
            )
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
    if subprocess.call([sys.executable, "-m", "venv", str(ENV)]) != 0:
        sys.exit(f"Python could not make a virtual environment in {ENV}.")


def lab(options: List[str]) -> int:
    """JupyterLab on chapter 00, for this machine only, behind its token."""
    port = re.search(r"--(?:ServerApp\.)?port[= ](\d+)", " ".join(options))
    if port:
        with socket.socket() as probe:
            if os.name != "nt":  # here this means: a port that was just given up counts as free
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", int(port.group(1))))
            except (OSError, OverflowError) as error:
                why = getattr(error, "strerror", error)
                sys.exit(f"Port {port.group(1)} cannot be used ({why}): name another, or none.")
        options = ["--ServerApp.port_retries=0", *options]  # it would move on in silence
    if not re.search(r"--(ServerApp\.)?ip\b", " ".join(options)):
        options = ["--ServerApp.ip=127.0.0.1", *options]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # in a container; JupyterLab would refuse
        options = ["--allow-root", *options]
    start = "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb"
    command = [str(PYTHON), "-m", "jupyterlab", start, *options]
    os.chdir(str(ROOT))
    if os.name != "nt":  # become JupyterLab: Ctrl-C and kill reach it, and nothing is left behind
        os.execve(command[0], command, environment())
    with subprocess.Popen(command, env=environment()) as process:
        while process.poll() is None:
            try:
                process.wait()
            except KeyboardInterrupt:  # JupyterLab heard it too, and asks whether to stop
                continue
    return process.returncode


def clean() -> int:
    """Delete caches and scratch folders; never a notebook, never the environment."""
    for here, folders, _ in os.walk(str(ROOT)):
        for name in set(folders) & set(CACHES.split()):
            shutil.rmtree(os.path.join(here, name), ignore_errors=True)
        folders[:] = [name for name in folders if name[0] != "." and Path(here, name) != ENV]
    print(f"Clean. To be rid of the environment too, delete {ENV}.")
    return 0


def main(arguments: List[str]) -> int:
    """Obey the command line; give the exit status."""
    command, *rest = [word for word in arguments if word != "--cuda"] or ["help"]
    if command == "help" or {"-h", "--help"} & {command, *rest}:
        print((__doc__ or "").strip())
        return 0
    words = ["a^", "--fast", "[^-].*", ".*"]  # what may follow a command, by the number in `takes`
    takes = {"lab": 3, "check": 0, "test": 1, "notebooks": 2, "site": 2, "workshop": 2, "clean": 0}
    if not (ROOT / "notebooks" / "source").is_dir():  # a workshop's hand-out
        takes = {name: takes[name] for name in ("lab", "check", "clean")}
    for word in [command] if command not in takes else rest:
        if not re.fullmatch(words[takes.get(command, 0)], word):
            sys.exit(f"course.py does not know `{word}` here; alone, it prints its help.")
    if not OLDEST <= sys.version_info[:2] < TOO_NEW:
        last = f"{TOO_NEW[0]}.{TOO_NEW[1] - 1}"
        sys.exit(
            f"The course needs Python {OLDEST[0]}.{OLDEST[1]} to {last}, and this is "
            f"{sys.version.split()[0]}: try `python{last} course.py {command}`."
        )
    if command == "clean":
        return clean()
    browser = shutil.which(os.environ.get("CHROMIUM", "chromium")) or shutil.which("google-chrome")
    set_up("--cuda" in arguments, command == "site" or (command == "test" and browser is not None))
    if command == "lab":
        return lab(rest)
    names = {
        "check": "lrcourse.machine",
        "test": "tools.checks",
        "notebooks": "tools.notebooks build",
        "workshop": "tools.workshop",
    }
    module = ["-m", *names.get(command, "").split()]
    what = [str(ROOT / "docs" / "site" / "build.py")] if command == "site" else module
    rest = [os.path.abspath(w) if command in ("site", "workshop") else w for w in rest]  # folders
    return subprocess.call([str(PYTHON), *what, *rest], cwd=str(ROOT), env=environment())


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("\nStopped. The same command goes on from here.")
    except OSError as problem:  # a full disk, a folder without permission, a file held open
        sys.exit(f"Could not go on: {problem}.")
