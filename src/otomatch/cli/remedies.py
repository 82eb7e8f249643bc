"""Remedies in terms of the command line, for errors whose message cannot know it.

The library states cause, expectation and a remedy in its own terms. Where a command-line option or
a configuration field is the remedy, it stands here, by the class of the error.
"""

from otomatch.errors import OtomatchError

REMEDIES: dict[type[OtomatchError], str] = {}
"""Sentence to add to the message of an error of exactly this class."""


def message(error: OtomatchError) -> str:
    """Return the error's message with the remedy of its class."""
    remedy = REMEDIES.get(type(error))
    return str(error) if remedy is None else f"{error}. {remedy}"
