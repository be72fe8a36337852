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
# What has the focus, if it is within a widget: its tag, its type, its text, and which widget.
HERE = """() => {
    const e = document.activeElement, lr = e.closest('.lr')
    return lr && [e.tagName, e.type ?? '', e.textContent, lr.parentElement.dataset.widget]
}"""
KEYS = {
    "range": ["ArrowRight", "ArrowLeft"],
    "number": ["ArrowUp", "ArrowDown"],
    "select": ["ArrowDown"],
    "button": ["Enter"],
    "radio": ["ArrowRight"],
    "checkbox": ["Space"],
}
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


def test_they_fit_and_bar_nobody_in_two_colours_and_two_widths(page, page_file, axe):
    scripts = [path.stat().st_size for path in page_file.parent.glob("*.js")]
    assert len(scripts) == len(widgets.NAMES) and max(scripts) < 70_000
    page.evaluate(axe)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for size in (WIDE, NARROW):
            page.set_viewport_size(size)
            page.wait_for_timeout(200)
            assert page.evaluate(TOO_WIDE) <= 0, size
            assert page.evaluate(FAULTS, "main") == [], (scheme, size)
    assert page.locator(".lr").count() == len(widgets.NAMES)
    assert page.get_by_text("A still picture").count() == 0


@pytest.mark.parametrize("name", widgets.NAMES)
def test_each_control_can_be_reached_and_used_by_keyboard_alone(page, name):
    """Tab goes through all; an arrow, a letter, Space or Enter changes what is seen."""
    page.emulate_media(reduced_motion="reduce")  # so that play makes one step
    widget = one(page, name)
    seen, used = [], set()
    page.evaluate("document.activeElement.blur()")
    widget.locator("button, input, select").first.focus()
    for _ in range(60):
        here = page.evaluate(HERE)
        if not here or here[3] != name:
            break
        seen.append(here)
        kind = here[1] if here[1] in ("range", "number") else here[0].lower()
        before = widget.evaluate(STATE)
        for key in KEYS.get(kind, []):
            page.keyboard.press(key)
            page.wait_for_timeout(60)
            if widget.evaluate(STATE) != before:
                used.add(kind)
                break
        page.keyboard.press("Tab")
    controls = widget.locator("button, select, input:not([type=radio])").count()
    radios = widget.locator("fieldset").count()
    assert len([s for s in seen if s[0] != "PRE"]) >= controls + radios
    assert {"range", "button"} | ({"select", "number"} if name == "explorer" else set()) <= used


@pytest.mark.parametrize("name", widgets.NAMES)
def test_no_control_loses_the_focus_however_often_it_is_pressed(page, name):
    """Nor is what it has focus for out of sight: the pictures stand beside it, on 900 pixels."""
    page.emulate_media(reduced_motion="reduce")
    widget = one(page, name)
    focusable = widget.locator("button, input, select")
    scripted = "(e) => { e.blur(); scrollTo(0, 0); e.focus() }"
    pressed = 0
    for i in range(focusable.count()):
        if i >= focusable.count():  # a part may be gone
            break
        focusable.nth(i).evaluate(scripted)
        box = widget.locator("svg.figure").first.bounding_box()
        far = name == "explorer" and i > 6  # its parts and its code are too many
        assert far or 0 <= box["y"] < box["y"] + box["height"] <= WIDE["height"], i
        here = page.evaluate(HERE)
        kind = here[1] if here[1] in ("range", "number", "radio", "checkbox") else here[0].lower()
        for key in KEYS[kind] * 4:
            page.keyboard.press(key)
            page.wait_for_timeout(40)
            now = page.evaluate(HERE)
            assert now and now[3] == name and now[:2] == here[:2], (here, key, now)
            pressed += 1
    assert pressed > 40


def test_a_length_can_be_typed_and_no_other_changes_in_silence(page):
    widget = one(page, "explorer")
    widget.get_by_label("Begin with").select_option("wsd")
    heading = widget.locator(".rule")
    length = widget.get_by_label("steps until its end, part 1, as a number")
    length.fill("200")
    length.press("Enter")
    heading.get_by_text("Part 1: straight line (200 updates)").wait_for()
    heading.get_by_text("Part 3: 1 − √x, steep at first (100 updates, what is left)").wait_for()
    length.fill("5000")
    length.press("Enter")
    widget.locator("[aria-live]", has_text="It is 1000: it can be 1 to 1000.").wait_for(
        state="attached"
    )
    widget.locator(".said", has_text="part 3 is never reached").wait_for()
    assert length.input_value() == "1000"
    widget.get_by_label("Family, part 3").select_option("Linear")
    heading.get_by_text("Part 3: straight line (0 updates, what is left)").wait_for()
    peak = widget.get_by_label("peak rate, as a number")
    peak.fill("3e-4")
    peak.press("Tab")
    widget.locator(".said", has_text="reaches 0.0003").wait_for()


def test_a_slider_stops_at_its_marks(page):
    """The arrow keys come by 1/L itself, and on the way back by 2/L, which is marked by then."""
    widget = one(page, "descent")
    rate = widget.get_by_label("learning rate η")
    rate.focus()
    met = set()
    for _ in range(80):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(25)
        met.add(rate.get_attribute("aria-valuetext"))
    assert "0.25" in met
    for _ in range(30):
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(25)
        met.add(rate.get_attribute("aria-valuetext"))
    assert "0.5" in met
    assert float(rate.get_attribute("aria-valuetext")) < 0.5  # and it does not stick to one
    widget = one(page, "explorer")
    widget.get_by_label("Family, part 2").select_option("Noam")
    width = widget.get_by_label("width of the model, part 2")
    for key in ("Home", "ArrowRight", "ArrowRight", "ArrowRight"):
        width.press(key)
        page.wait_for_timeout(60)
    assert width.get_attribute("aria-valuetext") == "17"  # whole numbers, but no arrow is lost


def test_what_is_read_aloud_holds_the_headline_and_only_what_changed(page):
    page.emulate_media(reduced_motion="reduce")
    for name in ("descent", "loop", "plateau", "explorer"):
        widget = one(page, name)
        said, heard = widget.locator(".said"), widget.locator("[aria-live]")
        assert heard.inner_text() == "", name  # nobody reads aloud what a page begins with
        words = [
            "".join(figure.locator(".title").all_text_contents()).replace(" ", "")
            for figure in widget.locator("svg.figure").all()
        ]
        assert any(title in said.inner_text().replace(" ", "") for title in words), name
    heard = one(page, "loop").locator("[aria-live]")
    for _ in range(6):  # to the first update, and a line further
        one(page, "loop").get_by_role("button", name="Next line").click()
    heard.filter(has_text="set to zero").wait_for(state="attached")
    assert heard.inner_text() == "The gradient is set to zero for the next update."
    one(page, "loop").get_by_label("scheduler.step()", exact=True).click()
    heard.filter(has_text="Update 1 is made at 0.0667, where 0.0333").wait_for(state="attached")
    assert "PyTorch warns once" in heard.inner_text()


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
    widget.locator(".handle").nth(8).wait_for()
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
    page.wait_for_timeout(100)
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
    for name in widgets.NAMES:
        box = tab.locator(f".lr-widget[data-widget={name}]")
        assert box.get_by_text("A still picture of something to try").is_visible()
        code = ["import" in text for text in box.locator("pre").all_inner_texts()]
        assert code == ([True] if name in ("loop", "explorer") else [])
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
            button = widget.locator("button").first
            button.focus()
            page.keyboard.press("Enter")  # which would open a cell for editing
            assert button.evaluate("(b) => b === document.activeElement")
        peak = found.last.get_by_label("peak rate", exact=True)
        peak.focus()
        page.keyboard.press("Home")
        cells.last.locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        cells.last.locator(".jp-OutputArea-output", has_text="1e-05").wait_for(timeout=20_000)
        assert len(cells.all()) == len(widgets.NAMES) + 1
        assert all(url.startswith((lab.address, "data:", "blob:")) for url in asked)
        page.close()
