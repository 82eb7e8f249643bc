"""Captions that differ in length, case and vocabulary, for tests of text encoders."""

CAPTIONS = [
    "a dog barks",
    "rain",
    "",
    "the deep steady hum then a shrill whistle and the rain and the rain and the rain",
    "A DOG",
    "unheard of words",
]
