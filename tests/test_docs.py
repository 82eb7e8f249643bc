"""The documentation names things that exist."""

import pkgutil
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
CODE = re.compile(r"`([^`\n]+)`")
NAME = re.compile(r"otomatch(\.[A-Za-z_]\w*)+")
TESTS = {
    name
    for path in (ROOT / "tests").glob("test_*.py")
    for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
}


def cited(page: str, pattern: re.Pattern[str]) -> set[str]:
    """What is cited as code, and matches as a whole."""
    return {code for code in CODE.findall(page) if pattern.fullmatch(code)}


def missing(page: str) -> list[str]:
    """Names of the package and of tests that a page cites and that do not exist."""
    gone = [name for name in cited(page, re.compile(r"test_\w+")) if name not in TESTS]
    for name in cited(page, NAME):
        try:
            pkgutil.resolve_name(name)
        except (AttributeError, ImportError):
            gone.append(name)
    return sorted(gone)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_name_in_the_documentation_exists(page):
    assert missing(page.read_text(encoding="utf-8")) == []


def test_names_that_do_not_exist_are_found():
    page = "`otomatch.ground.Identity` `otomatch.ground.Identiti` `otomatch.nothing` `test_nothing`"
    assert missing(page) == ["otomatch.ground.Identiti", "otomatch.nothing", "test_nothing"]


def test_the_page_on_the_paper_cites_tests_and_modules_throughout():
    page = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    sections = re.split(r"^### ", page.partition("## Where the release")[0], flags=re.MULTILINE)[1:]
    for section in sections:
        assert re.search(r"`test_\w+`", section), section.partition("\n")[0]
        assert NAME.search(section) or "`configs/`" in section, section.partition("\n")[0]
    differences = page.partition("## Where the release")[2].partition("## Beyond")[0]
    assert re.findall(r"^(\d+)\.", differences, re.MULTILINE) == [str(i) for i in range(1, 11)]
