"""The notebooks are what their sources make, executed, clean and complete; the pipeline is sound.

Each check is a function from a chapter to a list of complaints. It is asked about every chapter,
and then, further below, about a tiny chapter that was spoilt on purpose: a check that lets its own
spoilt chapter pass proves nothing.
"""

import ast
import base64
import json
import re
import statistics
import struct
import symtable
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from nbformat import NotebookNode
from told_again import REFERENCE, TOLD_AGAIN

from lrcourse import exercises
from tools import notebooks

ROOT = Path(__file__).resolve().parents[1]
SHOWN = sys.executable.translate(str.maketrans("[]", "()"))  # as `measured` shows a path

# How many cells of each chapter are compared with their stored outputs. When you add compared
# cells, raise the number; it must never fall, or comparison could be switched off cell by cell.
COMPARED: dict[str, int] = {
    "00_start_here": 14,
    "01_gradient_descent": 27,
    "02_too_large_too_small": 25,
    "03_schedules_in_pytorch": 21,
    "04_steps": 17,
    "05_smooth_decay": 20,
    "06_cosine": 21,
    "08_listening_to_the_loss": 25,
    "09_compose_your_own": 18,
    "07_cycles": 21,
    "10_adaptive_optimizers": 26,
    "11_warmup": 29,
    "12_noam": 23,
    "13_transformer": 26,
    "14_llm_era": 26,
    "15_fine_tuning": 26,
    "16_predicting_the_loss": 24,
    "18_watching_and_mending": 31,
    "17_scaling": 25,
    "19_choosing": 26,
    "20_scheduler_reference": 36,
}


@dataclass
class Chapter:
    """A chapter as it lies there: where, what its source makes, what is stored."""

    path: Path
    made: NotebookNode
    stored: NotebookNode

    @property
    def told_again(self) -> bool:
        return self.path.stem in TOLD_AGAIN | REFERENCE | {"90_tiny"}

    @property
    def code(self) -> list[NotebookNode]:
        return [c for c in self.stored.cells if c.cell_type == "code"]


@cache
def load(source: Path) -> Chapter:
    """Read once for all its checks, which change nothing."""
    path = notebooks.notebook_of(source)
    return Chapter(path, notebooks.read_source(source), nbformat.read(path, 4))


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def head(cell: NotebookNode) -> str:
    return (cell.source.strip().splitlines() or ["(empty)"])[0]


def check_parity(chapter: Chapter) -> list[str]:
    made, stored = notebooks.cells_of(chapter.made), notebooks.cells_of(chapter.stored)
    number = chapter.path.name[:2]
    if made == stored:
        return []
    return [f"not what its source makes: run `python3 course.py notebooks {number}`"]


def check_executed(chapter: Chapter) -> list[str]:
    counts = [c.execution_count for c in chapter.code]
    return [] if counts == list(range(1, len(counts) + 1)) else [f"execution counts {counts}"]


def check_no_errors(chapter: Chapter) -> list[str]:
    return [
        f"{head(c)}: {output.output_type} {output.get('name', '')}"
        for c in chapter.code
        for output in c.outputs
        if output.output_type == "error"
        or (
            output.get("name") == "stderr"
            and not {"nbval-ignore-output", "shows-warning"} & set(tags(c))
        )
    ]


PLACES = re.compile(
    r"(?<![\w.:/~-])/(?:root|home|work|tmp|var|opt|Users)/|\b[A-Z]:\\+(?:Users|a)\b"
)


def check_no_bars(chapter: Chapter) -> list[str]:
    return [
        f"{head(c)}: a progress bar"
        for c in chapter.code
        for o in c.outputs
        if "application/vnd.jupyter.widget-view+json" in o.get("data", {})
        or any(re.search(r"\d%\||\d(it/s|s/it)\b", line) for line in notebooks.text_of(c))
    ]


def check_no_place(chapter: Chapter) -> list[str]:
    texts = [(c, c.source) for c in chapter.stored.cells]
    texts += [(c, "\n".join(notebooks.text_of(c))) for c in chapter.code]
    texts += [
        (c, str(o.data.get(kind, "")))
        for c in chapter.code
        for o in c.outputs
        for kind in ("text/html", "text/markdown", "text/latex", "image/svg+xml")
        if "data" in o
    ]
    return [f"{head(c)}: {m.group(0)}" for c, text in texts if (m := PLACES.search(text))]


def check_no_trace(chapter: Chapter) -> list[str]:
    """No trace of when, where and by what it was run."""
    meta = chapter.stored.metadata
    wrong = [f"notebook metadata {key}" for key in set(meta) - {"kernelspec", "language_info"}]
    wrong += ["the Python version"] if "version" in meta.get("language_info", {}) else []
    if meta.get("kernelspec", {}).get("name") != "python3":
        wrong.append(f"kernel {meta.get('kernelspec')}")
    for cell in chapter.stored.cells:
        wrong += [f"{head(cell)}: metadata {k}" for k in set(cell.metadata) - {"tags", "jupyter"}]
        wrong += ["an injected-parameters cell"] if "injected-parameters" in tags(cell) else []
    return wrong


def check_bytes(chapter: Chapter) -> list[str]:
    data = chapter.path.read_bytes()
    wrong = [] if len(data) < 1_000_000 else [f"{len(data)} bytes, 1 000 000 are allowed"]
    return wrong + (["CRLF line ends"] if b"\r\n" in data else [])


def check_short_cells(chapter: Chapter) -> list[str]:
    lengths = {
        head(c): sum(bool(line.strip()) for line in c.source.splitlines()) for c in chapter.code
    }
    wrong = [f"{name}: {n} lines, 25 are allowed" for name, n in lengths.items() if n > 25]
    median = statistics.median(lengths.values())
    most = 10 if chapter.told_again else 5  # whole loops stand on the page, in fewer cells
    return wrong + ([f"median cell of {median} lines, {most} are allowed"] if median > most else [])


def check_compared(chapter: Chapter, floors: dict[str, int] | None = None) -> list[str]:
    floors = COMPARED if floors is None else floors
    ignored = [c for c in chapter.code if "nbval-ignore-output" in tags(c)]
    count = sum(bool(c.outputs) for c in chapter.code if c not in ignored)
    wrong = [
        f"{head(c)}: {c.source!r:.40} is not compared at all"
        for c in chapter.code
        if "NBVAL_" in c.source or {"nbval-skip", "raises-exception"} & set(tags(c))
    ]
    if len(ignored) > 3:
        wrong.append(f"{len(ignored)} cells are tagged nbval-ignore-output, 3 are allowed")
    name = chapter.path.stem
    if name not in floors:
        wrong.append(f'add "{name}": {count} to COMPARED in tests/test_notebooks.py')
    elif count < floors[name]:
        wrong.append(f"{count} compared cells, there were {floors[name]}")
    elif count > floors[name]:
        wrong.append(f"raise {name} in COMPARED to {count}")
    return wrong


def asked(cell: NotebookNode) -> set[str]:
    return set(re.findall(r"""\bcheck\(\s*["']([^"']+)["']""", cell.source))


def check_exercises(chapter: Chapter) -> list[str]:
    code, wrong = chapter.code, []
    first = [i for i, c in enumerate(code) if "exercise" in tags(c)]
    needed = 2 if chapter.told_again else 3  # to judge needs no code
    if len(first) < needed and chapter.path.stem not in REFERENCE:
        wrong.append(f"{len(first)} exercises, at least {needed} are needed")
    for i in first:
        after = code[i + 1] if i + 1 < len(code) else None
        if after is None or "solution" not in tags(after):
            wrong.append(f"{head(code[i])}: no solution cell follows")
        elif len(asked(code[i])) != 1 or asked(code[i]) != asked(after):
            wrong.append(f"{asked(code[i])} is asked, {asked(after)} is solved")
        elif "open" in str(asked(after)) and "board=False" not in after.source:
            wrong.append(f"{asked(after)}: check the solution with board=False")
        wrong += [f"nothing checks {n}" for n in asked(code[i]) - set(exercises.names())]
    solved = sum("solution" in tags(c) for c in code)
    return wrong + ([f"{solved} solutions, {len(first)} exercises"] if solved != len(first) else [])


def check_verdicts(chapter: Chapter) -> list[str]:
    return notebooks.verdicts(chapter.stored)


def check_alt(chapter: Chapter) -> list[str]:
    return [
        f"{head(c)}: a picture without alternative text"
        for c in chapter.code
        for o in c.outputs
        for kind in o.get("data", {})
        if kind.startswith("image/") and not o.metadata.get(kind, {}).get("alt", "").strip()
    ]


def check_parameters(chapter: Chapter) -> list[str]:
    try:
        values = notebooks.parameters(chapter.stored)
    except ValueError as error:
        return [str(error)]
    seed = values.get("seed")
    return [] if type(seed) is int and seed == 0 else ["the parameters cell must set seed = 0"]


def check_links(chapter: Chapter) -> list[str]:
    wrong = []
    for cell in chapter.stored.cells:
        if cell.cell_type != "markdown":
            continue
        for link in re.findall(r"\]\(<?([^)\s>]+)", cell.source):
            target = unquote(link.split("#")[0])
            outside = re.match(r"[a-z]+:", target)
            if target and not outside and not (ROOT / "notebooks" / target).exists():
                wrong.append(f"{link} leads nowhere")
    return wrong


FOLDED = ("# Imports", "# Draw ", "# Checked: ")  # JupyterLab shows this line of a folded cell


def check_folds(chapter: Chapter) -> list[str]:
    """What is folded away says what it is; what only draws or imports is folded, where it binds."""
    wrong = []
    for cell in chapter.code:
        folded, name = "fold" in tags(cell), head(cell)
        if folded and not name.startswith(FOLDED):
            wrong.append(f"{name}: a folded cell begins with one of {FOLDED}")
        if chapter.told_again and name.startswith(FOLDED) and not folded:
            wrong.append(f"{name}: tag it fold")
    return wrong


def names_of(source: str) -> tuple[set[str], set[str], dict[str, set[str]]]:
    """The names that a cell binds and reads, and those that each of its functions reads."""
    table = symtable.symtable(re.sub(r"(?m)^%.*", "", source), "cell", "exec")

    def within(scope: symtable.SymbolTable) -> list[tuple[bool, symtable.Symbol]]:
        found = [(scope is table, symbol) for symbol in scope.get_symbols()]
        return found + [each for inner in scope.get_children() for each in within(inner)]

    def read(scope: symtable.SymbolTable) -> set[str]:
        known = [s for top, s in within(scope) if top or s.is_global()]
        return {s.get_name() for s in known if s.is_referenced()}

    known = [s for top, s in within(table) if top or s.is_global()]
    bound = {s.get_name() for s in known if s.is_assigned() or s.is_imported()}
    return bound, read(table), {inner.get_name(): read(inner) for inner in table.get_children()}


def check_folded_names(chapter: Chapter) -> list[str]:
    """No folded cell gives a name that an earlier cell needs to something else.

    Whoever runs that earlier cell again, to try another number, would get another result, and
    would not see why. A cell may put names back: `a, b = kept`.
    """
    wrong, functions, before = [], {}, []
    for cell in chapter.code:
        if {"exercise", "solution"} & set(tags(cell)):
            continue
        bound, read, made = names_of(cell.source)
        folded = "fold" in tags(cell) and not cell.source.startswith("# Imports")
        back = re.findall(r"\w+", "".join(re.findall(r"(?m)^ *(.+) = kept$", cell.source)))
        for name in sorted(bound - {*back}) if folded else ():
            for other, elsewhere, needed in reversed(before):
                if name in elsewhere and "fold" not in tags(other):
                    break  # it stands for something else already, in sight
                if name in needed:
                    wrong.append(f"{head(cell)}: {name} is needed by {head(other)!r}")
        functions |= made
        needed, found = set(), {name for name in read if name in functions or name not in bound}
        while found - needed:  # with all that the functions read that it calls
            needed |= found
            found = set().union(*(functions.get(name, set()) for name in needed))
        before.append((cell, bound, needed - bound))
    return wrong


def check_messages(chapter: Chapter) -> list[str]:
    """In a chapter told again each figure has its message for a title, short enough to be read."""
    wrong = []
    for cell in chapter.code if chapter.told_again else ():
        tree = ast.parse(cell.source)
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if not re.fullmatch(r"plots\.\w+", ast.unparse(call.func)):
                continue
            said = [k.value for k in call.keywords if k.arg == "title"]
            if not said:
                wrong.append(f"{head(cell)}: a figure without a title")
            elif isinstance(said[0], ast.Constant) and not 12 <= len(said[0].value) <= 100:
                wrong.append(f"{head(cell)}: a title is a short sentence, not {said[0].value!r}")
    return wrong


ANSWER = re.compile(
    r'<details class="predict"(?P<right> data-right)?><summary>(?P<answer>[^<>]+(?:</?\w+>[^<>]*)*)'
    r"</summary>(?P<reply>.+)</details>"
)


def check_predictions(chapter: Chapter) -> list[str]:
    """Answers to choose from: two to four, one right, each with a reply; no code tells before."""
    wrong, right_is_longest = [], []
    for cell in chapter.stored.cells:
        if cell.cell_type != "markdown":
            continue
        for part in re.split(r"\n\s*\n", cell.source):
            answers = ANSWER.findall(part)
            if 'class="predict"' not in part:
                if chapter.told_again and "**Predict" in part and not part_after(cell, part):
                    wrong.append(f"{part[:60]!r}: nothing to choose from")
                continue
            name = part.splitlines()[0][:90]
            if len(answers) != len(part.splitlines()) or not 2 <= len(answers) <= 4:
                wrong.append(f"{name}: two to four answers, each in one line, are needed")
                continue
            if sum(bool(right) for right, _, _ in answers) != 1:
                wrong.append(f"{name}: one answer is right, and marked with data-right")
            if any(bool(right) != reply.startswith("Yes") for right, _, reply in answers):
                wrong.append(
                    f"{name}: the reply to the right answer, and no other, begins with Yes"
                )
            if len({answer for _, answer, _ in answers}) < len(answers):
                wrong.append(f"{name}: two answers are the same")
            texts = [re.sub(r"<[^>]+>", "", reply) for _, _, reply in answers]
            wrong += [f"{name}: {t!r} replies too little" for t in texts if len(t.split()) < 5]
            if re.search(r"\$|`|\*\*|\]\(", part):
                wrong.append(f"{name}: it is HTML, which knows no Markdown and no formulas")
            lengths = {True: 0, False: 0}
            for right, answer, _ in answers:
                lengths[bool(right)] = max(lengths[bool(right)], len(answer))
            right_is_longest.append(lengths[True] > lengths[False])
    if sum(right_is_longest) > len(right_is_longest) / 3:
        count = f"{sum(right_is_longest)} of {len(right_is_longest)}"
        wrong.append(f"the right answer is the longest in {count} predictions: in a third at most")
    return wrong


def part_after(cell: NotebookNode, part: str) -> bool:
    """Do answers follow a paragraph at once?"""
    return cell.source.partition(part)[2].lstrip().startswith('<details class="predict"')


def check_title(chapter: Chapter) -> list[str]:
    cell = chapter.stored.cells[0]
    good = cell.cell_type == "markdown" and re.match(r"# \S", cell.source)
    return [] if good else ["the first cell is not a heading"]


CHECKS: list[Callable[[Chapter], list[str]]] = [
    check_parity,
    check_executed,
    check_no_errors,
    check_no_bars,
    check_no_place,
    check_no_trace,
    check_bytes,
    check_short_cells,
    check_compared,
    check_exercises,
    check_verdicts,
    check_alt,
    check_parameters,
    check_links,
    check_title,
    check_folds,
    check_folded_names,
    check_messages,
    check_predictions,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("source", notebooks.chapters(), ids=lambda source: source.stem)
def test_chapter(source: Path, check: Callable[[Chapter], list[str]]):
    if not notebooks.notebook_of(source).exists():
        pytest.skip("not made yet, which test_sources_and_notebooks_pair_up refuses")
    wrong = check(load(source))
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


def test_sources_and_notebooks_pair_up():
    made = {source.stem for source in notebooks.chapters()}
    assert made == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert made, "no chapter at all"
    assert set(COMPARED) <= made, "COMPARED names chapters that are gone"
    numbers = [name[:2] for name in made]
    assert len(set(numbers)) == len(numbers), "two chapters share a number"
    assert all(re.fullmatch(r"\d\d_[a-z0-9_]+", name) for name in made)


# A tiny chapter, with everything that a chapter must have.

TINY = (
    """\
---
jupytext:
  formats: ipynb,source//md:myst
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A tiny chapter

See [the source](source).

```{code-cell} ipython3
:tags: [parameters]

seed = 0
```

```{code-cell} ipython3
import os, sys
from tqdm.auto import tqdm
from lrcourse import plots
from lrcourse.evidence import claim
from lrcourse.exercises import check
```

**Predict.** Which number comes last?

<details class="predict"><summary>Five, by their count</summary>But the first is 0.</details>
<details class="predict" data-right><summary>Four</summary>Yes, since the first is 0.</details>

Five dots; the bar must not show.

```{code-cell} ipython3
for i in tqdm(range(5)):
    print(i, end=" ", flush=True)
```

```{code-cell} ipython3
:tags: [fold]

# Draw a line
words = {"title": "What goes up comes down", "alt": "A line that goes up and then down."}
plots.lines({"a": [1.0, 3.0, 2.0]}, x="step", y="loss", title=words["title"], alt=words["alt"])
```

```{code-cell} ipython3
claim("It runs in its folder", os.path.isdir("source"), kernel=sys.executable, seed=seed)
```
"""
    + 3
    * """
```{code-cell} ipython3
:tags: [exercise]

answer = ...
check("04 repair", answer)
```

```{code-cell} ipython3
:tags: [solution]

def mended(optimizer, epochs, n):
    from torch.optim.lr_scheduler import MultiStepLR

    return MultiStepLR(optimizer, [epochs * n // 2, epochs * n * 3 // 4], gamma=0.1)


answer = mended
check("04 repair", answer)
```
"""
)

# The same without its picture and with a check of its own: their imports take seconds.
LIGHT = (
    TINY.replace("from lrcourse import plots\n", "")
    .replace("plots.lines(", "dict(")
    .replace("answer = mended", "answer = 0.05")
    .replace(
        "from lrcourse.exercises import check\n",
        """\
def check(name, answer):
    print({...: f"☐ {name}: ...", 0.05: f"✔ {name}: right."}.get(answer, f"✘ {name}: not yet."))
""",
    )
)


def write(folder: Path, text: str) -> Path:
    source = folder / "notebooks" / "source" / "90_tiny.md"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(text, encoding="utf-8", newline="\n")
    return source


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = write(tmp_path_factory.mktemp("tiny"), TINY)
    assert notebooks.build(source) is True
    return source


@pytest.fixture
def chapter(tiny: Path) -> Chapter:
    """The tiny chapter, for a test to spoil."""
    return deepcopy(load(tiny))


def complaints(check: Callable[[Chapter], list[str]], chapter: Chapter) -> list[str]:
    if check is check_compared:
        return check_compared(chapter, {"90_tiny": 9})
    if check is check_no_place:  # its measured kernel is a path on purpose
        chapter.stored.cells = [c for c in chapter.stored.cells if "sys.executable" not in c.source]
    return check(chapter)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_tiny_chapter_is_well(chapter: Chapter, check: Callable[[Chapter], list[str]]):
    assert complaints(check, chapter) == []


def cell_with(chapter: Chapter, text: str) -> NotebookNode:
    return next(c for c in chapter.stored.cells if text in c.source)


def stderr(chapter: Chapter) -> None:
    cell_with(chapter, "tqdm(").outputs.append(
        nbformat.v4.new_output("stream", name="stderr", text="Warning!\n")
    )


def error(chapter: Chapter) -> None:
    cell_with(chapter, "tqdm(").outputs.append(nbformat.v4.new_output("error", ename="E"))


def edited(chapter: Chapter) -> None:
    cell_with(chapter, "tqdm(").source += "\n"


def untagged(chapter: Chapter) -> None:
    cell_with(chapter, "answer = mended").metadata.tags = []


def uncollapsed(chapter: Chapter) -> None:
    del cell_with(chapter, "answer = mended").metadata["jupyter"]


def unrun(chapter: Chapter) -> None:
    cell_with(chapter, "tqdm(").execution_count = None


def out_of_order(chapter: Chapter) -> None:
    cell_with(chapter, "tqdm(").execution_count = 7


def bar(chapter: Chapter) -> None:
    cell_with(chapter, "tqdm(").outputs[0].text = "  0%|          | 0/5 [00:00<?, ?it/s]\n"


def path_printed(chapter: Chapter) -> None:
    cell_with(chapter, "tqdm(").outputs[0].text = "saved in /home/ada/course/runs\n"


def path_in_warning(chapter: Chapter) -> None:
    cell_with(chapter, "tqdm(").outputs[0].text = "/tmp/ipykernel_12/34.py:1: UserWarning\n"


def windows_path(chapter: Chapter) -> None:
    cell_with(chapter, "tqdm(").source = r'open("C:\\Users\\ada\\x")'


def path_in_table(chapter: Chapter) -> None:
    cell_with(chapter, "plots.lines").outputs[0].data["text/html"] = "<td>/Users/ada/x</td>"


def papermill_metadata(chapter: Chapter) -> None:
    cell_with(chapter, "tqdm(").metadata.papermill = {"start_time": "2026-01-01T00:00:00"}


def widget_state(chapter: Chapter) -> None:
    chapter.stored.metadata["widgets"] = {}


def python_version(chapter: Chapter) -> None:
    chapter.stored.metadata.language_info["version"] = "3.12.1"


def other_kernel(chapter: Chapter) -> None:
    chapter.stored.metadata.kernelspec["name"] = "venv"


def injected(chapter: Chapter) -> None:
    cell_with(chapter, "tqdm(").metadata.tags = ["injected-parameters"]


def long_cell(chapter: Chapter) -> None:
    cell_with(chapter, "tqdm(").source = "x = 1\n" * 26


def long_cells(chapter: Chapter) -> None:
    for cell in chapter.code:
        cell.source = "x = 1\n" * 11


def switched_off(chapter: Chapter) -> None:
    cell_with(chapter, "tqdm(").metadata.tags = ["nbval-ignore-output"]


def skipped(chapter: Chapter) -> None:
    cell_with(chapter, "tqdm(").source += "\n# NBVAL_SKIP"


def lenient(chapter: Chapter) -> None:
    for cell in chapter.code[:4]:
        cell.metadata.tags = ["nbval-ignore-output"]


def silent(chapter: Chapter) -> None:
    cell_with(chapter, "tqdm(").outputs = []


def too_few(chapter: Chapter) -> None:
    del chapter.stored.cells[-4:]


def unsolved(chapter: Chapter) -> None:
    del chapter.stored.cells[-1]


def solution_on_the_board(chapter: Chapter) -> None:
    for cell in chapter.stored.cells:
        cell.source = cell.source.replace("04 repair", "04 open")


def solves_another(chapter: Chapter) -> None:
    chapter.stored.cells[-1].source = 'check("other", 1)'


def unknown_exercise(chapter: Chapter) -> None:
    for cell in chapter.stored.cells[-2:]:
        cell.source = 'check("no-such-exercise", 1)'


def wrong_solution(chapter: Chapter) -> None:
    chapter.stored.cells[-1].outputs[0].text = "✘ 02 floor: not yet.\n"


def given_away(chapter: Chapter) -> None:
    chapter.stored.cells[-2].outputs[0].text = "✔ 02 floor: right.\n"


def no_alt(chapter: Chapter) -> None:
    cell_with(chapter, "plots.lines").outputs[0].metadata["image/png"]["alt"] = " "


def no_seed(chapter: Chapter) -> None:
    cell_with(chapter, "seed = 0").source = "sed = 0"


def other_seed(chapter: Chapter) -> None:
    cell_with(chapter, "seed = 0").source = "seed = 3"


def no_parameters(chapter: Chapter) -> None:
    cell_with(chapter, "seed = 0").metadata.tags = []


def dead_link(chapter: Chapter) -> None:
    chapter.stored.cells[0].source += "\n[next](77_gone.ipynb#part)"


def no_title(chapter: Chapter) -> None:
    chapter.stored.cells[0].source = "A tiny chapter"


def folded_without_a_word(chapter: Chapter) -> None:
    cell_with(chapter, "plots.lines").source = "plots.lines({})"


def drawn_in_sight(chapter: Chapter) -> None:
    cell_with(chapter, "plots.lines").metadata.tags = []


def name_taken(chapter: Chapter) -> None:
    cell_with(chapter, "plots.lines").source += "\ntqdm = None"


def name_taken_from_a_function(chapter: Chapter) -> None:
    cell_with(chapter, "import os").source += "\ndef show(x):\n    print(ends)"
    cell_with(chapter, "tqdm(").source += "\nshow(1)"
    cell_with(chapter, "plots.lines").source += "\nends = None"


def no_message(chapter: Chapter) -> None:
    cell = cell_with(chapter, "plots.lines")
    cell.source = cell.source.replace("title=words", "x_title=words")


def short_message(chapter: Chapter) -> None:
    cell = cell_with(chapter, "plots.lines")
    cell.source = cell.source.replace('title=words["title"]', 'title="Loss"')


def predictions(chapter: Chapter, old: str, new: str) -> None:
    cell = cell_with(chapter, "**Predict")
    assert old in cell.source
    cell.source = cell.source.replace(old, new)


def nothing_right(chapter: Chapter) -> None:
    predictions(chapter, " data-right", "")


def right_is_longest(chapter: Chapter) -> None:
    predictions(chapter, "<summary>Four<", "<summary>Four, since the first of the five is 0<")


def no_answers(chapter: Chapter) -> None:
    predictions(chapter, "<details", "<p")


def right_without_yes(chapter: Chapter) -> None:
    predictions(chapter, ">Yes, since the", ">Well, the")


def one_answer(chapter: Chapter) -> None:
    predictions(chapter, "</details>\n<details", "</details>\n\n<details")


def no_reply(chapter: Chapter) -> None:
    predictions(chapter, "Yes, since the first is 0.", "Yes.")


def markdown_in_html(chapter: Chapter) -> None:
    predictions(chapter, "Four", "`4`")


SPOILT: dict[Callable[[Chapter], list[str]], list[Callable[[Chapter], None]]] = {
    check_parity: [edited, untagged, uncollapsed, too_few],
    check_executed: [unrun, out_of_order],
    check_no_errors: [stderr, error],
    check_no_bars: [bar],
    check_no_place: [path_printed, path_in_warning, windows_path, path_in_table],
    check_no_trace: [papermill_metadata, widget_state, python_version, other_kernel, injected],
    check_short_cells: [long_cell, long_cells],
    check_compared: [switched_off, skipped, lenient, silent],
    check_exercises: [too_few, unsolved, solves_another, unknown_exercise, solution_on_the_board],
    check_verdicts: [wrong_solution, given_away],
    check_alt: [no_alt],
    check_parameters: [no_seed, other_seed, no_parameters],
    check_links: [dead_link],
    check_title: [no_title],
    check_folds: [folded_without_a_word, drawn_in_sight],
    check_folded_names: [name_taken, name_taken_from_a_function],
    check_messages: [no_message, short_message],
    check_predictions: [
        nothing_right,
        right_without_yes,
        right_is_longest,
        no_answers,
        one_answer,
        no_reply,
        markdown_in_html,
    ],
}


@pytest.mark.parametrize(
    ("check", "spoil"),
    [(check, spoil) for check, spoils in SPOILT.items() for spoil in spoils],
    ids=lambda f: f.__name__,
)
def test_check_notices(chapter: Chapter, check: Callable, spoil: Callable[[Chapter], None]):
    spoil(chapter)
    assert complaints(check, chapter) != []


def test_check_notices_size_and_line_ends(chapter: Chapter, tmp_path: Path):
    data = chapter.path.read_bytes()
    for spoilt in (data.replace(b"\n", b"\r\n"), data + b" " * 1_000_000):
        chapter.path = tmp_path / "90_tiny.ipynb"
        chapter.path.write_bytes(spoilt)
        assert check_bytes(chapter) != []


# The pipeline.


def test_building_again_changes_nothing(tiny: Path):
    path = notebooks.notebook_of(tiny)
    before, written = path.read_bytes(), path.stat().st_mtime_ns
    assert b'"image/png"' in before
    assert notebooks.build(tiny) is False
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, written)
    assert [p.name for p in sorted(path.parent.iterdir())] == ["90_tiny.ipynb", "source"]


def test_stored_chapter_is_tidy(chapter: Chapter):
    bar = cell_with(chapter, "tqdm(")
    assert [(o.name, o.text) for o in bar.outputs] == [("stdout", "0 1 2 3 4 ")]
    # Under whatever other kernel called python3 exists, the one that runs is this Python's.
    assert f"kernel = {SHOWN}" in cell_with(chapter, "claim(").outputs[0].text
    picture = base64.b64decode(cell_with(chapter, "plots.lines").outputs[0].data["image/png"])
    kinds, at = [], 8
    while at < len(picture):
        (size,) = struct.unpack(">I", picture[at : at + 4])
        kinds.append(picture[at + 4 : at + 8])
        at += size + 12
    assert not {b"tEXt", b"iTXt", b"zTXt", b"tIME"} & set(kinds)


def test_ids_stay_when_a_cell_is_added(tmp_path: Path, chapter: Chapter):
    added = "# A tiny chapter\n\nMore.\n\n```{code-cell} ipython3\n1 + 1\n```\n"
    longer = notebooks.read_source(write(tmp_path, TINY.replace("# A tiny chapter\n", added)))
    ids = [c.id for c in longer.cells]
    assert len(set(ids)) == len(ids)
    assert {c.id for c in chapter.made.cells[1:]} <= set(ids)


def test_failing_cell_keeps_the_old_notebook(tmp_path: Path, tiny: Path):
    source = write(tmp_path, LIGHT.replace("claim(", "raise RuntimeError('out of luck')\nclaim("))
    path = notebooks.notebook_of(source)
    path.write_bytes(b"the old notebook")
    with pytest.raises(notebooks.ChapterError) as caught:
        notebooks.build(source)
    assert re.search(r"^90_tiny, code cell 5 .*: RuntimeError: out of luck$", str(caught.value))
    assert path.read_bytes() == b"the old notebook"
    assert len(list(path.parent.iterdir())) == 2


def test_verify_uses_the_seed_and_leaves_the_exercises_out(tmp_path: Path):
    text = LIGHT.replace("claim(", "assert seed == 5\nclaim(").replace(
        "answer = 0.05", "raise RuntimeError"
    )
    source = write(tmp_path, text)
    path = notebooks.notebook_of(source)
    notebooks.write_notebook(notebooks.read_source(source), path)
    notebooks.verify(path, seed=5)
    with pytest.raises(notebooks.ChapterError, match="AssertionError"):
        notebooks.verify(path, seed=6)


def test_unknown_parameter_is_refused(tiny: Path):
    with pytest.raises(notebooks.ChapterError, match=r"no parameter 'sede'; there are seed"):
        notebooks.execute(notebooks.read_source(tiny), "tiny", cwd=ROOT, values={"sede": 1})


def test_a_kernel_of_the_same_name_elsewhere_is_not_used(tmp_path: Path, monkeypatch):
    for variable in ("JUPYTER_DATA_DIR", "JUPYTER_PATH"):
        spec = tmp_path / variable / "kernels" / "python3" / "kernel.json"
        spec.parent.mkdir(parents=True)
        argv = [sys.executable, "-c", "raise SystemExit('the wrong kernel')"]
        spec.write_text(json.dumps({"argv": argv, "display_name": "x", "language": "python"}))
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.delenv("JUPYTER_PREFER_ENV_PATH", raising=False)
    source = write(tmp_path, LIGHT)
    assert notebooks.build(source)
    assert SHOWN in notebooks.notebook_of(source).read_text(encoding="utf-8")


def test_pieces_of_a_stream_are_joined():
    def piece(name: str, text: str) -> NotebookNode:
        return nbformat.v4.new_output("stream", name=name, text=text)

    shown = nbformat.v4.new_output("display_data", data={"text/plain": "x"})
    flushed = [piece("stdout", "a"), piece("stderr", "!"), piece("stdout", "b"), shown]
    joined = notebooks.merged([*flushed, piece("stdout", "c")])
    assert [o.get("text", "x") for o in joined] == ["ab", "!", "x", "c"]


def test_command_line_names_what_is_missing(capsys):
    with pytest.raises(SystemExit, match="0 chapters are called '97'"):
        notebooks.main(["build", "97"])


def test_comparison_masks_measured_figures_only(tmp_path: Path, capfd):
    """nbval must accept another measured figure, and refuse another sentence."""
    source = write(tmp_path, LIGHT)
    notebooks.build(source)
    path = notebooks.notebook_of(source)
    stored = path.read_text(encoding="utf-8")
    other = path.with_name("91_other.ipynb")
    path.write_text(stored.replace("seed = 0]", "seed = 9]"), encoding="utf-8")
    other.write_text(stored.replace("✔ It runs", "✔ It walks"), encoding="utf-8")
    notebooks.compare_outputs(path)
    with pytest.raises(notebooks.ChapterError, match="91_other: it does not give its stored"):
        notebooks.compare_outputs(other)
    assert "It walks" in capfd.readouterr().out


def test_the_readme_shows_a_figure_of_the_course():
    pictures = [
        picture
        for source in notebooks.chapters()
        for picture in notebooks.front_pictures(load(source).stored)
    ]
    assert pictures == [(ROOT / "docs" / "front.png").read_bytes()]
    assert "](docs/front.png)" in (ROOT / "README.md").read_text(encoding="utf-8")
