"""docs/choose.md is chapter 19's page, its links lead somewhere, and its numbers are recorded."""

import re

import pytest
from test_articles import dead
from test_budgets import chapter, numbers, plain

from lrcourse.files import ROOT

PAGE = (ROOT / "docs" / "choose.md").read_text(encoding="utf-8")
SOURCE = (ROOT / "notebooks" / "source" / "19_choosing.md").read_text(encoding="utf-8")


def test_the_page_is_the_section_of_the_chapter():
    section = SOURCE.partition("\n## One page\n\n")[2].partition("\n[The page alone]")[0]
    assert section == PAGE.partition("\n\n")[2].replace("](../notebooks/", "](")


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)]+)\)", PAGE))))
def test_its_links_lead_somewhere(link):
    assert dead(link) == ""


def test_each_number_that_it_lets_expect_stands_in_an_output_of_the_chapter():
    rows = re.findall(r"(?m)^\|[^|]+\|[^|]+\|(.+)\|$", PAGE)[2:]
    expected = numbers(plain(re.sub(r"\[\d\d\]", "[]", "\n".join(rows))))
    shown = {float(number) for number in numbers(chapter("19_choosing").outputs)}
    rounded = {f"{number:.{digits}f}" for number in shown for digits in range(4)}
    assert len(expected) > 20 and expected - rounded == set()
