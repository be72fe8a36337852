"""JupyterLab as `course.py lab` starts it and a learner meets it: chapter 01, run and answered."""

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
CHAPTER = "notebooks/01_gradient_descent.ipynb"
# course.py's own `lab`, in the environment of this test, complete or not: nothing is set up.
START = "import runpy, sys; sys.exit(runpy.run_path('course.py')['lab'](sys.argv[1:]))"


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    """JupyterLab on a copy of the notebooks, since it saves in place; gives address and token."""
    here = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", here / "course" / "notebooks")
    notebook = nbformat.read(here / "course" / CHAPTER, 4)
    for cell in notebook.cells:  # what is seen afterwards comes from this run
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, here / "course" / CHAPTER)

    own = ["CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR", "LAB_SETTINGS_DIR", "LAB_WORKSPACES_DIR"]
    variables = {f"JUPYTER{'' if n[:3] == 'LAB' else '_'}{n}": str(here / n) for n in own}
    variables |= {"IPYTHONDIR": str(here / "ipython"), "LRCOURSE_VENV": sys.prefix}
    tracker = here / "LAB_SETTINGS_DIR" / "@jupyterlab" / "notebook-extension"
    tracker.mkdir(parents=True)  # otherwise cells off the screen are not in the page
    (tracker / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    options = ["--no-browser", "--port", port, f"--ServerApp.root_dir={here / 'course'}"]
    log = here / "log"
    with log.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", START, *options],
            cwd=ROOT,
            env={**os.environ, **variables},
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: process.poll() is not None or token(log) is not None, 60)
        assert process.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}", token(log)
    finally:
        process.terminate()
        process.wait(30)


def token(log):
    """What JupyterLab prints for the learner to open."""
    found = re.search(r"http://127\.0\.0\.1:\d+/lab\S*\?token=(\w+)", log.read_text())
    return found and found[1]


def until(condition, seconds, wait=lambda: time.sleep(0.25)):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        wait()


def test_nobody_enters_without_the_token(lab):
    address, _ = lab
    for path in ("contents", "kernels", "sessions", "terminals"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{address}/api/{path}")
        assert refused.value.code == 403, path
        refused.value.close()
    with urllib.request.urlopen(f"{address}/lab") as page:
        assert "/login" in page.geturl()


def test_a_learner_runs_chapter_01_and_answers_wrongly_and_rightly(browser, lab):
    address, secret = lab
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(f"{address}/lab/tree/{CHAPTER}?token={secret}")
    cells = page.locator(".jp-NotebookPanel .jp-Notebook .jp-Cell")
    cells.first.wait_for(timeout=60_000)

    def wait():  # and let the page's messages in, which time.sleep would not
        page.wait_for_timeout(250)

    def state():
        request = urllib.request.Request(f"{address}/api/sessions?token={secret}")
        with urllib.request.urlopen(request) as answer:
            return [session["kernel"]["execution_state"] for session in json.load(answer)]

    until(lambda: state() == ["idle"], 60, wait)  # before that, Run asks which kernel to take
    indicator = page.locator(".jp-NotebookPanel .jp-Notebook-ExecutionIndicator").first
    until(lambda: indicator.get_attribute("data-status") == "idle", 60, wait)
    assert page.locator(".jp-Dialog").count() == 0
    assert page.locator(".jp-OutputArea-output").count() == 0

    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Run All Cells$")).click()
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt")
    # A folded cell, as solutions are, shows no number.
    code = [cell for cell in nbformat.read(ROOT / CHAPTER, 4).cells if cell.cell_type == "code"]
    shown = sum(not cell.metadata.get("jupyter", {}).get("source_hidden") for cell in code)

    def ran():
        numbered = [text for text in prompts.all_inner_texts() if re.search(r"\d", text)]
        return len(numbered) == shown and indicator.get_attribute("data-status") == "idle"

    until(ran, 180, wait)
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert page.locator(".jp-OutputArea img").count() > 5
    assert "☐ 01 cliff" in exercise(page, "01 cliff").inner_text()

    for answer, verdict in {
        "2 / 5": "✘ 01 cliff: not yet. L is the second derivative of 5θ², which is not 5.",
        "2 / 10": "✔ 01 cliff: right.",
    }.items():
        cell = exercise(page, "01 cliff")
        cell.locator(".cm-content").click()
        page.keyboard.press("ControlOrMeta+a")
        page.keyboard.insert_text(f'answer = {answer}\ncheck("01 cliff", answer)')
        page.keyboard.press("Control+Enter")
        cell.locator(".jp-OutputArea-output", has_text=verdict).wait_for(timeout=30_000)
    page.close()


def exercise(page, name):
    """The cell in which a learner answers, by its place in the notebook."""
    for place, cell in enumerate(nbformat.read(ROOT / CHAPTER, 4).cells):
        if "exercise" in cell.metadata.get("tags", []) and f'check("{name}"' in cell.source:
            return page.locator(".jp-NotebookPanel .jp-Notebook .jp-Cell").nth(place)
    raise AssertionError(f"{CHAPTER} has no exercise {name}")
