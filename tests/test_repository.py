"""What GitHub reads of the repository: its doors, forms, updates, pins, how to cite it."""

import re
import shlex
import tomllib
from datetime import date
from pathlib import Path

import pytest
import yaml
from test_articles import dead

import lrcourse
from tools import checks

ROOT = Path(__file__).resolve().parents[1]
GITHUB = ROOT / ".github"
DOORS = ["README.md", "README.zh.md"]
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [*DOORS, "docs/findings.md", "docs/open_questions.md"])
def test_each_link_reaches_a_heading_that_exists(name: str):
    page = ROOT / name
    links = re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    inside = [link for link in links if not re.match(r"https?:", link)]
    assert len(inside) > 20
    assert [why for link in inside if (why := dead(link, page))] == []
    assert "no such heading" in dead(f"{ROOT}/docs/libraries.md#lightening", page)


def test_a_chapter_that_reads_a_recording_leads_to_all_its_rows():
    for source in sorted((ROOT / "notebooks" / "source").glob("*.md")):
        text = source.read_text(encoding="utf-8")
        assert "read_recording(" not in text or "../docs/findings.md" in text, source.name


@pytest.mark.parametrize("name", DOORS)
def test_the_paths_take_the_minutes_of_their_chapters(name: str):
    """An evening and a weekend name their chapters; the third path is all of them."""
    minutes = {}
    for path in (ROOT / "notebooks" / "source").glob("*.md"):
        if said := re.search(r"\*\*(\d+) minutes\*\*", path.read_text(encoding="utf-8")):
            minutes[path.stem] = int(said[1])
    text = (ROOT / name).read_text(encoding="utf-8")
    paths = [*re.finditer(r"^\*\*[^*\n]+\*\*.{1,2}?(\d+) .*$", text, re.MULTILINE)]
    chapters = [re.findall(r"notebooks/(\w+)\.ipynb", path[0]) for path in paths]
    chapters[-1] = [*minutes]
    assert [int(path[1]) for path in paths] == [sum(map(minutes.get, some)) for some in chapters]
    assert len(paths) == 3 and len(chapters[0]) < len(chapters[1]) < len(minutes)
    below = {*re.findall(r"notebooks/(\w+)\.ipynb", text[paths[0].start() :])}
    assert below >= minutes.keys()


@pytest.mark.parametrize("name", DOORS)
def test_a_badge_is_a_file_that_says_what_is_so(name: str):
    assert "](docs/badges.svg)" in (ROOT / name).read_text(encoding="utf-8")
    badges = (ROOT / "docs" / "badges.svg").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    first, behind = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project["requires-python"]).groups()
    assert f">3.{first}–3.{int(behind) - 1}<" in badges
    assert all(f">{licence}" in badges for licence in ("MIT", "CC BY 4.0"))


def test_there_is_a_form_for_a_claim_a_figure_and_a_question():
    assert [form.stem for form in FORMS] == ["claim_fails", "figure_misleads", "question"]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_asks_for_something_and_names_each_answer_once(path: Path):
    form = read(path)
    assert {"name", "description", "body"} <= form.keys()
    asked = [part for part in form["body"] if part["type"] != "markdown"]
    names = [part["id"] for part in asked]
    assert len(set(names)) == len(names) and all(part["attributes"]["label"] for part in asked)
    assert any(part.get("validations", {}).get("required") for part in asked)
    options = [part["attributes"]["options"] for part in asked if part["type"] == "dropdown"]
    assert all(isinstance(one, str) for some in options for one in some), "No is not False"


@pytest.mark.parametrize("name", ["ci", "site"])
def test_actions_are_pinned_by_a_commit_beside_which_its_version_stands(name: str):
    text = (GITHUB / "workflows" / f"{name}.yml").read_text(encoding="utf-8")
    uses = re.findall(r"uses: (.*)", text)
    assert uses
    for use in uses:
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", use), use


def test_one_action_has_one_version():
    text = "".join(path.read_text(encoding="utf-8") for path in (GITHUB / "workflows").iterdir())
    pins = {*re.findall(r"uses: (actions/[\w-]+)(@.*)", text)}
    assert len({action for action, _ in pins}) == len(pins)


def test_what_is_held_back_is_not_updated_by_a_robot():
    updates = {one["package-ecosystem"]: one for one in read(GITHUB / "dependabot.yml")["updates"]}
    assert updates.keys() == {"pip", "github-actions"}
    ignored = {one["dependency-name"] for one in updates["pip"]["ignore"]}
    assert ignored == {"torch", "sympy", "networkx", "jsonschema"}


def test_hooks_are_stages_of_the_checks_and_fetch_nothing():
    (repo,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repo["repo"] == "local"
    for hook in repo["hooks"]:
        assert hook["language"] == "system" and not hook["pass_filenames"]
        _, line = checks.STAGES[hook["name"]]
        assert shlex.split(hook["entry"].removeprefix("python -m ")) == shlex.split(line)


def test_the_citation_is_of_this_version():
    cited = read(ROOT / "CITATION.cff")
    assert cited["cff-version"] == "1.2.0" and cited["version"] == lrcourse.__version__
    assert cited["title"] and cited["authors"] and cited["license"] == ["MIT", "CC-BY-4.0"]
    assert isinstance(cited.get("date-released", date.min), date)
    assert re.match(r"10\.\d{4,}/", cited.get("doi", "10.0000/"))
