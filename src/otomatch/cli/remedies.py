"""Remedies in terms of the command line, by the class of an error or the name of a failure.

Messages of the library state cause, expectation and remedy without options or configuration fields,
which mean nothing to a Python caller. The command line adds them from these tables.
"""

import shlex
from collections.abc import Callable
from typing import Any

from otomatch.errors import (
    DivergedError,
    LostFolderError,
    MissingDatasetError,
    MissingLibraryError,
    OccupiedFolderError,
    OpenHostError,
    OtomatchError,
    TokenError,
    WindowMismatchError,
)


def _create_library(error: MissingLibraryError) -> str:
    library = shlex.quote(error.uri)
    return f"Create one with: otomatch index FOLDER --model MODEL --library {library}"


def _remove_folder(error: LostFolderError) -> str:
    return f"To remove it: otomatch remove LIBRARY {shlex.quote(error.folder)}"


REMEDIES: dict[type[OtomatchError], str | Callable[[Any], str]] = {
    DivergedError: "Try --set optim.lr=... with a tenth of that, or --set optim.warmup=0.2",
    LostFolderError: _remove_folder,
    MissingDatasetError: "Give it with --data, or as data.path in the configuration",
    MissingLibraryError: _create_library,
    OccupiedFolderError: "Choose another folder with --out",
    OpenHostError: "Give a secret with --token, or leave out --host",
    TokenError: "Give it with --token or in the variable OTOMATCH_TOKEN",
    WindowMismatchError: "Leave out --window and --hop",
}
"""Sentence to add to the message of an error of exactly this class, or a function that makes it."""

FAILURE_REMEDIES = {
    "gap": "Fields: optim.lr, ground.name=full; loss.target=trimmed with loss.mass=auto",
    "uniform": "Fields: loss.epsilon, loss.scale, optim.lr",
    "converged": "Fields: loss.epsilon, loss.max_iterations",
    "exploding": "Fields: optim.lr, optim.clip_norm, optim.warmup",
    "mass": "Fields: loss.target=trimmed with loss.mass=auto, optim.lr",
    "rank": "Fields: optim.lr, model.dropout, ground.name=low-rank or ground.name=diagonal",
}
"""Configuration fields to add to a `TrainingWarning`, by the name of its failure."""


def message(error: OtomatchError) -> str:
    """Return the error's message with the remedy of its class."""
    remedy = REMEDIES.get(type(error))
    return _with_remedy(str(error), remedy(error) if callable(remedy) else remedy)


def warning_message(warning: Warning | str) -> str:
    """Return a warning's message, with the configuration fields that concern a training failure."""
    failure = getattr(warning, "failure", "")
    return _with_remedy(str(warning), FAILURE_REMEDIES.get(failure))


def _with_remedy(text: str, remedy: str | None) -> str:
    return text if remedy is None else f"{text}. {remedy}"
