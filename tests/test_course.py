"""course.py as a person meets it, where something is wrong; nothing heavy is installed here."""

import ast
import os
import re
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COURSE = ROOT / "course.py"
STAMP = "lrcourse-stamp.json"
POSIX = pytest.mark.skipif(os.name == "nt", reason="shell scripts stand in for programs")
NO_NETWORK = {  # a port where nothing answers, and no patience
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_RETRIES": "0",
    "PIP_DEFAULT_TIMEOUT": "2",
    "PIP_NO_CACHE_DIR": "1",
}


def course(
    *arguments: str, venv: Path, cwd: Path | None = None, before: str = "pass", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run course.py with its environment in `venv`, and copies beside it in `work`.

    `before` is Python to run first, inside it.
    """
    start = f"import runpy, sys; {before}; sys.argv = sys.argv[1:]; "
    start += "runpy.run_path(sys.argv[0], run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-c", start, str(COURSE), *arguments],
        cwd=cwd or ROOT,
        env={**os.environ, **places(venv), "PYTHONUTF8": "1", **variables},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )


def places(venv: Path) -> dict[str, str]:
    """The variables that name course.py's two folders."""
    return {"LRCOURSE_VENV": str(venv), "LRCOURSE_WORK": str(venv.parent / "work")}


def sentence(result: subprocess.CompletedProcess[str]) -> str:
    """The last line of a failed run's complaint; there is no traceback."""
    assert result.returncode == 1, result
    assert "Traceback" not in result.stderr
    return result.stderr.strip().splitlines()[-1]


def complete(venv: Path) -> None:
    """A stand-in for a complete environment: its "Python" only says how it was called."""
    namespace = course_namespace(venv)
    script(Path(namespace["PYTHON"]), 'echo "$PWD" "$@"')
    files = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    key = namespace["hashlib"].sha256(b"".join([*files, str(ROOT).encode()])).hexdigest()
    (venv / STAMP).write_text(f"{key} cpu site test")


def script(path: Path, *lines: str) -> Path:
    """A shell script to stand in for a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def course_namespace(venv: Path) -> dict:
    with pytest.MonkeyPatch.context() as patch:
        for name, folder in places(venv).items():
            patch.setenv(name, folder)
        return runpy.run_path(str(COURSE))


def test_help_lists_every_command(tmp_path: Path):
    helps = [course(*words, venv=tmp_path) for words in ((), ("--help",), ("lab", "-h"))]
    assert all(h.returncode == 0 and h.stdout == helps[0].stdout for h in helps)
    for command in ("lab", "test", "notebooks", "clean", "--fast", "--cuda", "LRCOURSE_VENV"):
        assert command in helps[0].stdout
    commands = course_namespace(tmp_path)["COMMANDS"]
    assert re.findall(r"course\.py (\w+)", helps[0].stdout) == list(commands)


@pytest.mark.parametrize("words", [["lap"], ["test", "--fats"], ["clean", "all"], ["--fast"]])
def test_unknown_words_are_refused(words: list[str], tmp_path: Path):
    venv = tmp_path / "venv"
    assert f"does not know `{words[-1]}`" in sentence(course(*words, venv=venv))
    assert not venv.exists()


def test_old_python_can_read_the_file():
    """Python 3.6 must get as far as the sentence about its age."""
    ast.parse(COURSE.read_text(encoding="utf-8"), feature_version=(3, 6))


VERSIONS = pytest.mark.parametrize("version", [(3, 6, 15), (3, 10, 13), (3, 15, 0)])


def calling(version: tuple[int, ...]) -> dict[str, str]:
    """Options of `course`, for which a Python of another version calls."""
    shown = ".".join(map(str, version))
    return {"before": f"sys.version_info = {version}; sys.version = '{shown} (main)'"}


@POSIX  # on Windows `py` is found whatever PATH says
@VERSIONS
def test_python_too_old_or_too_new_and_no_other(version: tuple[int, ...], tmp_path: Path):
    """One sentence says what is wrong and how to get a Python here; nothing is made."""
    venv = tmp_path / "venv"
    said = sentence(course("lab", venv=venv, PATH=str(tmp_path), **calling(version)))
    shown = ".".join(map(str, version))
    assert said.startswith(f"The course needs Python 3.11 to 3.14, and this is {shown}, and no ")
    assert re.search(r"get one .*`.*`.*, then run this again\.$", said)
    assert not venv.exists()


def test_where_another_python_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The newest first, in every folder of PATH; on Windows through `py` too; uv's last of all."""
    other_pythons = course_namespace(tmp_path)["other_pythons"]
    monkeypatch.setenv("PATH", os.pathsep.join(["one", "two"]))
    monkeypatch.setitem(other_pythons.__globals__, "ask", lambda *command: "of uv")
    monkeypatch.setitem(other_pythons.__globals__, "WINDOWS", False)
    found = [" ".join(command) for command in other_pythons()]
    assert found[:2] == [os.path.join(folder, "python3.14") for folder in ("one", "two")]
    assert found[-2:] == [os.path.join("two", "python3.11"), "of uv"]
    monkeypatch.setitem(other_pythons.__globals__, "WINDOWS", True)
    found = [" ".join(command) for command in other_pythons()]
    assert found[1:3] == [os.path.join("two", "python3.14.exe"), "py -3.14"]
    assert found[-2:] == ["py -3.11", "of uv"]


@pytest.mark.parametrize(
    ("system", "way"), [("win32", "winget"), ("darwin", "brew"), ("linux", "sudo apt")]
)
def test_every_system_hears_how_to_get_a_python(
    system: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    how_to_get_one = course_namespace(tmp_path)["how_to_get_one"]
    monkeypatch.setitem(how_to_get_one.__globals__, "WINDOWS", system == "win32")
    monkeypatch.setattr(sys, "platform", system)
    assert f"`{way} install " in how_to_get_one()


@POSIX
def test_another_python_is_found_and_used(tmp_path: Path):
    """It is named with the reason and makes the environment; broken ones are passed over."""
    a, b = tmp_path / "a", tmp_path / "b"
    asked = 'case "$*" in *ensurepip*)'  # for its version, and whether it has what is needed
    script(a / "python3.14", "echo 'python3.14: command not found' >&2", "exit 127")
    script(a / "python3.13", f"{asked} echo 3.9.2;; esac")  # not what its name says
    (a / "python3.12").mkdir()
    good = script(b / "python3.13", f'{asked} echo 3.13.2;; *) exec "{sys.executable}" "$@";; esac')
    script(b / "python3.11", f"{asked} echo 3.11.1;; esac")
    venv, path = tmp_path / "venv", os.pathsep.join([str(a), str(b)])
    result = course("lab", venv=venv, PATH=path, **calling((3, 9, 6)), **NO_NETWORK)
    why = "The course needs Python 3.11 to 3.14, and this is 3.9.6"
    assert result.stdout.splitlines()[0] == f"{why}: using {good}, which is 3.13.2."
    assert sentence(result).startswith("Could not fetch flit_core")  # so it came that far
    assert (venv / "pyvenv.cfg").exists()


@POSIX
def test_broken_pythons_alone_are_none(tmp_path: Path):
    script(tmp_path / "python3.14", "exit 127")
    script(tmp_path / "python3.13", "echo 3.13.1 beta")
    script(tmp_path / "uv", f"echo {tmp_path / 'python3.14'}")
    result = course("check", venv=tmp_path / "venv", PATH=str(tmp_path), **calling((3, 9, 6)))
    assert "no other is found here" in sentence(result)


@POSIX
def test_a_python_that_uv_has_is_found_and_none_fetched(tmp_path: Path):
    good = script(tmp_path / "uvs" / "python3", '[ "$1" = -c ] && echo 3.12.9')
    asked = '[ "$*" = "python find --system --no-python-downloads >=3.11,<3.15" ]'
    script(tmp_path / "uv", f"{asked} && echo {good}")
    result = course("check", venv=tmp_path / "venv", PATH=str(tmp_path), **calling((3, 9, 6)))
    assert f"using {good}, which is 3.12.9." in result.stdout
    assert "could not make a virtual environment" in sentence(result)


@POSIX
@VERSIONS
def test_any_python_may_call_once_the_environment_is_complete(
    version: tuple[int, ...], tmp_path: Path
):
    venv = tmp_path / "venv"
    complete(venv)
    result = course("check", venv=venv, PATH=str(tmp_path), **calling(version))
    assert result.stdout == f"{ROOT} -m lrcourse.machine\n", result


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_python_without_venv(module: str, tmp_path: Path):
    before = "import importlib.util as u; f = u.find_spec; "
    before += f"u.find_spec = lambda name, *a: None if name == '{module}' else f(name, *a)"
    said = sentence(course("test", venv=tmp_path / "venv", before=before))
    assert module in said
    assert "apt install python3-venv" in said


def test_other_folders_are_left_alone(tmp_path: Path):
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter1.tex").write_text("years of work")
    assert "is not a virtual environment" in sentence(course("lab", venv=precious))
    (precious / "pyvenv.cfg").write_text("home = /usr/bin\n")  # now it is one, but not ours
    assert "was not made by the course" in sentence(course("lab", venv=precious))
    assert (precious / "chapter1.tex").read_text() == "years of work"
    file = tmp_path / "file"
    file.write_text("also precious")
    assert "is not a virtual environment" in sentence(course("lab", venv=file))
    assert file.read_text() == "also precious"


@pytest.mark.slow
def test_no_network_then_half_made(tmp_path: Path):
    """One sentence that says what to do; and the next call begins again from scratch."""
    venv = tmp_path / "venv"
    said = sentence(course("test", venv=venv, **NO_NETWORK))
    assert said.startswith("Could not fetch flit_core, as the network or the package index")
    assert "pip config set global.index-url URL" in said
    assert (venv / STAMP).read_text() == ""
    (venv / "pyvenv.cfg").unlink()  # as if it had been stopped even earlier
    (venv / "leftover").touch()
    again = course("lab", venv=venv, **NO_NETWORK)
    assert "is half-made: making it again" in again.stdout
    assert sentence(again).startswith("Could not fetch")
    assert (venv / "pyvenv.cfg").exists()
    assert not (venv / "leftover").exists()


def test_folder_without_permission_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").touch()
    assert sentence(course("lab", venv=tmp_path / "file" / "venv")).startswith("Could not go on:")


def test_taken_port_is_named(tmp_path: Path):
    venv = tmp_path / "venv"
    complete(venv)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        for words in (["--port", str(port)], [f"--port={port}"], [f"--ServerApp.port={port}"]):
            said = sentence(course("lab", *words, venv=venv))
            assert said.startswith(f"Port {port} cannot be used")
    assert sentence(course("lab", "--port", "99999", venv=venv)).startswith("Port 99999")


@POSIX
def test_complete_environment_is_used_at_once_from_any_folder(tmp_path: Path):
    venv = tmp_path / "venv"
    complete(venv)
    for words, run in {
        ("test",): "-m tools.checks",
        ("test", "--fast"): "-m tools.checks --fast",
        ("notebooks", "03", "11"): "-m tools.notebooks build 03 11",
        ("workshop", "--run", "02", "03"): "-m tools.workshop --run 02 03",
        ("workshop", "--boards", "in"): f"-m tools.workshop --boards {tmp_path / 'in'}",
    }.items():
        result = course(*words, venv=venv, cwd=tmp_path, **NO_NETWORK)
        assert result.stdout == f"{ROOT} {run}\n", result
    words = ["log.csv", "--plan", "linear", "--help"]  # a file of the person's own folder
    log = course("doctor", *words, venv=venv, cwd=tmp_path, **NO_NETWORK)
    assert log.stdout == f"{tmp_path} -P -m lrcourse.doctor {' '.join(words)}\n", log
    lab = course("lab", "--no-browser", "--port", "0", venv=venv, cwd=tmp_path, **NO_NETWORK)
    made, started = lab.stdout.splitlines()
    assert made.startswith(f"New in {tmp_path / 'work'}, yours to work in: 00, 01,")
    assert started.startswith(f"{tmp_path} -m jupyterlab ")
    assert f"--ServerApp.root_dir={tmp_path} " in started
    assert "--ServerApp.ip=127.0.0.1" in started
    first = "work/00_start_here.ipynb"
    assert f"/lab/tree/{first} " in started
    assert started.endswith("--no-browser --port 0")
    assert "token" not in started
    elsewhere = course("lab", "--ip=0.0.0.0", venv=venv)
    assert "127.0.0.1" not in elsewhere.stdout


@POSIX
def test_other_packages_are_installed_in_place(tmp_path: Path):
    venv = tmp_path / "venv"
    complete(venv)
    stamp = venv / STAMP
    right = stamp.read_text()
    stamp.write_text("of-last-year cpu")
    (venv / "mine").touch()
    result = course("test", venv=venv, CHROMIUM=sys.executable)  # a browser, for all it knows
    calls = [line.split(" pip ")[-1] for line in result.stdout.splitlines() if " pip " in line]
    assert "install" in calls[0]
    assert all("-c" in call.split() for call in calls)
    assert "--no-build-isolation -e .[site,test]" in calls[-1]
    assert stamp.read_text() == right
    assert (venv / "mine").exists()


@POSIX
def test_of_pips_report_what_takes_time_is_shown(tmp_path: Path):
    venv = tmp_path / "venv"
    complete(venv)
    report = """Collecting numpy==2.4.6 (from lrcourse==2.0.0)
  Downloading numpy-2.4.6-cp311.whl.metadata (6.6 kB)
  Downloading numpy-2.4.6-cp311.whl (16.9 MB)
     ---------------------------------------- 16.9/16.9 MB 9.1 MB/s eta 0:00:00
Requirement already satisfied: six in ./venv
Installing collected packages: six, numpy
WARNING: an old thing
Successfully installed numpy-2.4.6"""
    script(Path(course_namespace(venv)["PYTHON"]), f"cat << END\n{report}\nEND")
    (venv / STAMP).write_text("of-last-year cpu")
    said = course("check", venv=venv).stdout.splitlines()
    shown = ["  Downloading numpy-2.4.6-cp311.whl (16.9 MB)", "Installing", "WARNING: an old thing"]
    assert said[1:4] == shown


@POSIX
def test_extras_come_when_wanted_and_stay(tmp_path: Path):
    """`lab` and `check` install a learner's packages only; what another command added is kept."""
    venv = tmp_path / "venv"
    complete(venv)
    stamp = venv / STAMP
    stamp.write_text("of-last-year cpu")
    no_browser = {"PATH": str(tmp_path), "CHROMIUM": "none"}
    for command, wanted in {
        "check": ".",
        "notebooks": ".[test]",
        "lab": None,  # all is there
        "workshop": None,
        "test": None,
        "site": ".[site,test]",
    }.items():
        result = course(command, venv=venv, **no_browser)
        installed = re.findall(r"--no-build-isolation -e (\S+)", result.stdout)
        assert installed == ([wanted] if wanted else []), command
    assert stamp.read_text().split()[1:] == ["cpu", "site", "test"]
    stamp.write_text("of-last-year cuda test")
    lab = course("lab", venv=venv, **no_browser)
    assert "-e .[test]" in lab.stdout
    assert stamp.read_text().split()[1:] == ["cuda", "test"]


def test_clean_deletes_caches_only(tmp_path: Path):
    copy = tmp_path / "course"
    kept = ["course.py", "notebooks/01.ipynb", ".venv/__pycache__/x", ".git/runs/x", "data/a.npz"]
    gone = ["__pycache__/x", "lrcourse/__pycache__/x", "runs/x", "notebooks/runs/a/x"]
    gone += ["notebooks/.ipynb_checkpoints/x", ".pytest_cache/x"]
    kept += ["work/runs/race/x", "work/.ipynb_checkpoints/x"]  # the learner's
    for name in kept + gone:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(COURSE.read_bytes())
    environment = {k: v for k, v in os.environ.items() if k[:8] != "LRCOURSE"}
    command = [sys.executable, str(copy / "course.py"), "clean"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert [name for name in kept if not (copy / name).exists()] == []
    assert [name for name in gone if (copy / name).exists()] == []


@pytest.mark.parametrize("command", ["test", "notebooks", "site", "workshop"])
def test_a_handout_refuses_what_it_cannot_do(command: str, tmp_path: Path):
    (tmp_path / "course.py").write_bytes(COURSE.read_bytes())
    start = [sys.executable, str(tmp_path / "course.py"), command]
    result = subprocess.run(start, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=60)
    assert f"does not know `{command}` here" in sentence(result)
    assert [path.name for path in tmp_path.iterdir()] == ["course.py"]
