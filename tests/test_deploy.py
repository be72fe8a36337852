"""What must hold of containers and hubs without starting one: safe by default, and of one mind.

`deploy/container/try_in_chroot.py` and `deploy/jupyterhub/test_hub.py` start them, as root.
"""

import json
import os
import re
import runpy
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from traitlets.config import Config

ROOT = Path(__file__).resolve().parents[1]
HUB = ROOT / "deploy" / "jupyterhub"


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


CONTAINER = "deploy/container"
DOCKERFILE = f"{CONTAINER}/Dockerfile"
INSTRUCTIONS = runpy.run_path(str(ROOT / CONTAINER / "try_in_chroot.py"))["instructions"](
    text(DOCKERFILE)
)


def said(word: str) -> list[str]:
    return [rest for first, rest in INSTRUCTIONS if first == word]


COMPOSE = yaml.safe_load(text(f"{CONTAINER}/compose.yaml"))["services"]["course"]
CLUSTER = yaml.safe_load(text("deploy/kubernetes/values.yaml"))
COMMAND = json.loads(said("CMD")[-1])


def test_the_image_has_a_pinned_python_that_the_course_supports():
    (base,) = said("FROM")
    version = re.fullmatch(r"python:(3\.\d+\.\d+)-slim-\w+", base)
    assert version, base
    supported = tomllib.loads(text("pyproject.toml"))["project"]["requires-python"]
    assert version[1] in SpecifierSet(supported)


def test_binder_takes_a_supported_python_and_the_tested_versions():
    python = text(".binder/runtime.txt").strip().removeprefix("python-")
    assert f"python:{python}." in said("FROM")[0]
    lines = text(".binder/requirements.txt").splitlines()
    assert {"-c ../constraints.txt", "-e ."} <= set(lines)


def test_every_installation_keeps_to_the_constraints():
    for name in (DOCKERFILE, "deploy/kubernetes/Dockerfile", "deploy/jupyterhub/README.md"):
        joined = text(name).replace("\\\n", " ")
        found = re.findall(r"pip install(.*?)(?:&&|;|$)", joined, re.MULTILINE)
        assert found, name
        assert all("constraints.txt" in words for words in found), name


def test_the_container_is_no_root_and_keeps_its_token():
    assert said("USER")[-1] not in ("0", "root")
    assert not re.search(r"allow-root|token|password", " ".join(COMMAND))
    assert COMPOSE["cap_drop"] == ["ALL"]
    assert COMPOSE["read_only"]
    assert "no-new-privileges:true" in COMPOSE["security_opt"]


def test_no_password_and_no_token_stands_in_a_file():
    secret = re.compile(r"(password|passwd|token|secret)\w*[\"']?\s*[=:]\s*[\"']?[\w$]", re.I)
    files = [*ROOT.glob("deploy/*/*"), ROOT / ".devcontainer" / "devcontainer.json"]
    assert {ROOT / DOCKERFILE, ROOT / CONTAINER / "compose.yaml"} < {*files}
    code = {".py", ".sh", ".md"}  # here they are variables and prose
    for path in (p for p in files if p.is_file() and p.suffix not in code):
        lines = [line for line in path.read_text().splitlines() if line.strip()[:1] != "#"]
        assert not [line for line in lines if secret.search(line)], path


def test_one_port_published_for_this_machine_only():
    (published,) = COMPOSE["ports"]
    assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", published)
    port = published.rsplit(":", 1)[1]
    assert said("EXPOSE") == [port]
    assert f"--ServerApp.port={port}" in COMMAND
    (check,) = said("HEALTHCHECK")
    assert f"127.0.0.1:{port}/api" in json.loads(check.split(" CMD ", 1)[1])[-1]


def test_what_learners_write_lies_on_a_volume_everywhere():
    (home,) = said("VOLUME")
    assert said("WORKDIR")[-1] == home
    assert [volume.split(":")[1] for volume in COMPOSE["volumes"]] == [home]
    assert CLUSTER["singleuser"]["storage"]["homeMountPath"] == home
    assert str(CLUSTER["singleuser"]["uid"]) == said("USER")[-1]


def test_the_devcontainer_works_on_the_course_that_the_image_installed():
    about = json.loads(text(".devcontainer/devcontainer.json"))
    here, build = ROOT / ".devcontainer", about["build"]
    assert (here / build["dockerfile"]).resolve() == ROOT / DOCKERFILE
    assert (here / build["context"]).resolve() == ROOT
    assert about["workspaceFolder"] == said("WORKDIR")[0]  # -e . was run there
    assert f"target={about['workspaceFolder']}," in about["workspaceMount"]
    assert f"--uid {said('USER')[-1]} {about['remoteUser']} " in said("RUN")[0]
    python = about["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert f"PATH={Path(python).parent}:" in said("ENV")[0]


def test_the_image_takes_nothing_along_that_git_ignores():
    ignored = [line for line in text(".gitignore").splitlines() if line[0] != "#"]
    left_out = text(f"{DOCKERFILE}.dockerignore").splitlines()  # where BuildKit looks for it
    assert {f"**/{line.strip('/')}" for line in ignored} <= set(left_out)


FIRST = "/lab/tree/course%2Fwork%2F00_start_here.ipynb"
LEARNERS = "/course/deploy/learner.sh"


def test_every_door_leads_to_copies_of_the_learners_own(tmp_path, monkeypatch):
    assert COMMAND[:3] == ["sh", LEARNERS, "jupyter"]
    assert f"--LabApp.default_url={FIRST}" in COMMAND
    kubernetes = text("deploy/kubernetes/Dockerfile")
    assert f'CMD ["sh", "{LEARNERS}", "jupyterhub-singleuser"]' in kubernetes
    assert CLUSTER["singleuser"]["cmd"] == ["sh", LEARNERS, "jupyterhub-singleuser"]
    assert CLUSTER["singleuser"]["defaultUrl"] == FIRST
    (tmp_path / "learners").write_text("ada")
    hub = configuration(tmp_path / "learners", monkeypatch)
    assert hub.Spawner.cmd[:2] == ["/bin/sh", str(ROOT / "deploy" / "learner.sh")]
    assert hub.Spawner.default_url == FIRST
    assert "python3 course.py copies" in text(".binder/postBuild")
    assert os.access(ROOT / ".binder" / "postBuild", os.X_OK) or os.name == "nt"
    devcontainer = json.loads(text(".devcontainer/devcontainer.json"))
    assert devcontainer["postCreateCommand"] == "python3 course.py copies"
    for name in ("README.md", "docs/environments.md"):
        assert "jupyter lab work/00_start_here.ipynb" in text(name)
        assert "python course.py copies" in text(name)


@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
def test_a_learners_folder_where_the_course_is_roots(tmp_path: Path):
    """Copies to write to, the course to read beside them; what the learner put there stays."""
    mine = tmp_path / "course" / "data"
    mine.mkdir(parents=True)
    (mine / "x").touch()
    for _ in range(2):  # again, on the next day
        said = subprocess.check_output(
            [
                "sh",
                str(ROOT / "deploy" / "learner.sh"),
                "sh",
                "-c",
                'echo "$LRCOURSE_WORK" "$1"',
                "sh",
                "a  b",
            ],
            env={**os.environ, "HOME": str(tmp_path)},
            cwd=tmp_path,
            encoding="utf-8",
        )
        assert said.splitlines()[-1] == f"{tmp_path / 'course' / 'work'} a  b"
    assert [path.name for path in mine.iterdir()] == ["x"]
    work = tmp_path / "course" / "work"
    names = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {path.name for path in work.glob("*.ipynb")} == names
    linked = tmp_path / "course" / "docs"
    assert linked.is_symlink() and (work / ".." / "docs" / "gpu.md").exists()
    assert not work.is_symlink()


def test_compose_builds_the_image_from_the_whole_course():
    build = COMPOSE["build"]
    context = (ROOT / CONTAINER / build["context"]).resolve()
    assert (context, context / build["dockerfile"]) == (ROOT, ROOT / DOCKERFILE)


def configuration(learners: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("LRCOURSE_LEARNERS", str(learners))
    config = Config()
    path = HUB / "jupyterhub_config.py"
    code = compile(path.read_text(encoding="utf-8"), "config", "exec")
    exec(code, {"get_config": lambda: config, "__file__": str(path)})
    return config


def test_the_hub_is_closed_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    learners = tmp_path / "learners.txt"
    learners.write_text("ada\nbob\n")
    hub = configuration(learners, monkeypatch)
    assert hub.JupyterHub.bind_url.startswith("http://127.0.0.1:")
    assert hub.JupyterHub.hub_bind_url.startswith("http://127.0.0.1:")
    assert hub.JupyterHub.authenticator_class == "pam"
    assert hub.Authenticator.allowed_users == {"ada", "bob"}
    assert hub.Authenticator.allow_existing_users is False
    assert "allow_all" not in hub.Authenticator
    assert hub.Spawner.mem_limit == CLUSTER["singleuser"]["memory"]["limit"]
    assert int(hub.SystemdSpawner.unit_extra_properties["TasksMax"]) > 0
    learners.write_text("\n")
    with pytest.raises(SystemExit, match=r"learners\.txt names nobody"):
        configuration(learners, monkeypatch)


def test_the_hubs_packages_are_pinned_and_do_not_contradict_the_course():
    lines = (HUB / "requirements.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line[0] != "#"]
    assert all(re.fullmatch(r"==[\w.]+", str(pin.specifier)) for pin in pins)
    course = {line.split("==")[0].lower() for line in text("constraints.txt").splitlines()}
    assert not {pin.name.lower() for pin in pins} & course
