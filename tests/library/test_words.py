"""Searchable text: the words of names and folders."""

from pathlib import Path

import pytest

from otomatch.library.indexing.words import searchable_text, split_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("DogBark_03-loud", "Dog Bark 03 loud"),
        ("foleyFootsteps2take", "foley Footsteps 2 take"),
        ("СобакаЛает", "Собака Лает"),
        ("雨の音01", "雨の音 01"),
        ("e\u0301clairNo\u0308el", "éclair Nöel"),
        ("हिन्दी_गाना", "हिन्दी गाना"),
        ("BBC", "BBC"),
        ("🥁!!", ""),
    ],
)
def test_names_are_split_into_words_in_every_script(name, expected):
    assert split_name(name) == expected


def test_words_are_of_the_folder_and_below_it_and_nothing_above():
    path = Path("/home/me/fx/Water/RainOnRoof.wav")
    assert searchable_text(path, Path("/home/me/fx"), "BBC", None, "rain falls") == (
        "fx Water Rain On Roof BBC rain falls"
    )
