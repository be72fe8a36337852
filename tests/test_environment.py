"""One set of packages behind three doors, one range of Pythons, and no private mirror."""

import ast
import importlib.metadata
import re
import runpy
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from rattler import MatchSpec

from lrcourse import machine

ROOT = Path(__file__).resolve().parents[1]
CONDA_NAMES = {"pytorch-cpu": "torch", "matplotlib-base": "matplotlib"}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def ranges(requirements: list[str]) -> dict[str, SpecifierSet]:
    return {canonicalize_name(r.name): r.specifier for r in map(Requirement, requirements)}


PROJECT = tomllib.loads(text("pyproject.toml"))
LEARNERS = ranges(PROJECT["project"]["dependencies"])
EXTRAS = {n: ranges(r) for n, r in PROJECT["project"]["optional-dependencies"].items()}
RANGES = LEARNERS | {name: r for extra in EXTRAS.values() for name, r in extra.items()}
PINS = {
    canonicalize_name(r.name): r
    for r in map(
        Requirement, (p for p in text("constraints.txt").splitlines() if p and p[0] != "#")
    )
}
SPECS = yaml.safe_load(text("environment.yml"))["dependencies"]


def conda() -> dict[str, SpecifierSet]:
    found = {}
    (by_pip,) = [spec["pip"] for spec in SPECS if not isinstance(spec, str)]
    assert by_pip[-1] == "-e ."  # the course itself
    for spec in [s for s in SPECS if isinstance(s, str)] + by_pip[:-1]:
        name, _, versions = spec.partition(" ")
        found[canonicalize_name(CONDA_NAMES.get(name, name))] = SpecifierSet(versions)
    return found


def test_conda_has_the_same_packages_and_ranges():
    found = conda()
    assert found.pop("python") == SpecifierSet(PROJECT["project"]["requires-python"])
    assert found.pop("pip") == SpecifierSet()  # to install the course itself
    assert found == LEARNERS | EXTRAS["test"]


def test_conda_understands_its_specs():
    for spec in (s for s in SPECS if isinstance(s, str)):
        parsed = MatchSpec(spec)
        assert parsed.name is not None
        assert (parsed.version is None) == (spec == "pip"), spec


@pytest.mark.parametrize("name", sorted(RANGES))
def test_pin_lies_inside_its_range(name: str):
    assert name in PINS, f"constraints.txt has no {name}"
    (pin,) = PINS[name].specifier
    assert pin.operator == "=="
    assert RANGES[name].contains(pin.version)
    assert str(RANGES[name]), f"{name} needs a range"


def test_pins_fit_every_machine():
    for name, pin in PINS.items():
        assert re.fullmatch(r"==[\w.]+", str(pin.specifier)), f"{name}: one exact public version"
        assert pin.marker is None
        assert pin.url is None
    assert {"colorama", "pywinpty", "appnope"} <= set(PINS), "for Windows and macOS only"
    assert len(PINS) == len(re.findall(r"^\w", text("constraints.txt"), re.MULTILINE))


def machines() -> list[dict[str, str]]:
    """What a marker may ask of every machine and Python that the course supports."""
    course = runpy.run_path(str(ROOT / "course.py"))
    pythons = [f"3.{minor}" for minor in range(course["OLDEST"][1], course["TOO_NEW"][1])]
    names = ("sys_platform", "platform_system", "os_name")
    systems = ("linux", "Linux", "posix"), ("darwin", "Darwin", "posix"), ("win32", "Windows", "nt")
    return [
        {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
        | dict(zip(names, system, strict=True))
        for python in pythons
        for system in systems
    ]


def test_everything_installed_is_pinned():
    """Whatever the course's packages need, and what that needs in turn, on any machine."""
    everywhere = machines()
    todo, seen = set(RANGES), set()
    while todo:
        name = todo.pop()
        seen.add(name)
        try:
            if name in PINS and Version(version(name)).public not in str(PINS[name].specifier):
                continue  # not the version that the pins are for: a newer torch, say
            needs = requires(name) or []
        except PackageNotFoundError:
            continue
        for need in map(Requirement, needs):
            if need.marker is None or any(map(need.marker.evaluate, everywhere)):
                todo |= {canonicalize_name(need.name)} - seen
    gpu = re.compile(r"nvidia-|cuda-|triton")  # chosen by torch, each at one exact version
    assert {name for name in seen - set(PINS) if not gpu.match(name)} == set()


def test_one_range_of_python_everywhere():
    course = runpy.run_path(str(ROOT / "course.py"))
    (low, high), (_, beyond) = course["OLDEST"], course["TOO_NEW"]
    assert PROJECT["project"]["requires-python"] == f">={low}.{high},<{low}.{beyond}"
    versions = [f"{low}.{minor}" for minor in range(high, beyond)]
    jobs = yaml.safe_load(text(".github/workflows/ci.yml"))["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == versions
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{low}{high}"
    assert PROJECT["tool"]["mypy"]["python_version"] == versions[0]


def test_build_backend_is_part_of_the_environment():
    """So that a reinstall, which builds the course without isolation, needs no network."""
    (backend,) = map(Requirement, PROJECT["build-system"]["requires"])
    assert LEARNERS[canonicalize_name(backend.name)] == backend.specifier


def test_each_command_installs_what_it_needs_and_no_more():
    commands = runpy.run_path(str(ROOT / "course.py"))["COMMANDS"]
    assert not commands["lab"].extras
    assert not commands["check"].extras
    wanted = {extra for command in commands.values() for extra in command.extras or ()}
    assert wanted == set(EXTRAS)
    packages = [name for part in (LEARNERS, *EXTRAS.values()) for name in part]
    assert len(packages) == len(set(packages)), "in two lists"
    asked_for = {
        "torch",
        "jupyterlab",
        "matplotlib",
        "nbval",
        "papermill",
    }  # by name, with no extra
    assert asked_for <= set(LEARNERS)


def imported(code: str) -> set[str]:
    """The names of the modules that code imports, the standard library's apart."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module or "")
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"lrcourse"}


def test_what_learners_run_imports_only_their_packages():
    needed = set()
    for path in (ROOT / "lrcourse").rglob("*.py"):
        needed |= imported(path.read_text(encoding="utf-8"))
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = nbformat.read(path, 4).cells
        needed |= set().union(*(imported(c.source) for c in cells if c.cell_type == "code"))
    distributions = packages_distributions()
    found = {canonicalize_name(distributions.get(name, [name])[0]) for name in needed}
    brought = {"ipython", "cycler", "traitlets"}  # by ipykernel, matplotlib and anywidget
    assert found - brought <= set(LEARNERS)


def test_a_package_of_an_extra_is_not_missed(monkeypatch: pytest.MonkeyPatch):
    needs = ["pip", 'no-such-package>=1; extra == "test"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: needs)
    assert not [problem for problem in machine.problems() if "no-such-package" in problem]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["no-such-package>=1"])
    assert [problem for problem in machine.problems() if "no-such-package" in problem]


def test_ci_runs_the_same_command():
    assert re.search(r"^exec python3 course\.py test", text(".ci/run"), re.MULTILINE)
    workflow = yaml.safe_load(text(".github/workflows/ci.yml"))
    assert workflow["permissions"] == {"contents": "read"}
    assert {"windows-latest", "macos-latest", "ubuntu-latest"} == set(
        workflow["jobs"]["test"]["strategy"]["matrix"]["os"]
    )
    for job in workflow["jobs"].values():
        runs = [step["run"] for step in job["steps"] if "run" in step]
        assert any(re.search(r"\.ci/run|course\.py test$", run) for run in runs)
    assert "cron" in workflow[True]["schedule"][0]  # YAML reads the word `on` as true


def test_the_site_shows_only_what_the_tests_have_passed():
    test, site = (yaml.safe_load(text(f".github/workflows/{name}.yml")) for name in ("ci", "site"))
    (event,) = site[True]  # YAML reads the word `on` as true
    when = site[True][event]
    assert (event, when["workflows"], when["branches"]) == (
        "workflow_run",
        [test["name"]],
        ["main"],
    )
    build, publish = site["jobs"]["build"], site["jobs"]["publish"]
    assert "workflow_run.conclusion == 'success'" in build["if"] and publish["needs"] == "build"
    assert "workflow_run.event == 'push'" in build["if"]
    assert "workflow_run.head_sha" in build["steps"][0]["with"]["ref"]


def tracked() -> list[Path]:
    """The files of the course: those git would keep, or all where there is no git."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        hidden = re.compile(r"/\.(?!ci/|git)|/__pycache__/")
        files = [path for path in ROOT.rglob("*") if path.is_file()]
        return [p for p in files if not hidden.search("/" + p.relative_to(ROOT).as_posix())]
    return [ROOT / name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_registry():
    """Where packages come from is the reader's setting (a mirror, a proxy), not the course's."""
    hosts = [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"))]
    hosts += [".".join(parts) for parts in (("conda", "anaconda", "org"),)]
    files = tracked()
    assert ROOT / "course.py" in files
    found = [
        f"{path.relative_to(ROOT)}: {host}"
        for path in files
        if path.suffix not in {".png", ".npz", ".npy", ".gz"}
        for host in hosts
        if host in path.read_text(encoding="utf-8", errors="replace")
    ]
    assert found == []
