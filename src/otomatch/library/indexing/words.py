"""The text by which full-text search finds a file: its names, its tags, what tables say of it."""

import unicodedata
from collections.abc import Iterable
from itertools import groupby, pairwise
from pathlib import Path


def words(path: Path, root: Path, *known: str | None) -> str:
    """Searchable text of a file: the words of its name and its folders', and what is known of it.

    In Unicode's composed form (NFC), however the file system spells accents: queries must be too.

    Args:
        path: the file.
        root: the folder that is indexed; those above it say nothing about the sound.
        known: tags, label, caption.
    """
    below = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
    names = [root.name, *below.parent.parts, path.stem]
    parts: Iterable[str | None] = (*map(split_name, names), *known)
    return unicodedata.normalize("NFC", " ".join(part for part in parts if part))


def split_name(name: str) -> str:
    """The words of a name like ``DogBark_03-loud``, whatever its script."""
    name = unicodedata.normalize("NFC", name)
    humps = (" " if a.islower() and b.isupper() else "" for a, b in pairwise(name))
    spaced = "".join(letter + hump for letter, hump in zip(name, [*humps, ""], strict=True))
    return " ".join("".join(run) for kind, run in groupby(spaced, _kind) if kind)


def _kind(letter: str) -> str:
    """What a character makes part of: a word, a number, or nothing."""
    category = unicodedata.category(letter)[0]
    return {"L": "word", "M": "word", "N": "number"}.get(category, "")  # M: vowels of Hindi, Thai
