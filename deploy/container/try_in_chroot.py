"""Tries the Dockerfile where there is no Docker: its own steps, one by one, in a bare Debian root.

    sudo apt-get install debootstrap
    sudo debootstrap --variant=minbase --include=python3-venv,ca-certificates bookworm ROOT
    sudo python3 deploy/container/try_in_chroot.py ROOT

Debian's Python stands for that of the base image. Then it starts the container's command as the
container's user, without capabilities, on a root that is read-only but for the home and /tmp, as
compose.yaml does; asks Jupyter with and without its token; runs a chapter; and stops.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
DOCKERFILE = Path(__file__).with_name("Dockerfile")
DISARMED = ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
READ_ONLY = (
    'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && mount -t tmpfs tmpfs "$0/tmp" && '
    'mount --bind "$0/home" "$0/home" && mount -o remount,bind,rw "$0/home" && '
)
INSIDE = 'mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Words such as RUN and what follows them, without comments and with the lines joined."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(" ", 1)) for line in joined.splitlines() if line]  # type: ignore


class Container:
    """The state that a Dockerfile's instructions build up."""

    def __init__(self, root: Path) -> None:
        self.root, self.user, self.folder = root, "0", "/"
        self.variables = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        self.check: list[str] = []
        self.command: list[str] = []

    def process(self, command: list[str], read_only: bool = False) -> list[str]:
        """The command line that runs a command in here."""
        accounts = (self.root / "etc" / "passwd").read_text().splitlines()
        rows = [account.split(":") for account in accounts]
        uid, gid, home = next((r[2], r[3], r[5]) for r in rows if self.user in (r[0], r[2]))
        variables = [f"{name}={value}" for name, value in {"HOME": home, **self.variables}.items()]
        become = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
        become += DISARMED if read_only else []
        go = f"cd {shlex.quote(self.folder)} && exec {shlex.join(command)}"
        enter = (READ_ONLY if read_only else "") + INSIDE
        spaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        inside = [*become, "env", "-i", *variables, "sh", "-c", go]
        return [*spaces, "sh", "-c", enter, str(self.root), *inside]

    def obey(self, word: str, rest: str) -> None:
        """Do what one instruction says."""
        if word in ("FROM", "VOLUME", "EXPOSE"):  # for the engine
            return
        if word in ("ARG", "ENV"):
            for pair in shlex.split(rest):
                name, _, value = pair.partition("=")
                self.variables[name] = value.replace("$PATH", self.variables["PATH"])
        elif word == "WORKDIR":
            self.folder = rest
            (self.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "USER":
            self.user = rest
        elif word == "COPY":
            *sources, target = rest.split()
            listed = subprocess.check_output(["git", "ls-files", "--", *sources], cwd=HERE)
            for name in listed.decode().split():
                short = name if sources == ["."] else Path(name).name
                to = self.root / self.folder.lstrip("/") / target / short
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(HERE / name, to)
        elif word == "RUN":
            subprocess.run(self.process(["/bin/sh", "-c", rest]), check=True)
        elif word == "HEALTHCHECK":
            self.check = json.loads(rest.split(" CMD ", 1)[1])
        elif word == "CMD":
            self.command = json.loads(rest)
        else:
            sys.exit(f"{word} is an instruction that this script does not know: teach it.")


def status(url: str) -> int:
    """The HTTP status of a request."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def main(arguments: list[str]) -> int:
    """Build, start, ask, run a chapter."""
    if len(arguments) != 1 or not (Path(arguments[0]) / "usr" / "bin" / "python3").exists():
        sys.exit("usage: try_in_chroot.py ROOT, a folder that debootstrap filled")
    container = Container(Path(arguments[0]).resolve())
    for word, rest in instructions(DOCKERFILE.read_text(encoding="utf-8")):
        print(f"{word} {rest[:80]}", flush=True)
        container.obey(word, rest)

    log = Path(arguments[0]) / "lab.log"
    with log.open("w") as out:
        command = container.process(container.command, read_only=True)
        lab = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        end, healthy = time.monotonic() + 60, container.process(container.check)
        while subprocess.run(healthy, capture_output=True).returncode != 0:
            assert lab.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(1)
        print("healthy")
        token = re.search(r"token=(\w+)", log.read_text())
        assert token, log.read_text()
        copies = "course/work"
        url = f"http://127.0.0.1:8888/api/contents/{copies}"
        refused, let_in = status(url), status(f"{url}?token={token[1]}")
        print(f"without the token {refused}, with it {let_in}")
        assert (refused, let_in) == (403, 200)
        chapter = f"{copies}/00_start_here.ipynb"
        run = ["papermill", "--no-progress-bar", "--cwd", copies, chapter, "made.ipynb"]
        subprocess.run(container.process(run, read_only=True), check=True)
        print("chapter 00 ran")
        owner = container.process(["sh", "-c", "id; touch /course/x 2>&1; ls -l made.ipynb"], True)
        print(subprocess.run(owner, capture_output=True, text=True).stdout)
    finally:
        lab.terminate()
        lab.wait()
    assert subprocess.run(healthy, capture_output=True).returncode != 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
