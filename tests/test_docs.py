"""The documentation names things that exist, and its commands are accepted as written."""

import inspect
import pkgutil
import re
import shlex
from pathlib import Path

import pytest
from typer import BadParameter
from typer.main import get_command

from otomatch.cli import app
from otomatch.errors import ConfigError
from otomatch.training.config import load_config

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(
    [*(ROOT / "docs").glob("*.md"), *map(ROOT.joinpath, ("README.md", "CONTRIBUTING.md"))]
)
UsageError = BadParameter.__base__  # whichever click typer brings along
CODE = re.compile(r"`([^`\n]+)`")
NAME = re.compile(r"otomatch(\.[A-Za-z_]\w*)+")
TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
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
    page = "`otomatch.transport.Identity` `otomatch.transport.Identiti` `otomatch.nothing` `test_nothing`"  # noqa: E501
    assert missing(page) == [
        "otomatch.nothing",
        "otomatch.transport.Identiti",
        "test_nothing",
    ]


def test_the_page_on_the_paper_cites_tests_and_modules_throughout():
    page = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    sections = re.split(r"^### ", page.partition("## Where the release")[0], flags=re.MULTILINE)[1:]
    for section in sections:
        assert re.search(r"`test_\w+`", section), section.partition("\n")[0]
        assert NAME.search(section) or "`configs/`" in section, section.partition("\n")[0]
    differences = page.partition("## Where the release")[2].partition("## Beyond")[0]
    assert re.findall(r"^(\d+)\.", differences, re.MULTILINE) == [str(i) for i in range(1, 11)]


def leaves(command=None, words=()):
    """All commands, by the words that call them."""
    command = get_command(app) if command is None else command
    inner = getattr(command, "commands", None)
    if inner is None:
        return {words: command}
    return {w: c for name in inner for w, c in leaves(inner[name], (*words, name)).items()}


def commands(text: str) -> list[str]:
    return re.findall(r"^ *((?:otomatch|torchrun) .*)$", text, re.MULTILINE)


def accept(line: str) -> None:
    """Parse a command without running it; a mistake raises."""
    words = shlex.split(line, comments=True)
    if words[0] == "torchrun":
        from torch.distributed.run import parse_args

        launched = parse_args(words[1:])
        assert launched.module, line
        words = [launched.training_script, *launched.training_script_args]
    assert words.pop(0) == "otomatch", line
    called = next(called for called in leaves() if words[: len(called)] == [*called])
    given = leaves()[called].make_context(line, words[len(called) :]).params
    if called == ("train",):
        load_config(given["config"] and ROOT / given["config"], given["assignments"] or ())


BLOCKS = "\n".join(
    block
    for page in PAGES
    if page.stem != "extending"  # whose commands are run by tests of their own
    for block in re.findall(
        r"^```\w*\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
).replace("\\\n", " ")
HELP = "\n".join(inspect.cleandoc(leaf.help) for leaf in leaves().values())


@pytest.mark.parametrize("line", dict.fromkeys(commands(BLOCKS) + commands(HELP)))
def test_every_command_of_the_documentation_and_of_the_help_is_accepted(line):
    accept(line)


def test_the_readme_is_short_and_its_layout_names_every_room():
    assert len(README.splitlines()) <= 180
    layout = README.partition("## Layout")[2].partition("## Cite")[0]
    rooms = [
        *(ROOT / "src/otomatch").glob("[a-z]*/__init__.py"),
        *(ROOT / "src/otomatch").glob("[a-z]*.py"),
    ]
    names = {path.parent.name + "/" if path.name == "__init__.py" else path.name for path in rooms}
    assert set(re.findall(r"^  ([\w.]+/?) ", layout, re.MULTILINE)) == names
    assert len(names) == 14


def test_the_readme_links_to_every_page_and_every_link_leads_somewhere():
    linked = set(re.findall(r"\]\((docs/[\w-]+\.md)\)", README))
    assert linked == {f"docs/{page.name}" for page in PAGES if page.parent.name == "docs"}
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_link_to_a_heading_finds_it():
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]*)\)", page.read_text("utf-8")):
            text = (page.parent / target if target else page).read_text("utf-8")
            headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in headings}
            assert anchor in anchors, f"{page.name}: {target}#{anchor}"


def test_every_configuration_is_described():
    text = "".join(page.read_text("utf-8") for page in [*PAGES, ROOT / "runs/README.md"])
    files = list((ROOT / "configs").glob("*.toml"))
    assert [path.name for path in files if path.name not in text] == []
    assert len(files) >= 8


@pytest.mark.parametrize("called", leaves(), ids=" ".join)
def test_the_help_of_every_command_that_needs_an_argument_has_an_example(called):
    command, begins = leaves()[called], f"otomatch {' '.join(called)} "
    needs = any(parameter.required for parameter in command.params)
    examples = commands(inspect.cleandoc(command.help))
    assert any(line.startswith(begins) for line in examples) or not needs


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("otomatch train --runs x", UsageError),
        ("otomatch evaluate model", UsageError),
        ("otomatch train --run x --set loss.mas=auto", ConfigError),
        ("otomatch fetch clotho", StopIteration),
        ("torchrun otomatch train --data x", AssertionError),
        ("torchrun -m otomatch evaluate --run-folder x", UsageError),
    ],
)
def test_a_command_with_a_mistake_is_found(line, error):
    with pytest.raises(error):
        accept(line)
