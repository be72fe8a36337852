"""A real browser that can reach nothing but this machine, and what it is to look at."""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AXE = "4.10.3"
CHROMIUM = shutil.which(os.environ.get("CHROMIUM", "chromium")) or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",  # Chromium refuses root otherwise, and in CI's container we are root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@pytest.fixture(scope="session")
def browser():
    if not CHROMIUM:
        pytest.skip("no chromium here (on Debian: apt install chromium); or name it in CHROMIUM")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: it comes with the extra [site]"
    )
    with playwright.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """Build the site into a new folder of some name; gives the folder."""
    pytest.importorskip("sphinx", reason="sphinx is not installed: it comes with the extra [site]")
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("no npm and node here, which render the site's formulas: install Node.js")

    def made(name):
        out = tmp_path_factory.mktemp(name)
        command = [sys.executable, str(ROOT / "docs" / "site" / "build.py"), str(out)]
        # As on GitHub, where the pages get links to Colab and Binder.
        variables = {**os.environ, "GITHUB_REPOSITORY": "some/one"}
        subprocess.run(command, check=True, cwd=ROOT, env=variables)
        return out

    return made


@pytest.fixture(scope="session")
def serve():
    """Serve a folder on this machine alone; gives its address."""
    servers = []

    def served(folder):
        handler = functools.partial(Quiet, directory=str(folder))
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield served
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def axe():
    """The accessibility checker, from npm."""
    folder, npm = ROOT / "build" / "npm" / f"axe-{AXE}", shutil.which("npm")
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        folder.mkdir(parents=True, exist_ok=True)
        install = [npm, "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run([*install, "--prefix", ".", f"axe-core@{AXE}"], cwd=folder, check=True)
    return script.read_text(encoding="utf-8")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass
