"""The scheduler reference has a card for every class of the installed PyTorch, and a true one."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import SWALR

from tools import notebooks

REFERENCE = notebooks.NOTEBOOKS / "source" / "20_scheduler_reference.md"
CLASSES: dict[str, type] = {
    kind.__name__: kind
    for kind in [*vars(torch.optim.lr_scheduler).values(), SWALR]
    if isinstance(kind, type) and issubclass(kind, LRScheduler) and kind is not LRScheduler
    if not kind.__name__.startswith("_")
}
ARGUMENTS = "| argument | meaning | default | unit |"
TRAPS = "| you write | what happens | write instead |"
ELSEWHERE = "| where | counterpart | what differs |"
LIBRARIES = ["lrcourse", "transformers", "Keras", "optax", "timm"]


def sections(text: str) -> dict[str, str]:
    """Heading → what stands under it; the page's beginning is under its title."""
    prose = re.sub(r"^```\{code-cell\}.*?^```$", mark_headings, text, flags=re.M | re.S)
    parts = re.split(r"^#{1,2} (.+)$", prose, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def mark_headings(cell: re.Match[str]) -> str:
    return re.sub(r"^#", " #", cell[0], flags=re.M)  # a comment is no heading


def table(section: str, header: str) -> list[list[str]]:
    """The rows of the table with this header, each a list of its cells; [] when there is none."""
    _, _, below = section.partition(f"{header}\n")
    lines = below.split("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def settings(kind: type) -> dict[str, Any]:
    """Name → default of what one may set; inspect's `empty` where it must be given."""
    given = inspect.signature(kind).parameters.values()
    return {
        p.name: p.default
        for p in given
        if p.name not in ("optimizer", "last_epoch") and p.default != "deprecated"
    }


def default(cell: str) -> Any:
    return inspect.Parameter.empty if cell == "required" else eval(cell.strip("`"), {})


def complaints(text: str, classes: dict[str, type]) -> list[str]:
    parts = sections(text)
    wrong = [f"no card for {name}" for name in classes if name not in parts]
    for name in classes.keys() & parts.keys():
        card = parts[name]
        told = {row[0].strip("`"): row[2] for row in table(card, ARGUMENTS)}
        wanted = settings(classes[name])
        wrong += [f"{name}: {argument} is not told" for argument in wanted.keys() - told.keys()]
        wrong += [f"{name}: no argument {a}" for a in told.keys() - wanted.keys() - {"optimizer"}]
        for argument in wanted.keys() & told.keys():
            if default(told[argument]) != wanted[argument]:
                wrong.append(f"{name}: the default of {argument} is {wanted[argument]}")
        libraries = ", ".join(row[0] for row in table(card, ELSEWHERE))
        wrong += [f"{name}: not a word on {one}" for one in LIBRARIES if one not in libraries]
        for cell in (f"Draw {name}\n", f"Checked: the traps of {name}", f"Checked: {name} else"):
            wrong += [] if f"\n # {cell}" in card else [f"{name}: no cell “{cell.strip()}”"]
        wrong += [] if table(card, TRAPS) else [f"{name}: no traps"]
    contents = re.findall(r"^\| \[(\w+)\]\(#(\w+)\) \|", text, re.M)
    if contents != [(name, name) for name in parts if name in classes]:
        wrong.append("the contents are not the cards, in order")
    anchors = {heading.replace(" ", "-") for heading in parts}
    links = set(re.findall(r"\]\(#([^)]+)\)", text))
    return wrong + [f"#{link} leads nowhere" for link in links - anchors]


def test_each_class_has_a_card_that_names_its_arguments_and_defaults():
    assert {"StepLR", "OneCycleLR", "ReduceLROnPlateau", "SWALR"} < CLASSES.keys()
    assert complaints(REFERENCE.read_text(encoding="utf-8"), CLASSES) == []


class NewLR(LRScheduler):
    def __init__(self, optimizer, speed: float = 1.0):
        super().__init__(optimizer)


class OtherStepLR(LRScheduler):
    def __init__(self, optimizer, step_size, gamma=0.5, floor=0.0, verbose="deprecated"):
        super().__init__(optimizer)


def cut(old: str, new: str = "") -> Callable[[str], str]:
    def spoil(text: str) -> str:
        assert text.count(old) >= 1
        return text.replace(old, new)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "classes", "expected"),
    [
        (str, {"NewLR": NewLR}, "no card for NewLR"),
        (str, {"StepLR": OtherStepLR}, "StepLR: the default of gamma is 0.5"),
        (str, {"StepLR": OtherStepLR}, "StepLR: floor is not told"),
        (cut("| `step_size` |", "| `size` |"), {}, "StepLR: no argument size"),
        (cut("# Checked: the traps of SWALR", "#"), {}, "SWALR: no cell “Checked: the traps of"),
        (cut("| timm | `StepLRScheduler", "| tim | `"), {}, "StepLR: not a word on timm"),
        (cut("| [SWALR](#SWALR) |", "| SWALR |"), {}, "the contents are not the cards"),
        (cut("(#Common-traps)", "(#Traps)"), {}, "#Traps leads nowhere"),
    ],
)
def test_a_wrong_card_is_noticed(spoil, classes, expected):
    wrong = complaints(spoil(REFERENCE.read_text(encoding="utf-8")), CLASSES | classes)
    assert any(line.startswith(expected) for line in wrong), wrong
