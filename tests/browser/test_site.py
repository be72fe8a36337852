"""The site in a browser that reaches nothing else: whole, searchable, readable by all."""

import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from told_again import REFERENCE, TOLD_AGAIN

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted({path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} - REFERENCE)
# All that WCAG 2 asks at levels A and AA. Colours come from one style sheet and take the checker
# most of its time, so they are looked at on one page of each kind.
STANDARD = {"runOnly": ["wcag2a", "wcag2aa"], "rules": {"color-contrast": {"enabled": False}}}
COLOURS = {"runOnly": ["color-contrast"]}
COLOURED = {"docs/site/index.html", "docs/site/glossary.html", "notebooks/01_gradient_descent.html"}
WIDE, NARROW = {"width": 1400, "height": 900}, {"width": 390, "height": 800}

# Loads the images that the browser would put off, too.
MISSING_IMAGES = """async () => (await Promise.all([...document.images].map(image => {
    image.loading = "eager"
    return image.decode().then(() => null, () => image.src)
}))).filter(source => source)"""
TOO_WIDE = "document.documentElement.scrollWidth - window.innerWidth"
# No preloading: it asks for what style sheets import by addresses that are wrong.
FAULTS = """async (options) => (await axe.run({
        ...options, preload: false, resultTypes: ["violations"]
    }))
    .violations.filter(fault => ["serious", "critical"].includes(fault.impact))
    .map(fault => `${fault.id}, ${fault.nodes.length} times: ${fault.nodes[0].html.slice(0, 150)}`)
"""


@pytest.fixture(scope="module")
def site(build, serve):
    """The site, built anew and served; gives its address and folder."""
    out = build("site")
    return serve(out), out


@pytest.fixture(scope="module")
def pages(site):
    """Each page's address within the site, and what its HTML refers to."""
    found = {}
    for path in sorted(site[1].rglob("*.html")):
        page = path.relative_to(site[1]).as_posix()
        if page.startswith("_static"):  # pieces that the theme is made of
            continue
        found[page] = References()
        found[page].feed(path.read_text(encoding="utf-8"))
    return found


class References(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.ids, self.images = [], set(), []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids |= {found.get("id"), found.get("name")}
        self.links += [found["href"]] if tag == "a" and found.get("href") else []
        self.images += [found] if tag == "img" else []


def test_each_page_is_whole_and_fits_and_bars_nobody(browser, site, pages, axe):
    """One visit to each page: nothing from outside, nothing missing, two widths, two colours."""
    address, _ = site
    tab = browser.new_page(viewport=WIDE, color_scheme="light", reduced_motion="reduce")
    asked, wrong = [], []
    tab.on("request", lambda r: asked.append(r.url))
    tab.on("console", lambda m: wrong.append(f"{tab.url}: {m.text}") if m.type == "error" else None)
    tab.on("pageerror", lambda e: wrong.append(f"{tab.url}: {e}"))
    tab.on("response", lambda r: wrong.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    for page in sorted(set(pages) - {"index.html"}):  # the one at the top only leads to another
        tab.goto(f"{address}/{page}", wait_until="load")
        wrong += [f"{page}: no image {source}" for source in tab.evaluate(MISSING_IMAGES)]
        for size in (NARROW, WIDE):
            tab.set_viewport_size(size)
            extra = tab.evaluate(TOO_WIDE)
            wrong += [f"{page}: {extra} pixels too wide at {size['width']}"] if extra > 0 else []
        tab.evaluate(axe)
        wrong += [f"{page}: {fault}" for fault in tab.evaluate(FAULTS, STANDARD)]
        for scheme in ("dark", "light") if page in COLOURED else ():
            tab.emulate_media(color_scheme=scheme)
            tab.wait_for_selector(f"html[data-theme={scheme}]")
            wrong += [f"{page}, {scheme}: {fault}" for fault in tab.evaluate(FAULTS, COLOURS)]
    tab.close()
    assert not wrong, "\n".join(wrong)
    assert {url for url in asked if not url.startswith((address, "data:", "blob:"))} == set()
    assert len(asked) > len(pages)


def test_every_link_within_the_site_leads_somewhere(site, pages):
    _, out = site
    dead = []
    for page, found in pages.items():
        for href in found.links:
            target = urlsplit(urljoin(f"http://here/{page}", href))
            if target.netloc != "here" or target.scheme != "http":
                continue
            path, there = unquote(target.path).lstrip("/"), unquote(target.fragment)
            if not (out / path).is_file() or (there and there not in pages[path].ids):
                dead.append(f"{page} links {href}")
    assert dead == []


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_can_be_taken_along_and_its_figures_speak(site, pages, chapter):
    _, out = site
    page = f"notebooks/{chapter}.html"
    found, text = pages[page], (out / page).read_text(encoding="utf-8")
    assert any(href.endswith(f"{chapter}.ipynb") and ":" not in href for href in found.links)
    for host in ("colab.research.google.com", "mybinder.org"):
        assert any(host in href and chapter in href for href in found.links), host
    assert re.search(r"<strong>\d+ minutes</strong>", text)
    for way in ("next", "prev"):
        assert re.search(rf'<a class="{"right" if way == "next" else "left"}-{way}"', text), way
    figures = [image for image in found.images if "_images" in image.get("src", "")]
    assert figures
    assert all(len(image.get("alt") or "") > 20 for image in figures)


def test_the_front_page_lets_one_compose_and_choose(browser, site):
    """The explorer is alive; each chapter has its card, whose minutes are those of the chapter."""
    tab = browser.new_page(viewport=WIDE)
    tab.goto(f"{site[0]}/docs/site/index.html")
    explorer = tab.locator(".lr-widget[data-widget=explorer] .lr")
    before = explorer.inner_text()
    explorer.locator("input[type=range]").first.press("ArrowLeft")
    tab.wait_for_function(
        "([el, was]) => el.innerText != was", arg=[explorer.element_handle(), before]
    )
    cards = tab.locator(".sd-card")
    assert cards.count() == len(CHAPTERS)
    core = []
    for chapter, card in zip(CHAPTERS, cards.all(), strict=True):
        text, said = (site[1] / f"notebooks/{chapter}.html").read_text(), card.inner_text()
        (minutes,) = re.findall(r"<strong>(\d+) minutes</strong>", text)
        assert f"{minutes} minutes" in said and chapter[:2] in said
        assert card.locator("a").first.get_attribute("href").endswith(f"{chapter}.html")
        core += [chapter[:2]] * ("core path" in said)
    assert core == ["00", "01", "02", "03", "04", "06", "11", "13", "19"]
    tab.close()


def test_a_page_tells_a_messenger_what_it_is_and_a_reader_when_it_changed(site):
    text = (site[1] / "notebooks/04_steps.html").read_text(encoding="utf-8")
    about = dict(re.findall(r'<meta property="og:(\w+)" content="([^"]+)"', text))
    assert about["title"] == "Steps" and len(about["description"]) > 50
    picture = about["image"].removeprefix("https://some.github.io/one/")
    assert (site[1] / picture).is_file()
    shallow = not text.count("Last updated on")
    assert not shallow or "true" in git("rev-parse", "--is-shallow-repository")


def git(*words):
    """What git says; "true" where there is none."""
    found = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    return found.stdout if found.returncode == 0 else "true"


def test_a_page_with_a_widget_is_light(site, pages):
    """Under 300 KB beside its pictures: of chapters told again, and of the front page."""
    heavy = {}
    for page in ["docs/site/index.html", *(f"notebooks/{name}.html" for name in TOLD_AGAIN)]:
        text = (site[1] / page).read_text(encoding="utf-8")
        scripts = re.findall(r'src="[^"]*?(_static/widgets/\w+\.js)', text)
        size = len(text.encode()) + sum((site[1] / name).stat().st_size for name in scripts)
        if scripts and size >= 300_000:
            heavy[page] = size
    assert heavy == {}


@pytest.mark.parametrize(
    ("typed", "page"),
    [
        ("warmup", "Warmup"),
        ("lr_find", "Glossary"),
        ("LoRA", "Glossary"),
        ("GradScaler", "calls"),
        ("val_loss", "Glossary"),
        ("多卡", "Glossary"),
    ],
)
def test_search_finds_what_people_type(browser, site, typed, page):
    tab = browser.new_page()
    tab.goto(f"{site[0]}/search.html?q={typed}")
    tab.locator("#search-results .search li a", has_text=page).first.wait_for(timeout=20_000)
    tab.close()


def test_a_solution_is_folded_until_it_is_asked_for(browser, site):
    tab = browser.new_page()
    tab.goto(f"{site[0]}/notebooks/01_gradient_descent.html")
    code = tab.locator(".tag_solution .cell_input")
    assert code.count() == 2
    assert not any(code.nth(i).is_visible() for i in range(2))
    tab.get_by_text("Show the solution").first.click()
    assert [code.nth(i).is_visible() for i in range(2)] == [True, False]
    tab.close()


def test_on_paper_a_dark_page_is_light_and_all_text(browser, site):
    tab = browser.new_page(color_scheme="dark")
    tab.goto(f"{site[0]}/notebooks/01_gradient_descent.html")
    tab.emulate_media(media="print")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.locator("html[data-theme=light]").count() == 1
    assert tab.locator(".bd-article h2").first.is_visible()
    for other in (".tag_solution .cell_input", ".bd-sidebar-primary", ".prev-next-footer"):
        assert not tab.locator(other).first.is_visible(), other
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.locator("html[data-theme=dark]").count() == 1
    tab.close()


def test_two_builds_are_the_same_bytes(site, build):
    _, out = site
    again = build("again")
    names, anew = (
        {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
        for folder in (out, again)
    )
    assert names == anew
    assert [n for n in sorted(names) if (out / n).read_bytes() != (again / n).read_bytes()] == []
