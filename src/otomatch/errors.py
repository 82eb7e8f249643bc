"""One exception per cause; every message says what was found, what was expected, what to do."""


class OtomatchError(Exception):
    """Base of every error that otomatch raises on purpose."""


class InvalidInputError(OtomatchError, ValueError):
    """An argument has a wrong shape, value or type."""


class ConfigError(OtomatchError, ValueError):
    """A configuration file or override is wrong."""


class AudioError(OtomatchError):
    """A sound file cannot be read or holds no audio."""


class MissingDecoderError(AudioError):
    """A sound file needs an extra package to be read; the message names it."""


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
