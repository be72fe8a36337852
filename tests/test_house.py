"""The house stays small and in order: rooms, sizes, names, and which module may import which."""

import ast
import re
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from tools import count_code

ROOT = Path(__file__).resolve().parents[1]
AT_THE_ROOT = 17  # what a visitor sees first, at most
MODULES_AT_THE_TOP, LINES_AT_THE_TOP = 14, 2300
LINES_IN_ALL = 5970

# From the lowest to the highest. A module imports those that stand before it, and others of its own
# room. tools stand above all.
ORDER = [
    "arguments",
    "files",
    "schedules",
    "landscapes",
    "evidence",
    "data",
    "models",
    "runs",
    "checkpoints",
    "training",
    "stacking",
    "sweeps",
    "plots",
    "machine",
    # rooms
    "doctor",
    "experiments",
    "pretrain",
    "chapters",
    "widgets",
    "exercises",
]
SHARED = {"main", "ROOT"}  # names that several modules may have: a command's door, the course


def parsed(*folders: str) -> dict[str, ast.Module]:
    """The modules of these folders, by their dotted name; a package goes by its own."""
    found = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts).removesuffix(".__init__")
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = parsed("lrcourse", "tools")


def imported(tree: ast.Module) -> set[str]:
    """What a module imports of ours, anywhere in it, by dotted name."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "we import by the full name"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inside & set(MODULES) or {node.module}
    return {name for name in found if name.split(".")[0] in ("lrcourse", "tools")}


def rank(name: str) -> int:
    """How high a module stands; ValueError for one that has no place in `ORDER`."""
    package, _, rest = name.partition(".")
    room = rest.partition(".")[0]
    if package == "tools":
        return len(ORDER)
    if not room:
        return -1  # lrcourse itself, which holds its version and nothing else
    if room not in ORDER:
        raise ValueError(f"lrcourse.{room} has no place yet: put it into ORDER in {__file__}")
    return ORDER.index(room)


def test_the_root_shows_little():
    command = ["git", "ls-files", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git here, which knows what belongs to the course")
    first = {name.split("/")[0] for name in listed.decode().split("\0") if name}
    visible = sorted(name for name in first if not name.startswith("."))
    assert {"notebooks", "lrcourse", "data", "tests", "environment.yml", "README.md"} <= {*visible}
    assert len(visible) <= AT_THE_ROOT, visible


def test_the_package_can_be_read_in_an_evening():
    files = count_code.count_package()
    top = {name: n for name, n in files.items() if count_code.part_of(name) == count_code.TOP}
    at_the_top = sum(top.values())
    in_all = sum(files.values())
    assert len(top.keys() - {"__init__.py"}) <= MODULES_AT_THE_TOP, sorted(top)
    assert at_the_top <= LINES_AT_THE_TOP, "python -m tools.count_code shows where they are"
    assert in_all <= LINES_IN_ALL, "python -m tools.count_code shows where they are"


def public_names(tree: ast.Module) -> set[str]:
    """Functions, classes and constants that a module defines, without leading underscore."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return {name for name in found if not name.startswith("_")}


def test_no_two_public_things_share_a_name():
    homes = defaultdict(list)
    for module, tree in MODULES.items():
        for name in public_names(tree) - SHARED:
            homes[name].append(module)
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_each_module_has_its_place():
    top = {name.split(".")[1] for name in MODULES if name.startswith("lrcourse.")}
    assert top - {*ORDER} == set(), f"put these into ORDER in {__file__}, where they belong"
    assert {*ORDER} - top == set(), f"these are gone: take them out of ORDER in {__file__}"


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downward(module: str):
    upward = [name for name in imported(MODULES[module]) if rank(name) > rank(module)]
    assert upward == [], f"{module} stands below what it imports"


def test_notebooks_import_no_tools():
    sources = [*(ROOT / "notebooks" / "source").glob("*.md")]
    told = re.compile(r"^\s*(?:from|import) tools\b", re.MULTILINE)
    assert [path.name for path in sources if told.search(path.read_text(encoding="utf-8"))] == []


def test_the_reference_lists_each_module_after_those_it_imports():
    text = (ROOT / "docs" / "site" / "reference.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\.\. automodule:: (\S+)$", text, re.MULTILINE)
    without = re.compile(r"tools|lrcourse\.exercises|lrcourse$|.*__main__$")
    packages = {name.rpartition(".")[0] for name in MODULES}  # these hold a docstring
    documented = {name for name in MODULES if not without.match(name)} - packages
    assert sorted(listed) == sorted(documented)
    for i, name in enumerate(listed):
        assert imported(MODULES[name]) <= {*listed[:i]}, name
