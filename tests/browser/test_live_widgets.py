"""The widgets in JupyterLab and on a page opened from a disk, by keyboard and by pointer."""

import runpy
from pathlib import Path

import nbformat
import pytest
from test_lab import Lab, quiet, until

from lrcourse import widgets

ROOT = Path(__file__).resolve().parents[2]
WIDE, NARROW = {"width": 1200, "height": 900}, {"width": 390, "height": 800}
FAULTS = """async (what) => (await axe.run(what, { preload: false, resultTypes: ["violations"] }))
    .violations.map(({ id, nodes: [{ html, failureSummary }] }) =>
        `${id}: ${html.slice(0, 150)}: ${failureSummary}`)"""
STATE = "(el) => el.innerText + [...el.querySelectorAll('svg')].map((s) => s.outerHTML)"
TOO_WIDE = "document.documentElement.scrollWidth - window.innerWidth"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A page with all widgets as they are stored, and the scripts that the site gives them."""
    site = runpy.run_path(str(ROOT / "docs" / "site" / "widgets.py"))

    folder = tmp_path_factory.mktemp("a page")
    boxes = [getattr(widgets, name)()._repr_mimebundle_()[0]["text/html"] for name in widgets.NAMES]
    for name in widgets.NAMES:
        (folder / f"{name}.js").write_text(site["script"](name), encoding="utf-8")
    asked = "".join(f'<script src="{name}.js"></script>' for name in widgets.NAMES)
    file = folder / "index.html"
    file.write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Widgets</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<body><main><h1>Widgets</h1>{''.join(boxes)}</main>{asked}</body></html>",
        encoding="utf-8",
    )
    return file


@pytest.fixture
def page(browser, page_file):
    """That page, opened; nothing may be asked of another host, and nothing may fail."""
    asked, wrong = [], []
    context = browser.new_context(viewport=WIDE, color_scheme="light")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab = context.new_page()
    tab.on("request", lambda r: asked.append(r.url))
    tab.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda e: wrong.append(str(e)))
    tab.goto(page_file.as_uri(), timeout=120_000)  # the first page waits for a cold browser
    yield tab
    context.close()
    assert wrong == []
    assert {url for url in asked if not url.startswith(("file:", "data:"))} == set()


def one(page, name):
    return page.locator(f".lr-widget[data-widget={name}] .lr")


def test_they_fit_and_bar_nobody_in_two_colours_and_two_widths(page, axe):
    page.evaluate(axe)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for size in (WIDE, NARROW):
            page.set_viewport_size(size)
            page.wait_for_timeout(200)
            assert page.evaluate(TOO_WIDE) <= 0, size
            assert page.evaluate(FAULTS, "main") == [], (scheme, size)
    assert page.locator(".lr").count() == len(widgets.NAMES)


@pytest.mark.parametrize("name", widgets.NAMES)
def test_each_control_can_be_reached_and_used_by_keyboard_alone(page, name):
    """Tab goes through all; an arrow, a letter, Space or Enter changes what is seen."""
    page.emulate_media(reduced_motion="reduce")  # so that play makes one step
    widget = one(page, name)
    seen, used = [], set()
    page.evaluate("document.activeElement.blur()")
    widget.locator("button:enabled, input, select").first.focus()
    for _ in range(40):
        here = page.evaluate(
            "() => { const e = document.activeElement, lr = e.closest('.lr'); return lr && "
            "[e.tagName, e.type ?? '', e.textContent, lr.parentElement.dataset.widget] }"
        )
        if not here or here[3] != name:
            break
        seen.append(here)
        kind = "range" if here[1] == "range" else here[0].lower()
        before = widget.evaluate(STATE)
        keys = {"range": ["ArrowRight", "ArrowLeft"], "button": ["Enter"], "select": ["ArrowDown"]}
        for key in keys.get(kind, []):
            page.keyboard.press(key)
            page.wait_for_timeout(60)
            if widget.evaluate(STATE) != before:
                used.add(kind)
                break
        page.keyboard.press("Tab")
    controls = widget.locator("button:enabled, select, input:not([type=radio])").count()
    radios = widget.locator("fieldset").count()
    assert len([s for s in seen if s[0] != "PRE"]) >= controls + radios
    assert {"range", "button"} | ({"select"} if name == "explorer" else set()) <= used


def test_a_pointer_drags_the_start_and_draws_a_schedule(page):
    widget = one(page, "descent")
    handle = widget.locator(".handle").bounding_box()
    page.mouse.move(handle["x"] + 9, handle["y"] + 9)
    page.mouse.down()
    page.mouse.move(handle["x"] + 90, handle["y"] + 9, steps=4)
    page.mouse.up()
    start = widget.get_by_label("start (or drag the dot)")
    assert -1.5 < float(start.input_value()) < 0
    widget = one(page, "explorer")
    widget.get_by_label("Begin with").select_option("draw")
    # In one go: the figure is drawn anew, and what was found before may be gone.
    widget.locator("svg.figure").evaluate("(figure) => figure.scrollIntoView()")
    page.wait_for_timeout(200)
    box = widget.locator("svg.figure").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 14, box["y"] + 40)
    page.mouse.down()
    page.mouse.up()
    last = widget.get_by_label("after 100 % of the run")
    until(lambda: float(last.input_value()) > 0.8, 5, lambda: page.wait_for_timeout(50))


def test_play_moves_or_makes_one_step_where_motion_is_not_wanted(page):
    widget = one(page, "cloud")
    play, time = widget.locator(".play"), widget.get_by_label("time: update")
    before = int(time.input_value())
    play.click()
    until(lambda: int(time.input_value()) > before + 3, 5, lambda: page.wait_for_timeout(50))
    play.click()
    page.emulate_media(reduced_motion="reduce")
    widget.get_by_label("learning rate η").press("ArrowRight")
    assert play.inner_text() == "Next step"
    before = int(time.input_value())
    play.click()
    page.wait_for_timeout(300)
    assert int(time.input_value()) == before + 1


def test_what_is_copied_is_what_is_seen(page):
    widget = one(page, "explorer")
    for target in ("torch", "transformers", "keras", "plain"):
        widget.get_by_label("Code for").select_option(target)
        widget.get_by_role("button", name="Cop").click()
        widget.get_by_role("button", name="Copied").wait_for()
        shown = widget.get_by_label("Code", exact=True).inner_text()
        assert page.evaluate("navigator.clipboard.readText()").strip() == shown.strip()
        assert "import" in shown
    widget.locator("[aria-live]", has_text="Copied.").wait_for(state="attached")


def test_without_javascript_a_picture_with_words_stays(browser, page_file):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page_file.as_uri())
    for picture in tab.locator(".lr-widget img").all():
        assert picture.bounding_box()["height"] > 200
        assert len(picture.get_attribute("alt")) > 80
    assert tab.locator(".lr-widget img").count() == len(widgets.NAMES)
    context.close()


def test_in_jupyterlab_they_live_keep_their_keys_and_tell_python(browser, axe, tmp_path):
    lab = Lab(tmp_path)
    sources = [f"from lrcourse import widgets\nw = widgets.{name}()\nw" for name in widgets.NAMES]
    cells = [nbformat.v4.new_code_cell(source) for source in [*sources, "w.state['peak']"]]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "P", "language": "python"}
    nbformat.write(notebook, tmp_path / "try.ipynb")
    with lab:
        page, cells = lab.open(browser, "try.ipynb")
        asked = []
        page.on("request", lambda r: asked.append(r.url))
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.locator(".lm-Menu-itemLabel", has_text="Run All Cells").first.click()
        found = page.locator(".lr")
        until(
            lambda: found.count() == len(widgets.NAMES) and quiet(page),
            60,
            lambda: page.wait_for_timeout(250),
        )
        page.evaluate(axe)
        assert page.evaluate(FAULTS, ".lr") == []
        for widget in found.all():
            before = widget.evaluate(STATE)
            widget.locator("input[type=range]").first.focus()
            for key in ("ArrowLeft", "ArrowLeft", "ArrowUp"):
                page.keyboard.press(key)
            page.wait_for_timeout(100)
            assert widget.evaluate(STATE) != before
            button = widget.locator("button:enabled").first
            button.focus()
            page.keyboard.press("Enter")  # which would open a cell for editing
            assert button.evaluate("(b) => b === document.activeElement")
        peak = found.last.get_by_label("peak rate")
        peak.focus()
        page.keyboard.press("Home")
        cells.last.locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        cells.last.locator(".jp-OutputArea-output", has_text="1e-05").wait_for(timeout=20_000)
        assert len(cells.all()) == len(widgets.NAMES) + 1
        assert all(url.startswith((lab.address, "data:", "blob:")) for url in asked)
        page.close()
