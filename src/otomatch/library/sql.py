"""Conditions in SQL."""

from collections.abc import Iterable, Iterator

from otomatch.errors import InvalidInputError

_VALUES_PER_CONDITION = 500


def quote(text: str) -> str:
    """Return a string literal in SQL.

    Raises:
        InvalidInputError: The text contains NUL characters or is not valid Unicode.
    """
    return "'" + check_text(text).replace("'", "''") + "'"


def check_text(text: str) -> str:
    """Return ``text`` if it is valid Unicode without NUL characters.

    Raises:
        InvalidInputError: It is not.
    """
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInputError(
            f"{text!r} is not valid text; remove NUL characters and unpaired surrogates"
        )
    return text


def any_of(column: str, values: Iterable[str]) -> Iterator[str]:
    """Yield conditions that together select the rows with any of some values in a column."""
    distinct = list(dict.fromkeys(values))
    for start in range(0, len(distinct), _VALUES_PER_CONDITION):
        block = distinct[start : start + _VALUES_PER_CONDITION]
        yield f"{column} IN ({', '.join(map(quote, block))})"
