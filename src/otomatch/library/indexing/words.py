"""Searchable text of a file: words of its names, its tags, label and caption."""

import unicodedata
from collections.abc import Iterable
from itertools import groupby, pairwise
from pathlib import Path


def searchable_text(path: Path, root: Path, *known: str | None) -> str:
    """Return the words of a file's name and folders, and what is known about it.

    The text is in Unicode's composed form (NFC), however the file system stores accents. Queries
    must be, too.

    Args:
        path: Path of the file.
        root: Folder being indexed; the folders above it say nothing about the sound.
        known: Tags, label and caption, each a text or None.
    """
    below = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
    names = [root.name, *below.parent.parts, path.stem]
    parts: Iterable[str | None] = (*map(split_name, names), *known)
    return unicodedata.normalize("NFC", " ".join(part for part in parts if part))


def split_name(name: str) -> str:
    """Return the words of a name such as ``DogBark_03-loud`` in any script, separated by spaces."""
    name = unicodedata.normalize("NFC", name)
    humps = (" " if a.islower() and b.isupper() else "" for a, b in pairwise(name))
    spaced = "".join(letter + hump for letter, hump in zip(name, [*humps, ""], strict=True))
    return " ".join("".join(run) for kind, run in groupby(spaced, _token_kind) if kind)


def _token_kind(letter: str) -> str:
    """Return "word" or "number", or "" for characters that separate tokens."""
    category = unicodedata.category(letter)[0]
    return {"L": "word", "M": "word", "N": "number"}.get(category, "")  # M: vowels of Hindi, Thai
