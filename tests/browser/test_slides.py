"""Every page of every chapter's slides, measured in a browser: all of it is on the screen."""

import shutil
from pathlib import Path

import nbformat
import pytest
from told_again import TOLD_AGAIN

from tools import notebooks, slides, workshop

ROOT = Path(__file__).resolve().parents[2]
# What is wrong with the pages, every reply being open: one line a fault. Formulas hold parts that
# are not drawn (`hidden`), and a listing could hide what it cuts off.
MEASURED = """() => {
    const wrong = [], hidden = ".katex-mathml *, .vlist *"
    for (const details of document.querySelectorAll("details")) {
        details.removeAttribute("name")
        details.open = true
    }
    const pages = Reveal.getSlides()
    pages.forEach((page, number) => {
        Reveal.slide(number)
        const say = (what, e) => wrong.push(`${number + 1}: ${what}: ${e.outerHTML.slice(0, 80)}`)
        for (const e of page.querySelectorAll(`:not(aside, aside *, ${hidden}, svg *)`)) {
            const { left, top, right, bottom } = e.getBoundingClientRect()
            if (left < 0 || top < 0 || right > 1280 || bottom > 720) say("beyond the edge", e)
            if (e.scrollWidth > e.clientWidth + 1 && e.matches("pre, div")) say("cut off", e)
            if (e.tagName === "IMG") {
                const shape = e.naturalWidth / e.naturalHeight
                const wide = Math.min(right - left, (bottom - top) * shape)
                if (wide < 560) say(`${Math.round(wide)} pixels wide`, e)
            } else if (e.matches("p, li, td, pre, summary")
                && parseFloat(getComputedStyle(e).fontSize) < 18) say("small letters", e)
        }
    })
    return [pages.length, wrong]
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with what slides load."""
    out = tmp_path_factory.mktemp("slides")
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("no npm and node here, which fetch what shows the slides: install Node.js")
    assert workshop.fetch(out) is None
    return out


def test_each_page_fits_the_screen_and_asks_nobody(browser, folder):
    tab = browser.new_page(viewport={"width": 1280, "height": 720})
    asked, wrong = [], []
    tab.on("request", lambda r: asked.append(r.url))
    tab.on("console", lambda m: wrong.append(f"{tab.url}: {m.text}") if m.type == "error" else None)
    tab.on("pageerror", lambda e: wrong.append(f"{tab.url}: {e}"))
    for source in notebooks.chapters():
        if source.stem not in TOLD_AGAIN:
            continue
        page = folder / f"{source.stem}.html"
        notebook = nbformat.read(notebooks.notebook_of(source), 4)
        page.write_text(slides.html(notebook), encoding="utf-8")
        tab.goto(page.as_uri(), timeout=120_000)  # the first page waits for a cold browser
        tab.wait_for_function("window.Reveal && Reveal.isReady()")
        count, faults = tab.evaluate(MEASURED)
        wrong += [f"{source.stem}, page {fault}" for fault in faults]
        wrong += [f"{source.stem}: {count} pages"] if count > slides.MOST else []
    tab.close()
    assert wrong == []
    assert {url for url in asked if not url.startswith(("file:", "data:"))} == set()
