"""Links each word of the glossary where a chapter first uses it, in its text."""

import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

CHAPTERS = re.compile(r"notebooks/\d")  # not the licence, which lies there too
NOT_HERE = (nodes.title, nodes.literal, nodes.literal_block, nodes.reference, nodes.math)
NOT_HERE += (nodes.comment, nodes.raw, addnodes.pending_xref)


def first_uses(app: Sphinx, env: Any) -> list[str]:
    """Find the first text of the chapters, in their order, with each word."""
    objects = env.get_domain("std").objects
    todo = {name: where for (kind, name), where in objects.items() if kind == "term"}
    env.first_uses = {}  # page → (word, page and label where it is explained)
    for page in sorted(name for name in env.found_docs if CHAPTERS.match(name)):
        text = "\0".join(node.astext() for node in texts(env.get_doctree(page)))
        env.first_uses[page] = []
        for term in sorted(todo, key=len, reverse=True):  # "weight decay" before "decay"
            text, found = word(term).subn("\0", text, count=1)
            if found:  # where it stood there is a link from now on, and no other word
                env.first_uses[page].append((term, *todo.pop(term)))
    if todo:
        raise ValueError(f"no chapter uses these words of the glossary: {', '.join(sorted(todo))}")
    return list(env.first_uses)


def word(term: str) -> re.Pattern[str]:
    """The term as a whole word; in small letters also at the start of a sentence."""
    first = term[0] if term[0].isupper() else f"[{term[0]}{term[0].upper()}]"
    return re.compile(rf"(?<![\w-]){first}{re.escape(term[1:])}(?![\w-])")


def texts(tree: nodes.Node) -> list[nodes.Text]:
    """The running text of a page: no headings, code, formulas or links, and no code's output."""

    def inside(node: nodes.Node) -> bool:
        while node is not None:
            if isinstance(node, NOT_HERE) or "cell_output" in getattr(node, "attributes", {}).get(
                "classes", ()
            ):
                return True
            node = node.parent
        return False

    return [node for node in tree.findall(nodes.Text) if not inside(node)]


def link(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Put the links into a page that is about to be written."""
    for term, glossary, label in app.env.first_uses.get(page, []):
        node = next(node for node in texts(tree) if word(term).search(node))
        start, end = word(term).search(node).span()
        uri = f"{app.builder.get_relative_uri(page, glossary)}#{label}"
        to = nodes.reference("", node[start:end], refuri=uri, classes=["term"], internal=True)
        node.parent.replace(node, [nodes.Text(node[:start]), to, nodes.Text(node[end:])])


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("env-updated", first_uses)
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
