"""The hub as it is configured here, with real users of this system and real limits.

    sudo /opt/hub/bin/python -m pytest deploy/jupyterhub/test_hub.py

Runs as root where systemd does: on the server before the class. It makes users `lrtest-…`, starts
a hub of its own on free ports of 127.0.0.1 beside the one that may run, and removes all of it.
"""

import concurrent.futures
import os
import pwd
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import websocket

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.append(str(ROOT / "benchmarks"))
from classroom import execute as run  # noqa: E402

COPIES = "course/work"
CHAPTER = f"{COPIES}/00_start_here.ipynb"
ANN, BEN, CAT, EVE = NAMES = [f"lrtest-{name}" for name in ("ann", "ben", "cat", "eve")]

if not Path("/run/systemd/system").is_dir() or os.geteuid() != 0:
    pytest.skip("needs root on a machine that systemd runs", allow_module_level=True)
pytest.importorskip("jupyterhub", reason="the hub is not installed in this environment")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Hub:
    """A running hub, and what a browser would ask of it."""

    def __init__(self, folder: Path, passwords: dict[str, str]) -> None:
        self.passwords = passwords
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = folder / "log"
        learners = folder / "learners.txt"
        learners.write_text("\n".join([ANN, BEN, CAT]))  # eve is a user, and not listed
        places = [f"--JupyterHub.bind_url={self.url}"]
        places += [f"--JupyterHub.hub_bind_url=http://127.0.0.1:{free_port()}"]
        places += [f"--ConfigurableHTTPProxy.api_url=http://127.0.0.1:{free_port()}"]
        command = [sys.executable, "-m", "jupyterhub", "--JupyterHub.cleanup_servers=True"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, f"--config={HERE / 'jupyterhub_config.py'}", *places],
                cwd=folder,
                env={**os.environ, "LRCOURSE_LEARNERS": str(learners)},
                stdout=log,
                stderr=log,
            )
        wait_for(self.answers, 60, self.log)

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return requests.get(f"{self.url}/hub/api", timeout=5).ok
        except requests.ConnectionError:
            return False

    def log_in(self, name: str, password: str) -> tuple[requests.Session, requests.Response]:
        """What the login page does."""
        session = requests.Session()
        session.get(f"{self.url}/hub/login").raise_for_status()
        form = {"username": name, "password": password, "_xsrf": session.cookies["_xsrf"]}
        page = f"{self.url}/hub/login?next=/hub/home"
        return session, session.post(page, data=form)


class Learner:
    """A learner who has logged in, and started a server."""

    def __init__(self, hub: Hub, name: str) -> None:
        browser, page = hub.log_in(name, hub.passwords[name])
        assert page.ok, page.text
        mine = f"{hub.url}/hub/api/users/{name}"
        xsrf = {"X-XSRFToken": browser.cookies.get("_xsrf", path="/hub/")}
        made = browser.post(f"{mine}/tokens", headers=xsrf, json={"note": "test"})
        made.raise_for_status()
        self.name, self.home = name, f"{hub.url}/user/{name}"
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"token {made.json()['token']}"
        assert self.session.post(f"{mine}/server").status_code in (201, 202)
        wait_for(lambda: self.get("api/status").ok, 180, hub.log)

    def get(self, path: str, of: "Learner | None" = None) -> requests.Response:
        return self.session.get(f"{(of or self).home}/{path}", timeout=60)

    def kernel(self, path: str = "scratch.ipynb") -> websocket.WebSocket:
        """The channels of a new kernel, in the folder of this notebook."""
        wants = {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}}
        began = self.session.post(f"{self.home}/api/sessions", json=wants)
        began.raise_for_status()
        channels = f"{self.home}/api/kernels/{began.json()['kernel']['id']}/channels"
        token = self.session.headers["Authorization"]
        url = channels.replace("http:", "ws:", 1)
        return websocket.create_connection(url, header={"Authorization": token}, timeout=180)


def wait_for(ready, seconds: float, log: Path) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"not ready after {seconds} s\n{log.read_text()[-5000:]}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    passwords: dict[str, str] = {}
    try:
        names = folder / "names"
        names.write_text("\n".join(NAMES))
        made = subprocess.check_output(["sh", str(HERE / "add_learners.sh"), str(names)], text=True)
        passwords = dict(line.split() for line in made.splitlines())
        assert list(passwords) == NAMES
        hub = Hub(folder, passwords)
        yield hub
        hub.process.terminate()
        hub.process.wait(60)
    finally:
        for name in passwords:  # those that it made, and no one else's
            stop = ["systemctl", "stop", f"jupyter-{name}-singleuser"]
            subprocess.run(stop, check=False, capture_output=True)
            subprocess.run(["userdel", "--remove", name], check=False, capture_output=True)


@pytest.fixture(scope="module")
def learners(hub: Hub) -> list[Learner]:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(pool.map(lambda name: Learner(hub, name), [ANN, BEN, CAT]))


def test_only_listed_users_with_their_password_come_in(hub: Hub):
    for name, password in [(ANN, "wrong"), (ANN, ""), (ANN, hub.passwords[BEN])]:
        session, page = hub.log_in(name, password)
        assert page.status_code == 403
        assert session.get(f"{hub.url}/hub/api/user").status_code == 403
    assert hub.log_in(EVE, hub.passwords[EVE])[1].status_code == 403
    assert "/hub/login" in requests.get(f"{hub.url}/user/{ANN}/api/contents").url


def test_three_run_a_chapter_at_once(learners: list[Learner]):
    """Each has copies of their own and runs one, all in their own servers."""

    def work(learner: Learner) -> list[str]:
        notebook = learner.get(f"api/contents/{CHAPTER}").json()["content"]
        assert not any(cell.get("outputs") for cell in notebook["cells"])
        assert learner.get("api/contents/course/docs/gpu.md").ok  # where a chapter's links lead
        channels = learner.kernel(CHAPTER)
        status, user = run(channels, "import getpass, os; print(getpass.getuser(), os.getuid())")
        assert (status, user) == ("ok", f"{learner.name} {pwd.getpwnam(learner.name).pw_uid}\n")
        printed = []
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                status, text = run(channels, "".join(cell["source"]))
                assert status == "ok", text
                printed.append(text)
        channels.close()
        return printed

    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = list(pool.map(work, learners))
    for printed in results:
        assert "✔ Rate 1 reads more than nineteen in twenty test images" in "".join(printed)


def test_nobody_reads_anothers_files(learners: list[Learner], hub: Hub):
    ann, ben, _ = learners
    secret = {"type": "file", "format": "text", "content": "mine"}
    ann.session.put(f"{ann.home}/api/contents/secret.txt", json=secret).raise_for_status()
    assert ann.get("api/contents/secret.txt").json()["content"] == "mine"
    for path in ("api/contents/secret.txt", "files/secret.txt", "api/kernels", "api/terminals"):
        assert ben.get(path, of=ann).status_code in (403, 404), path
    assert ben.session.get(f"{hub.url}/hub/api/users/{ANN}").status_code == 404
    channels = ben.kernel()
    for code in (f"open('/home/{ANN}/secret.txt')", f"import os; os.listdir('/home/{ANN}')"):
        status, text = run(channels, code)
        assert (status, text[:16]) == ("error", "PermissionError:"), text
    status, text = run(channels, "import subprocess; print(subprocess.run(['su', '-c', 'id']))")
    assert "uid=0" not in text
    channels.close()


def test_kernels_do_not_listen_on_the_network(learners: list[Learner]):
    """Or others could read what they print: the channel of outputs asks for no key."""
    channels = learners[2].kernel()
    code = "import ipykernel, json; print(json.load(open(ipykernel.get_connection_file())))"
    status, text = run(channels, code)
    channels.close()
    assert status == "ok", text
    assert "'transport': 'ipc'" in text


def test_too_much_memory_ends_the_kernel_and_nothing_else(learners: list[Learner], hub: Hub):
    ann, ben, _ = learners
    channels = ann.kernel()
    assert run(channels, "kept = b'x' * 2**28")[0] == "ok"  # a quarter of a gibibyte is fine
    assert run(channels, "taken = b'x' * (3 * 2**30)")[0] == "died"
    channels.close()
    assert ann.get("api/status").ok
    channels = ann.kernel("another.ipynb")
    assert run(channels, "print(1 + 1)") == ("ok", "2\n")  # and works on
    channels.close()
    assert ben.get("api/status").ok
    assert hub.answers()


def test_too_many_processes_are_refused(learners: list[Learner]):
    ann, ben, _ = learners
    code = """
import subprocess
started = []
try:
    while len(started) < 2000:
        started.append(subprocess.Popen(["sleep", "600"]))
except OSError as error:
    print(type(error).__name__)
print(len(started))
for process in started:
    process.kill()
    process.wait()
"""
    channels = ann.kernel()
    status, text = run(channels, code)
    channels.close()
    assert status == "ok", text
    why, count = text.split()
    assert why == "BlockingIOError"
    assert 100 < int(count) < 512
    assert ben.get("api/status").ok


def test_the_idle_culler_is_let_in(learners: list[Learner], hub: Hub):
    said = hub.log.read_text()
    assert re.search(r"200 GET /hub/api/users\S* \(idle-culler@", said), said[-3000:]
