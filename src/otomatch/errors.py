"""One exception per cause, and the checks of arguments that all rooms share.

Every message says what was found, what was expected, and where possible what to do about it.
"""

import math
import numbers
from collections.abc import Collection
from typing import TypeVar

T = TypeVar("T")


class OtomatchError(Exception):
    """Base of every error that otomatch raises on purpose."""


class InvalidInputError(OtomatchError, ValueError):
    """An argument has a wrong shape, value or type."""


class ConfigError(OtomatchError, ValueError):
    """A configuration file or override is wrong."""


class AudioError(OtomatchError):
    """A sound file cannot be read or holds no audio."""


class DatasetError(OtomatchError):
    """A data set folder is missing, malformed or has no usable rows."""


class DownloadError(OtomatchError):
    """A published file cannot be had, or is not the published one."""


class ModelError(OtomatchError):
    """A model folder is missing, incomplete or of another format."""


class RunError(OtomatchError):
    """A training run cannot start, resume or go on."""


class LibraryError(OtomatchError):
    """A sound library is missing, or belongs to another model."""


class MissingDependencyError(OtomatchError, ImportError):
    """An optional package is needed; the message names the install command."""


class MissingDecoderError(AudioError, MissingDependencyError):
    """A sound file needs a decoder that is not installed; nothing is wrong with the file."""


def one_of(name: str, value: T, allowed: Collection[T]) -> T:
    """Return ``value``; raise InvalidInputError unless it is one of ``allowed``."""
    if value not in allowed:
        raise InvalidInputError(
            f"{name} is {value!r}; expected one of {', '.join(map(str, allowed))}"
        )
    return value


def at_least(name: str, value: int, minimum: int) -> int:
    """Return ``value``; raise InvalidInputError unless it is a whole number >= ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < minimum:
        raise InvalidInputError(f"{name} is {value!r}; expected a whole number >= {minimum}")
    return value


def positive(name: str, value: float) -> float:
    """Return ``value``; raise InvalidInputError unless it is a finite number > 0."""
    if not _is_number(value) or not 0 < value < math.inf:
        raise InvalidInputError(f"{name} is {value!r}; expected a finite number > 0")
    return value


def non_negative(name: str, value: float) -> float:
    """Return ``value``; raise InvalidInputError unless it is a finite number >= 0."""
    if not _is_number(value) or not 0 <= value < math.inf:
        raise InvalidInputError(f"{name} is {value!r}; expected a finite number >= 0")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
