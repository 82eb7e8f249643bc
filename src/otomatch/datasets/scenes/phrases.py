"""Write captions of scenes as a person might describe one or two sounds.

A caption is a clause or a noun phrase in lower case without a final period. The words of a class
come from `otomatch.datasets.scenes.vocabulary`; other labels get generic phrases ("the sound of
LABEL").
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from otomatch.datasets.scenes.vocabulary import ALIASES, RECORDED, RENDERED
from otomatch.errors import InvalidInputError, one_of

SINGLE = (
    "{a_clause}",
    "{a_progress}",
    "{a_noun}",
    "{a_noun} can be heard",
    "{a_noun} is heard on its own",
    "the sound of {a_doing}",
    "you can hear {a_noun}",
    "nothing but {a_noun}",
    "a recording of {a_doing}",
    "{a_clause} and nothing else is heard",
    "somewhere {a_clause}",
    "there is only the sound of {a_doing}",
)

SEQUENCE = (
    "{a_clause}, then {b_clause}",
    "first {a_clause}, then {b_clause}",
    "{a_clause} before {b_clause}",
    "{b_clause} after {a_clause}",
    "after {a_clause}, {b_clause}",
    "{a_noun} followed by {b_noun}",
    "{a_noun}, then {b_noun}",
    "{a_progress}, and then {b_progress}",
    "{b_noun} following {a_noun}",
    "{a_noun} gives way to {b_noun}",
    "{a_clause} and afterwards {b_clause}",
    "{a_clause}, and later {b_clause}",
    "the sound of {a_doing} stops and {b_clause}",
    "{a_noun} at first, {b_noun} at the end",
    "{a_clause}, followed by {b_noun}",
    "{b_noun} comes after {a_noun}",
)

OVERLAP = (
    "{a_clause} while {b_clause} quietly in the background",
    "{a_clause} over the faint sound of {b_doing}",
    "{b_noun} can be heard faintly behind {a_noun}",
    "{b_noun} behind {a_noun}",
    "{a_noun} over {b_noun}",
    "{a_noun} with {b_noun} in the background",
    "{a_clause} with {b_noun} faintly in the background",
    "as {a_clause}, {b_clause} softly in the background",
    "{a_progress}, louder than {b_noun}",
    "{a_noun} almost drowns out {b_noun}",
    "{a_noun} in the foreground and {b_noun} in the distance",
    "behind {a_noun}, {b_clause} faintly",
    "in the background {b_clause} quietly while {a_clause}",
    "{a_clause}, and {b_noun} is just audible underneath",
    "{a_progress} while {b_progress} faintly underneath",
    "{b_noun} is nearly covered by {a_noun}",
)

TEMPLATES = {"single": SINGLE, "sequence": SEQUENCE, "overlap": OVERLAP}
"""Templates of captions for each kind of scene."""


@dataclass(frozen=True, slots=True)
class Phrases:
    """Phrases for one class of sounds; every phrase of a form fits every template with that form.

    Attributes:
        clause: Finite clauses: "a dog barks".
        progress: Progressive clauses: "a dog is barking".
        doing: Subject and participle, to follow "the sound of": "a dog barking".
        noun: Singular noun phrases: "a barking dog".
    """

    clause: tuple[str, ...]
    progress: tuple[str, ...]
    doing: tuple[str, ...]
    noun: tuple[str, ...]


def phrases_for(label: str) -> Phrases:
    """Return the phrases for a class, or generic ones if the label is not in the vocabulary.

    Args:
        label: Class name in any case, with spaces or underscores.

    Raises:
        InvalidInputError: The label is blank.
    """
    name = " ".join(label.replace("_", " ").lower().split())
    if not name:
        raise InvalidInputError(f"the label is {label!r}; expected at least one word")
    return phrase_table().get(ALIASES.get(name, name)) or _plain(name)


@cache
def phrase_table() -> dict[str, Phrases]:
    """Return the phrases of every class in the vocabulary, by label."""
    found = {}
    for table in (RECORDED, RENDERED):
        for entry in table.strip().replace("\n  ", " ").splitlines():
            label, _, words = entry.partition(":")
            actions, _, nouns = words.partition("=")
            found[label] = _phrases(_fields(actions), tuple(_fields(nouns)))
    return found


def scene_captions(
    kind: str, labels: tuple[str, ...], rng: np.random.Generator, count: int = 5
) -> tuple[str, ...]:
    """Return distinct captions of one scene, each from a different template.

    Args:
        kind: ``single``, ``sequence`` (the first, then the second) or ``overlap`` (the first over
            the second).
        labels: Class of each sound: one for ``single``, two otherwise.
        rng: Random generator for templates and words.
        count: Number of captions, 1 to the number of templates of the kind (at least 12).

    Raises:
        InvalidInputError: The kind is unknown, or the number of labels or captions does not fit.
    """
    one_of("the kind of scene", kind, TEMPLATES)
    expected = 1 if kind == "single" else 2
    if len(labels) != expected:
        raise InvalidInputError(f"a {kind} scene needs {expected} label(s), got {labels}")
    templates = TEMPLATES[kind]
    if not 1 <= count <= len(templates):
        raise InvalidInputError(
            f"the number of captions is {count}; expected 1 to {len(templates)}"
        )
    words = [phrases_for(label) for label in labels]
    found: dict[str, None] = {}  # a dict keeps the order
    for row in rng.permutation(len(templates)):
        if len(found) < count:
            found[_fill(templates[row], words, rng)] = None
    return tuple(found)


def _fill(template: str, words: list[Phrases], rng: np.random.Generator) -> str:
    chosen = {
        f"{slot}_{form}": options[rng.integers(len(options))]
        for slot, phrases in zip("ab", words, strict=False)
        for form in ("clause", "progress", "doing", "noun")
        for options in (getattr(phrases, form),)
    }
    return template.format(**chosen)


def _phrases(actions: list[str], nouns: tuple[str, ...]) -> Phrases:
    parts = [[part.strip() for part in action.split("|")] for action in actions]
    return Phrases(
        clause=tuple(f"{subject} {verb}" for subject, verb, _ in parts),
        progress=tuple(f"{subject} {_be(verb)} {doing}" for subject, verb, doing in parts),
        doing=tuple(f"{subject} {doing}" for subject, _, doing in parts),
        noun=nouns,
    )


def _be(verb: str) -> str:
    # "barks" is singular, "bark" and "hiss" are plural.
    first = verb.split()[0]
    return "is" if first.endswith("s") and not first.endswith("ss") else "are"


def _fields(text: str) -> list[str]:
    return [field.strip() for field in text.split(";")]


def _plain(label: str) -> Phrases:
    article = "an" if label[0] in "aeiou" else "a"
    actions = [
        f"{article} {label} sound|plays|playing",
        f"{article} {label} sound|rings out|ringing out",
    ]
    nouns = (f"the sound of {label}", f"{article} {label} sound", f"the noise of {label}")
    return _phrases(actions, nouns)
