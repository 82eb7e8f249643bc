"""Exceptions, one per cause, and the argument checks that all packages share.

Every message states what was found, what was expected and, where possible, what to do about it.
"""

import math
import numbers
import operator
from collections.abc import Collection
from typing import Any, TypeVar

T = TypeVar("T")


class OtomatchError(Exception):
    """Base class of all errors that otomatch raises deliberately."""


class InvalidInputError(OtomatchError, ValueError):
    """An argument has an invalid shape, value or type."""


class ConfigError(OtomatchError, ValueError):
    """A configuration file or override is invalid."""


class OpenHostError(ConfigError):
    """The server would be open to other machines without a token."""


class TokenError(ConfigError):
    """The token of the server is too short or has unsupported characters."""


class AudioError(OtomatchError):
    """A sound file cannot be read, or a waveform is unusable."""


class DatasetError(OtomatchError):
    """A data set folder is missing, malformed or without usable clips."""


class MissingDatasetError(DatasetError):
    """No data set was given to train on."""


class DownloadError(OtomatchError):
    """A file cannot be downloaded or unpacked, or differs from the published one."""


class ModelError(OtomatchError):
    """A model folder is missing, incomplete or in an unknown format."""


class RunError(OtomatchError):
    """A training run cannot start, resume or continue."""


class DivergedError(RunError):
    """Training diverged: the loss, the gradient or the weights are not finite."""


class OccupiedFolderError(RunError):
    """The output folder of studies holds something else."""


class LibraryError(OtomatchError):
    """A sound library is missing, damaged or built with another model."""


class MissingLibraryError(LibraryError):
    """There is no sound library at the place given.

    Attributes:
        uri: Folder or URI of the library.
    """

    def __init__(self, message: str, uri: str) -> None:
        super().__init__(message, uri)
        self.uri = uri

    def __str__(self) -> str:
        return str(self.args[0])


class LostFolderError(LibraryError):
    """A folder is missing or has no sounds, but the library has sounds from there.

    Attributes:
        folder: Path of the folder.
    """

    def __init__(self, message: str, folder: str) -> None:
        super().__init__(message, folder)
        self.folder = folder

    def __str__(self) -> str:
        return str(self.args[0])


class WindowMismatchError(LibraryError):
    """A library was created with windows of another length or distance."""


class MissingDependencyError(OtomatchError, ImportError):
    """An optional package is not installed; the message names the install command."""


class MissingDecoderError(AudioError, MissingDependencyError):
    """A sound file needs a decoder that is not installed; the file itself may be fine."""


def one_of(name: str, value: T, allowed: Collection[T]) -> T:
    """Return ``value``; raise InvalidInputError unless it is one of ``allowed``."""
    if value not in allowed:
        raise InvalidInputError(
            f"{name} is {value!r}; expected one of {', '.join(map(str, allowed))}"
        )
    return value


def at_least(name: str, value: int, minimum: int) -> int:
    """Return ``value``; raise InvalidInputError unless it is a whole number >= ``minimum``."""
    try:
        valid = not isinstance(value, bool) and operator.index(value) >= minimum
    except TypeError:
        valid = False
    if not valid:
        raise InvalidInputError(f"{name} is {value!r}; expected a whole number >= {minimum}")
    return value


def positive(name: str, value: float) -> float:
    """Return ``value``; raise InvalidInputError unless it is a finite number > 0."""
    if not 0 < _number(value) < math.inf:
        raise InvalidInputError(f"{name} is {value!r}; expected a finite number > 0")
    return value


def non_negative(name: str, value: float) -> float:
    """Return ``value``; raise InvalidInputError unless it is a finite number >= 0."""
    if not 0 <= _number(value) < math.inf:
        raise InvalidInputError(f"{name} is {value!r}; expected a finite number >= 0")
    return value


def _number(value: Any) -> float:
    """Return a real number or a tensor of one as a float, anything else as NaN."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return float(value) if is_number else math.nan
