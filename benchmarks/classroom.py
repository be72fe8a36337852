"""What a learner costs a server: 1, 2, 4 and 8 at once, each with a Jupyter server and a kernel.

    python benchmarks/classroom.py [NN]

Each learner starts JupyterLab and runs chapter NN (default: 01) in it from top to bottom, on one
thread, as the hub in deploy/jupyterhub has it. All begin together: the worst moment of a class.
Private memory is what a learner adds; shared memory is counted once however many there are. For
Linux. The last line is the time at 8 over the time at 1, divided by 8 learners per core: 1 where
the cores are shared without loss.
"""

import concurrent.futures
import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import psutil
import requests
import websocket

from tools import notebooks

LEARNERS, CLASS = (1, 2, 4, 8), 20
AT_MOST = 1.5  # the ratio


def execute(channels: websocket.WebSocket, code: str) -> tuple[str, str]:
    """Run a cell through a Jupyter server: its status, "died" for its kernel's, and its output."""
    asked = uuid.uuid4().hex
    header = {"msg_id": asked, "msg_type": "execute_request", "username": "", "session": asked}
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
    message = {"header": header | {"version": "5.3"}, "parent_header": {}, "metadata": {}}
    channels.send(json.dumps(message | {"content": content, "channel": "shell"}))
    printed, status, idle = "", "", False
    while not (status and idle):
        got = json.loads(channels.recv())
        kind, content = got["msg_type"], got["content"]
        if kind == "status" and content["execution_state"] in ("restarting", "dead"):
            return "died", printed
        if got["parent_header"].get("msg_id") != asked:
            continue
        if kind == "execute_reply":
            status = content["status"]
        elif kind == "status":
            idle = content["execution_state"] == "idle"
        elif kind == "error":
            printed += f"{content['ename']}: {content['evalue']}"
        else:
            printed += content.get("text", "")
    return status, printed


class Learner:
    """A Jupyter server in a folder of its own."""

    def __init__(self, folder: Path, chapter: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        token = secrets.token_urlsafe()
        self.folder, self.headers = folder, {"Authorization": f"token {token}"}
        self.chapter = shutil.copy(chapter, folder)
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
        command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={self.url.rsplit(':')[-1]}"]
        own = {"JUPYTER_TOKEN": token, "JUPYTER_RUNTIME_DIR": str(folder), "OMP_NUM_THREADS": "1"}
        with Path(folder, "log").open("w") as log:
            self.process = psutil.Popen(
                command, cwd=folder, env={**os.environ, **own}, stdout=log, stderr=log
            )
        self.private = self.proportional = self.busy = 0.0

    def work(self) -> float:
        """Seconds from a new kernel to the end of the chapter."""
        while True:
            if self.process.poll() is not None:
                sys.exit((self.folder / "log").read_text())
            try:
                requests.get(f"{self.url}/api/status", headers=self.headers, timeout=5)
                break
            except requests.ConnectionError:
                time.sleep(0.2)
        start, name = time.monotonic(), Path(self.chapter).name
        wants = {"path": name, "name": name, "type": "notebook", "kernel": {"name": "python3"}}
        made = requests.post(f"{self.url}/api/sessions", json=wants, headers=self.headers)
        made.raise_for_status()
        url = f"ws{self.url[4:]}/api/kernels/{made.json()['kernel']['id']}/channels"
        channels = websocket.create_connection(url, header=self.headers, timeout=600)
        for cell in json.loads(Path(self.chapter).read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                status, printed = execute(channels, "".join(cell["source"]))
                if status != "ok":
                    sys.exit(f"{name}: {status}: {printed}")
        channels.close()
        return time.monotonic() - start

    def weigh(self) -> None:
        """Note the largest memory of server and kernel so far, in bytes, and their CPU seconds."""
        private = proportional = busy = 0.0
        for process in [self.process, *self.process.children(recursive=True)]:
            try:
                memory, times = process.memory_full_info(), process.cpu_times()
            except psutil.Error:  # it has just ended
                continue
            private, proportional = private + memory.uss, proportional + memory.pss
            busy += times.user + times.system
        self.private = max(self.private, private)
        self.proportional = max(self.proportional, proportional)
        self.busy = max(self.busy, busy)


def lesson(count: int, chapter: Path) -> tuple[float, float, float, float]:
    """So many learners at once: seconds, of CPU, and GB, private and with the share; the most."""
    done = threading.Event()
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch, str(i)) for i in range(count)]
        for folder in folders:
            folder.mkdir()
        learners = [Learner(folder, chapter) for folder in folders]

        def watch() -> None:
            while not done.wait(1):
                for learner in learners:
                    learner.weigh()

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            with concurrent.futures.ThreadPoolExecutor(count) as pool:
                seconds = list(pool.map(Learner.work, learners))
        finally:
            done.set()
            watching.join()
            for learner in learners:
                learner.process.terminate()  # Jupyter ends its kernels
            for learner in learners:
                learner.process.wait(30)
    busy = max(learner.busy for learner in learners)
    private = max(learner.private for learner in learners)
    proportional = max(learner.proportional for learner in learners)
    return max(seconds), busy, private / 1e9, proportional / 1e9


def waits(busy: float) -> list[str]:
    """How long a class waits with so many cores, where each needs these CPU seconds."""
    return [f"{busy * CLASS / cores:.0f} s on {cores} cores" for cores in (4, 8, 16)]


def main(numbers: list[str]) -> int:
    if not sys.platform.startswith("linux"):
        sys.exit("benchmarks/classroom.py reads memory as Linux counts it: run it there.")
    (source,) = notebooks.chapters(numbers or ["01"])
    chapter, cores = notebooks.notebook_of(source), len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    print(f"{chapter.stem} on {cores} cores; load before: {load:.1f}")
    print(f"{'learners':>8} {'seconds':>8} {'CPU s':>6} {'GB, private':>12} {'with share':>11}")
    rows = {}
    for count in LEARNERS:
        rows[count] = seconds, busy, private, proportional = lesson(count, chapter)
        row = f"{count:8} {seconds:8.1f} {busy:6.1f} {private:12.2f} {proportional:11.2f}"
        print(row, flush=True)
    alone, many = rows[LEARNERS[0]], rows[LEARNERS[-1]]
    shared = max(alone[3] - alone[2], 0)
    print(
        f"{CLASS} learners: {1 + shared + CLASS * many[2]:.0f} GB = 1 for the system and the hub,"
        f" {shared:.1f} that they share, {many[2]:.2f} each."
    )
    print("All running it at the same moment: " + ", ".join(waits(many[1])))
    ratio = many[0] / alone[0] / (LEARNERS[-1] / cores)
    print(f"at most {AT_MOST:g} is asked for, on a machine that does nothing else")
    print(f"ratio: {ratio:.2f}")
    return 0 if ratio <= AT_MOST else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
