"""JupyterLab as `course.py lab` starts it: what a learner answers is there after an update."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
NAME = "01_gradient_descent.ipynb"
CHAPTER = f"work/{NAME}"
# course.py's own `lab`, in the environment of this test, complete or not: nothing is set up.
START = """import runpy, sys; from pathlib import Path
course = runpy.run_path('course.py')
course['environment'].__globals__['SETTINGS'] = Path('settings').resolve()
sys.exit(course['lab'](sys.argv[1:]))"""


class Lab:
    """A learner's course in a folder of its own, and JupyterLab on it while it is open."""

    def __init__(self, folder: Path) -> None:
        self.root, self.log = folder, folder / "log"
        (folder / "notebooks").mkdir()
        for name in ("lrcourse", "docs", "data"):
            shutil.copytree(ROOT / name, folder / name)
        for name in ("course.py", "notebooks/00_start_here.ipynb", f"notebooks/{NAME}"):
            shutil.copy(ROOT / name, folder / name)
        # otherwise cells off the screen are not in the page
        tracker = folder / "settings/jupyter/lab/user-settings/@jupyterlab/notebook-extension"
        tracker.mkdir(parents=True)
        (tracker / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')

    def __enter__(self) -> "Lab":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        self.address = f"http://127.0.0.1:{port}"
        variables = {k: v for k, v in os.environ.items() if k != "LRCOURSE_WORK"}
        with self.log.open("w") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START, "--no-browser", "--port", port],
                cwd=self.root,
                env=variables | {"LRCOURSE_VENV": sys.prefix},
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        until(lambda: self.process.poll() is not None or self.answers(int(port)), 60)
        assert self.process.poll() is None, self.log.read_text()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:  # how JupyterLab ends is no matter of these tests
            self.process.kill()

    def answers(self, port: int) -> bool:
        """Has it told the address, and does it listen there? The first comes a little earlier."""
        with socket.socket() as probe:
            return self.token() is not None and probe.connect_ex(("127.0.0.1", port)) == 0

    def token(self) -> str | None:
        """What JupyterLab prints for the learner to open, on chapter 00."""
        first = re.escape("work/00_start_here.ipynb")
        start = rf"http://127\.0\.0\.1:\d+/lab/tree/{first}\?token=(\w+)"
        found = re.search(start, self.log.read_text())
        return found and found[1]

    def open(self, browser, path: str = CHAPTER):
        """A page with that chapter, when its kernel is ready; and the cells in it."""
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.goto(f"{self.address}/lab/tree/{path}?token={self.token()}")
        cells = page.locator(".jp-NotebookPanel:visible .jp-Notebook .jp-Cell")
        cells.first.wait_for(timeout=60_000)
        # before that, Run asks which kernel to take
        until(lambda: "idle" in self.states(), 60, lambda: page.wait_for_timeout(250))
        until(lambda: quiet(page), 60, lambda: page.wait_for_timeout(250))
        assert page.locator(".jp-Dialog").count() == 0
        return page, cells

    def states(self) -> list[str]:
        request = urllib.request.Request(f"{self.address}/api/sessions?token={self.token()}")
        with urllib.request.urlopen(request) as answer:
            return [session["kernel"]["execution_state"] for session in json.load(answer)]


def quiet(page) -> bool:
    """Does the notebook in sight run nothing?"""
    indicator = page.locator(".jp-NotebookPanel:visible .jp-Notebook-ExecutionIndicator").first
    return indicator.get_attribute("data-status") == "idle"


def until(condition, seconds, wait=lambda: time.sleep(0.25)):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        wait()


def exercise(cells, name: str):
    """The cell in which a learner answers."""
    return cells.filter(has_text=f'check("{name}"').first


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("ein Kurs [1]"))


def test_nobody_enters_without_the_token(lab):
    with lab:
        for path in ("contents", "kernels", "sessions", "terminals"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"{lab.address}/api/{path}")
            assert refused.value.code == 403, path
            refused.value.close()
        with urllib.request.urlopen(f"{lab.address}/lab") as page:
            assert "/login" in page.geturl()


def test_what_a_first_time_learner_sees(browser, lab):
    """The table of contents, at night a dark page, no way to install things; solutions folded."""
    with lab:
        page, cells = lab.open(browser, "work/00_start_here.ipynb")
        page.emulate_media(color_scheme="dark")
        page.wait_for_function("document.body.dataset.jpThemeName == 'JupyterLab Dark'")
        contents = page.locator(".jp-TableOfContents")
        contents.get_by_text("Exercise 2").wait_for()
        assert page.locator("[data-id*=extensionmanager]").count() == 0
        assert page.locator(".jp-OutputArea-output").count() == 0
        assert cells.filter(has_text="# The solution").filter(visible=True).count() == 0
        cells.get_by_role("link", name="Gradient descent").click()
        page.locator(f".lm-TabBar-tab[title*='{CHAPTER}']").wait_for()
        # JupyterLab may not end while a kernel is still starting
        both = ["idle", "idle"]
        until(lambda: lab.states() == both, 60, lambda: page.wait_for_timeout(250))
        page.close()


def test_a_learner_answers_closes_updates_and_finds_the_answer(browser, lab):
    """Chapter 01 is run and answered wrongly and rightly; then the course changes under it."""
    with lab:
        page, cells = lab.open(browser)
        assert page.locator(".jp-OutputArea-output").count() == 0

        def wait():  # and let the page's messages in, which time.sleep would not
            page.wait_for_timeout(250)

        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Run All Cells$")).click()
        stored = nbformat.read(ROOT / "notebooks" / NAME, 4).cells
        # a folded cell shows no number
        code = [
            c for c in stored if c.cell_type == "code" and "fold" not in c.metadata.get("tags", [])
        ]
        prompts = cells.locator(".jp-InputPrompt")

        def ran():
            numbered = [text for text in prompts.all_text_contents() if re.search(r"\d", text)]
            return len(numbered) == len(code) and quiet(page)

        until(ran, 180, wait)
        assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
        assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
        images = page.locator(".jp-RenderedImage img")
        assert images.count() > 5
        assert all(len(image.get_attribute("alt") or "") > 20 for image in images.all())
        assert "☐ 01 open" in exercise(cells, "01 open").inner_text()
        assert cells.filter(has_text="# The solution").filter(visible=True).count() == 0
        for answer, verdict in {
            "(lambda t: 0.0035, 0.0)": "✘ 01 open: not yet. A walk diverged at step",
            "(lambda t: 0.0035, 0.88)": "✔ 01 open: right.",
        }.items():
            cell = exercise(cells, "01 open")
            cell.locator(".cm-content").click()
            page.keyboard.press("ControlOrMeta+a")
            page.keyboard.insert_text(f'answer = {answer}\ncheck("01 open", answer)')
            page.keyboard.press("Control+Enter")
            cell.locator(".jp-OutputArea-output", has_text=verdict).wait_for(timeout=30_000)
        page.keyboard.press("ControlOrMeta+s")
        until(
            lambda: "answer = (lambda t: 0.0035, 0.88)" in (lab.root / CHAPTER).read_text(),
            30,
            wait,
        )
        page.close()

    path = lab.root / "notebooks" / NAME
    path.write_text(path.read_text().replace("# Gradient descent", "# Down the gradient", 1))
    mine = (lab.root / CHAPTER).read_bytes()
    with lab:
        assert "worked in yours, which stay as they are: 01." in lab.log.read_text()
        assert (lab.root / CHAPTER).read_bytes() == mine
        command = [sys.executable, str(lab.root / "course.py"), "renew", "01"]
        subprocess.run(command, check=True, capture_output=True)
        page, cells = lab.open(browser)
        assert "Down the gradient" in cells.first.inner_text()
        cell = exercise(cells, "01 open")
        assert "answer = (lambda t: 0.0035, 0.88)" in cell.inner_text()
        assert cell.locator(".jp-OutputArea-output").count() == 0
        page.close()
