"""Builds the site from the committed notebooks: what `python3 course.py site` runs.

    python docs/site/build.py [OUT]

The pages lie in OUT (default: build/site); open its index.html. Nothing is executed. What the
pages need of others' work, KaTeX's style sheet and fonts, comes from npm and is not committed.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from sphinx.cmd.build import build_main
from sphinxcontrib.katex import katex_version

ROOT = Path(__file__).resolve().parents[2]
NPM = ROOT / "build" / "npm"


def fetch_katex() -> None:
    """KaTeX's style sheet and fonts, of exactly the version that renders the formulas."""
    done = NPM / "static" / "katex" / f"{katex_version}.txt"
    if done.exists():
        return
    npm, node = shutil.which("npm"), shutil.which("node")
    if not (npm and node):
        sys.exit("The site needs node and npm, which render its formulas: install Node.js first.")
    NPM.mkdir(parents=True, exist_ok=True)
    install = [npm, "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
    if subprocess.call([*install, f"katex@{katex_version}"], cwd=NPM) != 0:
        sys.exit("npm could not fetch KaTeX: run the same command again when the network answers.")
    shutil.rmtree(done.parent, ignore_errors=True)
    dist = NPM / "node_modules" / "katex" / "dist"
    shutil.copytree(dist / "fonts", done.parent / "fonts")
    shutil.copy(dist / "katex.min.css", done.parent)
    shutil.copy(NPM / "node_modules" / "katex" / "LICENSE", done.parent)
    done.write_text("")


def main(arguments: list[str]) -> int:
    """Build; the exit status is that of Sphinx, for which each warning is an error."""
    out = Path(arguments[0]) if arguments else ROOT / "build" / "site"
    fetch_katex()
    options = ["--quiet", "--fail-on-warning", "--keep-going", "--fresh-env"]
    trees = ["--doctree-dir", str(ROOT / "build" / "doctrees")]
    command = [*options, *trees, "--conf-dir", str(Path(__file__).parent), str(ROOT), str(out)]
    status = build_main([*command])
    if status == 0:
        print(f"The site is in {out}: open {out / 'docs' / 'site' / 'index.html'}.")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
