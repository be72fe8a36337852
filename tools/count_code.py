"""How large the package is: lines of code by file and by part.

    python -m tools.count_code

A line counts when a token of code lies on it. Docstrings, comments and blank lines are free, as
nobody should write fewer of them to stay within a limit; `tests/test_house.py` holds the limits.
"""

import ast
import io
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tools.jobs import ROOT

__all__ = ["count_lines", "count_package", "part_of"]

PACKAGE = ROOT / "lrcourse"
TOP = "the top"  # what lies directly in the package
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def count_lines(text: str) -> int:
    '''Lines of a Python text that hold code.

    >>> count_lines('"""Says what."""\\n\\n# and why\\nx = [\\n    1,  # one\\n]\\n')
    3
    '''
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - {*docstring_lines(ast.parse(text))})


def docstring_lines(tree: ast.Module) -> Iterator[int]:
    """The lines of all statements that are nothing but a string: what documentation is made of."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield from range(node.lineno, (node.end_lineno or node.lineno) + 1)


def count_package(package: Path = PACKAGE) -> dict[str, int]:
    """Lines of code of each module, by its path within the package."""
    paths = sorted(package.rglob("*.py"))
    return {
        path.relative_to(package).as_posix(): count_lines(path.read_text(encoding="utf-8"))
        for path in paths
    }


def part_of(name: str) -> str:
    """The room that a module of the package lies in.

    >>> part_of("schedules.py"), part_of("chapters/clinic.py")
    ('the top', 'chapters')
    """
    folder, slash, _ = name.partition("/")
    return folder if slash else TOP


def main() -> int:
    """Print the table."""
    files = count_package()
    parts: dict[str, list[int]] = {}
    for name, lines in files.items():
        print(f"{lines:6}  {name}")
        parts.setdefault(part_of(name), []).append(lines)
    print("\n lines  files")
    for part, counts in parts.items():
        print(f"{sum(counts):6} {len(counts):6}  {part}")
    print(f"{sum(files.values()):6} {len(files):6}  {PACKAGE.name} as a whole")
    return 0


if __name__ == "__main__":
    sys.exit(main())
