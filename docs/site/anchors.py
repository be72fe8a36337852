"""A notebook's links to its own headings are JupyterLab's; the site names headings as GitHub does.

`[StepLR](#StepLR)` in a notebook becomes `[StepLR](#steplr)` before it is read.
"""

import re

from myst_parser.slugs import github_slugify
from sphinx.application import Sphinx

LINK = re.compile(r"\]\(#([^)]+)\)")


def rename(app: Sphinx, page: str, source: list[str]) -> None:
    """Change the links in a page's source, which Sphinx hands over in a list of one."""
    if page.startswith("notebooks/"):
        source[0] = LINK.sub(lambda link: f"](#{github_slugify(link[1])})", source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("source-read", rename)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
