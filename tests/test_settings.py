"""A person's own settings, and the names of their folders, change nothing about the course.

All at once, with everything that takes minutes: `python tests/hostile.py python3 course.py test`.
"""

import json
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hostile import VARIABLES, settings

from tools import notebooks

ROOT = Path(__file__).resolve().parents[1]
# A function of course.py in the environment of this test, complete or not: nothing is set up.
CALL = """import runpy, sys; from pathlib import Path
course = runpy.run_path('course.py'); name, settings, *rest = sys.argv[1:]
course['environment'].__globals__['SETTINGS'] = Path(settings)
sys.exit(course[name](*eval(rest.pop(0)))(rest) if name == 'program' else course[name](rest))"""


@pytest.fixture
def hostile(tmp_path: Path) -> dict[str, str]:
    """The variables of a machine that has settings of its own for everything."""
    made = settings(tmp_path / "home")
    work = tmp_path / "course" / "work"
    return {**made, "LRCOURSE_VENV": sys.prefix, "LRCOURSE_WORK": str(work)}


def call(hostile: dict[str, str], *words: str) -> list[str]:
    """The command that calls a function of course.py, with its settings beside that home."""
    python = getattr(sys, "_base_executable", sys.executable)  # that of the system, as at home
    return [python, "-c", CALL, words[0], f"{hostile['HOME']}-ours", *words[1:]]


def namespace(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> dict[str, Any]:
    """What course.py defines, with some of it replaced."""
    course = runpy.run_path(str(ROOT / "course.py"))
    for name, value in changes.items():
        monkeypatch.setitem(course["environment"].__globals__, name, value)
    return course


def test_no_setting_of_theirs_reaches_what_runs(hostile, monkeypatch):
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    course = namespace(monkeypatch)
    kept = {name for name, value in course["environment"]().items() if hostile.get(name) == value}
    assert {name for name in kept & set(VARIABLES) if name[:4] != "PIP_"} == {"HOME"}


@pytest.mark.slow
def test_python_and_its_notebooks_run_as_without_settings(hostile, tmp_path: Path):
    """Nobody's modules, start-up files, backend or kernel: in a folder with an odd name, too."""
    folder = tmp_path / "für [1] & dich"
    folder.mkdir()
    cells = [
        "import os, sys, numpy, matplotlib as m, lrcourse",
        "os.environ['KERAS_BACKEND'] = 'torch'; import keras",
        "print(m.get_backend(), m.rcParams['text.usetex'], keras.config.floatx())",
        "print(lrcourse.__file__, sys.flags.utf8_mode, sys.flags.optimize)",
        "m.pyplot.plot([1]);",
    ]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    made.metadata.kernelspec = {"name": "python3", "display_name": "x", "language": "python"}
    nbformat.write(made, folder / "a b.ipynb")
    words = ["program", repr(("-m", "papermill")), "--no-progress-bar", "--cwd", str(folder)]
    command = call(hostile, *words, str(folder / "a b.ipynb"), str(folder / "out.ipynb"))
    ran = subprocess.run(command, cwd=ROOT, env=hostile, capture_output=True, encoding="utf-8")
    assert ran.returncode == 0, ran
    outputs = [cell.outputs for cell in nbformat.read(folder / "out.ipynb", 4).cells]
    assert re.search(r"inline False float32\n$", outputs[2][0].text)
    assert outputs[3][0].text == f"{ROOT / 'lrcourse' / '__init__.py'} 1 0\n"
    assert "image/png" in outputs[4][0].data


@pytest.mark.slow
def test_check_says_what_it_says_without_settings(hostile):
    command = call(hostile, "program", repr(("-m", "lrcourse.machine")))
    ran = subprocess.run(command, cwd=ROOT, env=hostile, capture_output=True, encoding="utf-8")
    assert "✔ The course will run on this machine." in ran.stdout, ran
    assert ran.stderr == ""


@pytest.mark.slow
def test_lab_opens_the_course_and_nothing_else(hostile, tmp_path: Path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "log"
    with log.open("wb") as said:
        command = call(hostile, "lab", "--no-browser", "--port", str(port))
        process = subprocess.Popen(command, cwd=ROOT, env=hostile, stdout=said, stderr=said)
    try:
        address = rf"http://127\.0\.0\.1:{port}/lab/tree/work/00_start_here\.ipynb\?token=(\w+)"
        end = time.monotonic() + 60
        while not (found := re.search(address, log.read_text(errors="replace"))):
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        url = f"http://127.0.0.1:{port}/api/contents?token={found[1]}"
        with urllib.request.urlopen(url) as answer:
            assert [entry["name"] for entry in json.load(answer)["content"]] == ["work"]
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(url.replace(found[1], "theirs"))
    finally:
        process.terminate()
        process.wait(30)


def test_what_lab_is_set_to_at_first_is_the_learners_later(tmp_path: Path, monkeypatch):
    course = namespace(monkeypatch, ENV=tmp_path, SETTINGS=tmp_path / "settings")
    course["settle_lab"]()
    (workspace,) = tmp_path.rglob("*.jupyterlab-workspace")
    (overrides,) = tmp_path.rglob("overrides.json")
    first = json.loads(overrides.read_text())
    assert first["@jupyterlab/apputils-extension:themes"] == {"adaptive-theme": True}
    workspace.write_text("mine")
    overrides.write_text("{}")  # as of an older course
    course["settle_lab"]()
    assert workspace.read_text() == "mine"
    assert json.loads(overrides.read_text()) == first


def test_settings_of_lab_are_names_that_it_knows(monkeypatch):
    """Lab ignores in silence what it does not know."""
    schemas = Path(sys.prefix) / "share" / "jupyter" / "lab" / "schemas"
    if not schemas.is_dir():
        pytest.skip("JupyterLab is installed elsewhere")
    for plugin, wanted in namespace(monkeypatch)["FIRST_SETTINGS"].items():
        package, name = plugin.split(":")
        known = json.loads((schemas / package / f"{name}.json").read_text())
        assert {*wanted} <= {*known["properties"]}


# --------------------------------------------------------------------------------------- pip


def test_pip_hears_where_packages_come_from_and_nothing_else(hostile, monkeypatch):
    """pip's own reading of its files: those settings stay, in the order that pip has them."""
    with Path(hostile["PIP_CONFIG_FILE"]).open("a") as file:
        file.write("no-index = true\ntimeout = 7\n")
        file.write("extra-index-url =\n  https://a.example.org/'x\n  https://b.example.org\n")
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_TIMEOUT", "8")
    for name in ("PIP_FIND_LINKS", "PIP_CERT", "PIP_DEFAULT_TIMEOUT", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    course = namespace(monkeypatch, PYTHON=Path(sys.executable))
    found = course["pip_environment"]()
    ours = {name: value for name, value in found.items() if name[:4] == "PIP_"}
    assert ours.pop("PIP_EXTRA_INDEX_URL").split() == [
        "https://a.example.org/'x",
        "https://b.example.org",
    ]
    assert {name: ours.pop(name) for name in ("PIP_NO_INDEX", "PIP_TIMEOUT", "PIP_RETRIES")} == {
        "PIP_NO_INDEX": "true",
        "PIP_TIMEOUT": "8",
        "PIP_RETRIES": "0",
    }
    assert ours.pop("PIP_CONFIG_FILE") == os.devnull
    assert not {*ours} & {*VARIABLES}


@pytest.mark.parametrize("content", ["no section", "[global]\nno value", ""])
def test_damaged_settings_of_pip_are_none(content: str, tmp_path: Path, monkeypatch):
    (tmp_path / "pip.conf").write_text(content)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    course = namespace(monkeypatch, PYTHON=Path(sys.executable))
    assert course["pip_environment"]()["PIP_CONFIG_FILE"] == os.devnull


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands in for Python")
def test_an_environment_with_something_missing_is_not_called_complete(tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\necho "lrcourse 1 requires torch, which is not installed."\nexit 1'
    )
    python.chmod(0o755)
    course = namespace(monkeypatch, PYTHON=python)
    with pytest.raises(SystemExit, match=r"is not complete \(lrcourse 1 requires torch, which"):
        course["refuse_incomplete"]()


@pytest.mark.parametrize(
    ("system", "build", "old", "wanted"),
    [
        ("win32", "cuda", [], ["--index-url", "CUDA"]),
        ("win32", "cuda", ["key", "cpu"], ["--index-url", "CUDA", "--force-reinstall"]),
        ("win32", "cuda", ["key", "cuda"], ["--index-url", "CUDA"]),  # when torch is another
        ("win32", "cpu", [], None),
        ("linux", "cuda", [], None),
        ("linux", "cuda", ["key", "cpu"], ["--force-reinstall"]),
        ("linux", "cpu", [], ["--retries", "0", "--timeout", "15", "--extra-index-url", "CPU"]),
        ("darwin", "cpu", [], None),
    ],
)
def test_which_torch_is_fetched_where(system, build, old, wanted, monkeypatch):
    asked: list[list[str]] = []
    changes = {"WINDOWS": system == "win32", "CPU_INDEX": "CPU", "CUDA_INDEX": "CUDA"}
    course = namespace(monkeypatch, pip=lambda *what, **_: asked.append([*what]), **changes)
    monkeypatch.setattr(sys, "platform", system)
    course["get_torch"](build, old)
    assert asked == ([["torch", "--no-deps", *wanted]] if wanted else [])


def test_a_mac_hears_that_its_gpu_needs_no_cuda(monkeypatch):
    course = namespace(monkeypatch)
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SystemExit, match="Apple's GPU works with the usual build"):
        course["set_up"](True, [])


# ----------------------------------------------------------------------------------- folders


@pytest.mark.slow
def test_outputs_are_compared_in_a_folder_with_brackets(tmp_path: Path):
    folder = tmp_path / "ein Kurs [1]"
    folder.mkdir()
    shutil.copy(ROOT / "notebooks" / "00_start_here.ipynb", folder)
    notebook = nbformat.read(folder / "00_start_here.ipynb", 4)
    notebook.cells = [cell for cell in notebook.cells if "claim" not in cell.source][:6]
    nbformat.write(notebook, folder / "00_start_here.ipynb")
    notebooks.compare_outputs(folder / "00_start_here.ipynb")


def test_a_terminal_that_cannot_show_the_folders_name_is_no_obstacle(tmp_path: Path):
    folder = tmp_path / "для [1] dich"
    (folder / "notebooks").mkdir(parents=True)
    shutil.copy(ROOT / "course.py", folder)
    shutil.copy(ROOT / "notebooks" / "00_start_here.ipynb", folder / "notebooks")
    for coding in ("cp1252", "ascii"):
        variables = {k: v for k, v in os.environ.items() if k[:8] != "LRCOURSE"}
        ran = subprocess.run(
            [sys.executable, str(folder / "course.py"), "copies"],
            env={**variables, "PYTHONIOENCODING": coding},
            capture_output=True,
        )
        assert ran.returncode == 0, ran
