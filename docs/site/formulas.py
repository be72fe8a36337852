"""Waits for the server that renders formulas.

sphinxcontrib.katex connects as soon as the server's socket file exists. That is before the server
listens, so on a busy machine the connection is refused and the build ends.
"""

import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinxcontrib.katex import KaTeXServer

LONGEST = 60.0  # seconds that node may take to start


def start(folder: Path, timeout: float) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start the server and connect to it; gives the process and the connection."""
    address = str(folder / "katex.sock")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen(KaTeXServer.build_command(address), cwd=folder, **pipes)
    link = socket.socket(socket.AF_UNIX)
    end = time.monotonic() + max(timeout, LONGEST)
    while True:
        try:
            link.connect(address)
            return process, link
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > end or process.poll() is not None:
                process.kill()
                raise
            time.sleep(0.01)


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx calls this."""
    KaTeXServer.start_server_process = start
    return {"parallel_read_safe": False}  # each process would leave a server behind
