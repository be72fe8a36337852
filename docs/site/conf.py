"""Sphinx reads the committed notebooks and pages as they are: nothing is executed."""

import os
import sys
import typing
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
# lrcourse as it is here, and the small extensions beside this file.
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

project = "The Learning Rate, by Experiment"
author = "The contributors of The Learning Rate, by Experiment"
copyright = "the contributors; text and figures CC BY 4.0, code MIT"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_last_updated_by_git",
    "sphinx_togglebutton",
    "sphinxcontrib.katex",
    "anchors",
    "cards",
    "figures",
    "formulas",
    "terms",
    "widgets",
]
root_doc = "docs/site/index"
include_patterns = [
    "notebooks/*.ipynb",
    "notebooks/LICENSE.md",
    "docs/*.md",
    "docs/site/*.md",
    "data/README.md",
    "deploy/jupyterhub/README.md",
]
suppress_warnings = ["config.cache", "git"]  # a hand-out has no history, a shallow clone little

nb_execution_mode = "off"
nb_merge_streams = True
nb_code_prompt_show, nb_code_prompt_hide = "Show the code", "Hide the code"  # of cells that draw
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # no stored output needs them
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
myst_fence_as_directive: list[str] = []

default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_google_docstring = True

katex_prerender = True  # by node, while building: a reader's browser runs nothing for a formula
katex_css_path = "katex/katex.min.css"

html_theme = "sphinx_book_theme"
html_title = project
html_context = {"default_mode": "auto"}  # light or dark as the reader's machine is
html_favicon = "static/favicon.svg"
html_static_path = ["static", str(ROOT / "build" / "npm" / "static")]
html_css_files = ["course.css"]
html_js_files = ["print.js"]
html_extra_path = ["extra", "../front.png"]  # index.html at the top, which leads to this one
html_show_sourcelink = False
html_use_index = html_domain_indices = False  # the search finds more
html_copy_source = True
html_last_updated_fmt = "%-d %B %Y"  # of the last change to a page, from git
html_theme_options = {
    # the theme would put a second search box here
    "navbar_persistent": [],
    "navbar_start": [],
    "navbar_center": [],
    "navbar_end": [],
    "show_toc_level": 2,
    "use_download_button": True,
    "use_fullscreen_button": False,
    "home_page_in_toc": True,
}
repository = os.environ.get("GITHUB_REPOSITORY")  # owner/name, set on GitHub
if repository:
    owner, name = repository.split("/")
    ogp_site_url = html_baseurl = f"https://{owner.lower()}.github.io/{name}/"
    ogp_image = f"{ogp_site_url}front.png"
    ogp_image_alt = "Handwritten digits, and what networks of three learning rates read in them"
    ogp_social_cards = {"enable": False}  # the picture is one of ours
    extensions.append("sphinxext.opengraph")  # how a link to a page looks in a message
    html_theme_options |= {
        "repository_url": f"https://github.com/{repository}",
        "repository_branch": "main",
        "path_to_docs": "",
        "use_repository_button": True,
        "launch_buttons": {
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
            "notebook_interface": "jupyterlab",
        },
    }
togglebutton_hint = "Show the solution"
togglebutton_hint_hide = "Hide the solution"
togglebutton_selector = ".tag_solution, .toggle"
togglebutton_open_on_print = False  # exercises on paper are to be done


def plain_types(app: Sphinx, called: typing.Any, bound: bool) -> None:
    """Say `float` in a signature, not how a schedule checks that it is one."""
    if any("Annotated" in str(kind) for kind in getattr(called, "__annotations__", {}).values()):
        called.__annotations__ = typing.get_type_hints(called)


def no_values(app: Sphinx, tree: nodes.document) -> None:
    """Leave out what constants are: tables of cases and of answers, and paths of this machine."""
    for said in [*tree.findall(addnodes.desc_annotation)]:
        if said.astext().startswith(" = "):
            said.parent.remove(said)


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("doctree-read", no_values)
    app.connect("autodoc-before-process-signature", plain_types)
