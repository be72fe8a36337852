"""Makes the widgets on a page live: no kernel, and no request to another host.

A stored output holds a still picture in a box that names its widget and state. Each page with such
a box gets that widget's module as one classic script, as a page opened from a disk may load no
others. It puts the living widget in the picture's place; without JavaScript the picture stays.
"""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from lrcourse import widgets

SCRIPTS = Path(__file__).resolve().parents[2] / "build" / "widgets"
BOX = re.compile(r'class="lr-widget" data-widget="(\w+)"')


def script(name: str) -> str:
    """The module `name` as a classic script that looks for its boxes."""
    code = re.sub("^export default ", "const widget = ", widgets.bundle(name), flags=re.MULTILINE)
    code = re.sub("^export ", "", code, flags=re.MULTILINE)
    # Comments and indents are made to be read where they stand.
    comment = r"^ *(//|/\*\*|\*).*\n| +// [^\"'`\n]*$"
    code = re.sub(rf"{comment}|^ +|^\n", "", code, flags=re.MULTILINE)
    start = f'widget.embed("{name}")'
    return f'addEventListener("DOMContentLoaded", () => {{\n{code}\n{start}\n}})\n'


def write(app: Sphinx, config: Any) -> None:
    """Write a script for each widget, for Sphinx to copy."""
    (SCRIPTS / "widgets").mkdir(parents=True, exist_ok=True)
    for name in widgets.NAMES:
        (SCRIPTS / "widgets" / f"{name}.js").write_text(script(name), encoding="utf-8")
    config.html_static_path.append(str(SCRIPTS))


class WidgetHere(SphinxDirective):
    """`{widget} explorer`: a widget on a page that is no notebook."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The same box as a notebook stores."""
        shown = getattr(widgets, self.arguments[0])()._repr_mimebundle_()[0]["text/html"]
        return [nodes.raw("", shown, format="html")]


def ask_for(
    app: Sphinx, page: str, template: str, context: Any, tree: nodes.document | None
) -> None:
    """Let a page ask for the scripts of the widgets on it."""
    raw = tree.findall(nodes.raw) if tree else ()
    for name in sorted({name for node in raw for name in BOX.findall(node.astext())}):
        app.add_js_file(f"widgets/{name}.js")


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this."""
    app.add_directive("widget", WidgetHere)
    app.connect("config-inited", write)
    app.connect("html-page-context", ask_for)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
