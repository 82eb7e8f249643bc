"""Messages of the library: no command-line options, no configuration fields; the CLI adds those."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import otomatch
from otomatch.cli.remedies import FAILURE_REMEDIES, REMEDIES, message, warning_message
from otomatch.errors import InvalidInputError
from otomatch.training.config import Config
from otomatch.training.diagnostics import TrainingWarning

SOURCE = Path(otomatch.__file__).parent
ALLOWED = {"cli", "training/config.py", "training/sections.py"}  # whose subject these are
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]+")


def fields() -> set[str]:
    """All configuration fields, such as ``loss.epsilon``."""
    found = set()
    for section, info in Config.model_fields.items():
        for kind in get_args(info.annotation) or (info.annotation,):
            found |= {f"{section}.{field}" for field in kind.model_fields}
    return found


def messages() -> Iterator[tuple[str, str]]:
    """Texts of the errors that are raised and the warnings that are given, with their places."""
    for path in sorted(SOURCE.rglob("*.py")):
        name = str(path.relative_to(SOURCE))
        if name in ALLOWED or name.split("/")[0] in ALLOWED:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) or (
                isinstance(node, ast.Call)
                and ast.unparse(node.func).rpartition(".")[2] in ("warn", "Error", "Skipped")
            ):
                texts = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
                yield f"{name}:{node.lineno}", " ".join(filter(str.__instancecheck__, texts))


def test_no_message_names_an_option_or_a_field():
    known = fields()
    assert {"loss.epsilon", "optim.lr", "data.path"} <= known
    found = dict(messages())
    assert len(found) > 200
    pip = "--no-deps"  # of pip, in the remedy for a package
    named = {
        place: text
        for place, text in found.items()
        if OPTION.search(text.replace(pip, "")) or any(field in text for field in known)
    }
    assert named == {}


@pytest.mark.parametrize("kind", REMEDIES)
def test_the_command_line_adds_the_remedy_of_an_error(kind):
    assert message(kind("it broke")) == f"it broke. {REMEDIES[kind]}"
    assert message(InvalidInputError("it broke")) == "it broke"


@pytest.mark.parametrize("text", [*REMEDIES.values(), *FAILURE_REMEDIES.values()])
def test_fields_in_remedies_exist(text):
    sections = "|".join(Config.model_fields)
    assert set(re.findall(rf"\b(?:{sections})\.[a-z_]+", text)) <= fields()


@pytest.mark.parametrize("failure", FAILURE_REMEDIES)
def test_the_command_line_adds_the_fields_of_a_training_failure(failure):
    warning = TrainingWarning("it fails", failure)
    assert warning_message(warning) == f"it fails. {FAILURE_REMEDIES[failure]}"
