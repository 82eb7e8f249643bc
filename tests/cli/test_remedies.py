"""What the command line adds to the messages of the library."""

import re

import pytest

from otomatch.cli.remedies import FAILURE_REMEDIES, REMEDIES, message, warning_message
from otomatch.errors import DivergedError, RunError
from otomatch.training import diagnostics
from otomatch.training.config import load_config
from otomatch.training.diagnostics import TrainingWarning


@pytest.mark.parametrize(
    ("failure", "fields"),
    [
        ("gap", ["optim.lr", "ground.name", "loss.mass"]),
        ("uniform", ["loss.epsilon", "optim.lr"]),
        ("converged", ["loss.epsilon", "loss.max_iterations"]),
        ("exploding", ["optim.lr", "optim.clip_norm", "optim.warmup"]),
        ("mass", ["loss.target", "loss.mass", "optim.lr"]),
        ("rank", ["optim.lr", "model.dropout", "ground.name=low-rank"]),
    ],
)
def test_a_training_warning_names_the_fields_that_concern_its_failure(failure, fields):
    text = warning_message(TrainingWarning("it failed", failure))
    assert text.startswith("it failed. ")
    assert all(field in text for field in fields)


def test_every_failure_has_a_remedy_and_other_warnings_have_none():
    assert FAILURE_REMEDIES.keys() == diagnostics._CHECKS.keys()
    assert warning_message(UserWarning("plain")) == warning_message("plain") == "plain"


def test_every_field_that_a_remedy_names_exists():
    named = [re.findall(r"\b([a-z]+)\.([a-z_]+)", text) for text in FAILURE_REMEDIES.values()]
    texts = [text for text in REMEDIES.values() if isinstance(text, str)]
    named += [re.findall(r"\b([a-z]+)\.([a-z_]+)", text) for text in texts]
    config = load_config()
    for section, field in (pair for pairs in named for pair in pairs):
        assert field in type(getattr(config, section)).model_fields, f"{section}.{field}"


def test_an_error_gets_the_remedy_of_exactly_its_class():
    assert "optim.lr" in message(DivergedError("the loss is nan"))
    assert message(RunError("the folder is not empty")) == "the folder is not empty"
