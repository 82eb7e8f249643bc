"""Messages of the library: no command-line options, no configuration fields; the CLI adds those."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import otomatch
from otomatch.cli.remedies import FAILURE_REMEDIES, REMEDIES, message, warning_message
from otomatch.errors import InvalidInputError, LostFolderError, MissingLibraryError
from otomatch.training.config import Config
from otomatch.training.diagnostics import TrainingWarning

SOURCE = Path(otomatch.__file__).parent
ALLOWED = {  # whose subject these are
    *("cli", "studies/catalogue", "training/config.py", "training/sections.py")
}
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]+")


def fields() -> set[str]:
    """All configuration fields, such as ``loss.epsilon``."""
    found = set()
    for section, info in Config.model_fields.items():
        for kind in get_args(info.annotation) or (info.annotation,):
            found |= {f"{section}.{field}" for field in kind.model_fields}
    return found


def messages() -> Iterator[tuple[str, str]]:
    """Texts below the command line that have words, but for docstrings, with their places."""
    for path in sorted(SOURCE.rglob("*.py")):
        name = str(path.relative_to(SOURCE))
        if name in ALLOWED or any(name.startswith(f"{folder}/") for folder in ALLOWED):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and id(node) not in prose and " " in text.strip():
                yield f"{name}:{node.lineno}:{node.col_offset}", text


def test_no_message_names_an_option_or_a_field():
    known = fields()
    assert {"loss.epsilon", "optim.lr", "data.path"} <= known
    found = dict(messages())
    assert len(found) > 200
    pip = "--no-deps"  # of pip, in the remedy for a package
    named = {
        place: text
        for place, text in found.items()
        if OPTION.search(text.replace(pip, "").partition(":root {")[0])
        or any(field in text for field in known)
    }
    assert named == {}


@pytest.mark.parametrize("kind", [kind for kind, text in REMEDIES.items() if isinstance(text, str)])
def test_the_command_line_adds_the_remedy_of_an_error(kind):
    assert message(kind("it broke")) == f"it broke. {REMEDIES[kind]}"
    assert message(InvalidInputError("it broke")) == "it broke"


def test_remedies_name_the_library_and_the_folder_as_a_shell_takes_them():
    missing = MissingLibraryError("no library", "my sounds")
    assert message(missing).endswith("--model MODEL --library 'my sounds'")
    lost = LostFolderError("it is gone", "/media/my drive")
    assert message(lost) == "it is gone. To remove it: otomatch remove LIBRARY '/media/my drive'"


@pytest.mark.parametrize(
    "text",
    [text for text in [*REMEDIES.values(), *FAILURE_REMEDIES.values()] if isinstance(text, str)],
)
def test_fields_in_remedies_exist(text):
    sections = "|".join(Config.model_fields)
    assert set(re.findall(rf"\b(?:{sections})\.[a-z_]+", text)) <= fields()


@pytest.mark.parametrize("failure", FAILURE_REMEDIES)
def test_the_command_line_adds_the_fields_of_a_training_failure(failure):
    warning = TrainingWarning("it fails", failure)
    assert warning_message(warning) == f"it fails. {FAILURE_REMEDIES[failure]}"
