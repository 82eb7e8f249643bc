import re

import numpy as np
import pytest

from otomatch.datasets.scenes.phrases import TEMPLATES, phrase_table, phrases_for, scene_captions
from otomatch.datasets.scenes.rendered import INSTRUMENTS
from otomatch.errors import InvalidInputError

ESC50_NAMES = """dog rooster pig cow frog cat hen insects sheep crow rain sea_waves crackling_fire
crickets chirping_birds water_drops wind pouring_water toilet_flush thunderstorm crying_baby
sneezing clapping breathing coughing footsteps laughing brushing_teeth snoring drinking_sipping
door_wood_knock mouse_click keyboard_typing door_wood_creaks can_opening washing_machine
vacuum_cleaner clock_alarm clock_tick glass_breaking helicopter chainsaw siren car_horn engine train
church_bells airplane fireworks hand_saw"""
ESC50 = ESC50_NAMES.split()
ESC10 = ["dog bark", "rain", "sea waves", "baby cry", "clock tick", "person sneeze", "helicopter"]
ESC10 += ["chainsaw", "rooster", "fire crackling"]
LABELS = sorted({*ESC50, *ESC10, *(instrument.label for instrument in INSTRUMENTS)})
UNKNOWN = ["kettle whistle", "Air_Raid  alarm"]


def every_caption(label, other="rain", draws=12):
    """Many captions of each kind with the label in both roles."""
    rng = np.random.default_rng(0)
    other = "dog" if label == other else other
    scenes = [("single", (label,))]
    scenes += [(k, p) for k in ("sequence", "overlap") for p in ((label, other), (other, label))]
    for kind, labels in scenes:
        for _ in range(draws):
            yield from scene_captions(kind, labels, rng, len(TEMPLATES[kind]))


def test_there_are_words_for_all_of_esc50_esc10_and_the_instruments():
    assert len(ESC50) == 50
    for label in LABELS:
        words = phrases_for(label)
        assert len(words.clause) >= 2, label
        assert len(words.noun) >= 3, label
        assert f"a {label} sound" not in words.noun
        assert f"an {label} sound" not in words.noun


@pytest.mark.parametrize("label", LABELS + UNKNOWN)
def test_captions_are_clean_english_text(label):
    for text in every_caption(label):
        assert text == " ".join(text.split()), text
        assert text == text.lower(), text
        assert re.fullmatch(r"[a-z][a-z' ,-]*[a-z]", text), text
        assert not re.search(r"\ba [aeiou]", text), text
        assert not re.search(r"\ban [^aeiou]", text), text
        assert not re.search(r"\b(\w+) \1\b", text), text
        assert len(text.split()) <= 24, text


@pytest.mark.parametrize("label", LABELS)
def test_verbs_agree_with_their_subjects(label):
    words = phrases_for(label)
    for clause, progress, doing in zip(words.clause, words.progress, words.doing, strict=True):
        subject = clause
        while not progress.startswith((f"{subject} is ", f"{subject} are ")):
            subject = subject.rpartition(" ")[0]
        plural = progress.startswith(f"{subject} are ")
        verb = clause.removeprefix(subject).split()[0]
        if subject.startswith(("a ", "an ", "some")):
            assert not plural, clause
            assert re.search(r"[^s]s$", verb), clause
        if plural:
            assert re.search(r"([^s]|ss)$", verb), clause
            assert re.search(r"(s|sheep|cattle|people)$|bells of a church$", subject), clause
        assert f"{subject} {'are' if plural else 'is'}" + doing.removeprefix(subject) == progress
        assert doing.removeprefix(subject).split()[0].endswith("ing"), doing


@pytest.mark.parametrize("label", LABELS)
def test_noun_phrases_are_singular(label):
    for noun in phrases_for(label).noun:
        singular = noun.startswith(("a ", "an ", "the "))
        assert singular or not re.search(r"(?<!glas)s$", noun), noun
        assert not re.match(r"the \w+s( of|$)", noun) or noun.startswith("the hiss"), noun


@pytest.mark.slow
def test_no_caption_holds_a_raw_label_that_is_no_phrase():
    raw = ["dog bark", "baby cry", "person sneeze", "fire crackling", "door wood", "clock alarm"]
    raw += ["drinking sipping", "can opening", "hand claps", "water drops", "_"]
    for label in LABELS:
        for text in every_caption(label, draws=3):
            assert not any(re.search(rf"(?<!\ba ){name}\b", text) for name in raw), text


@pytest.mark.parametrize("kind", list(TEMPLATES))
def test_five_captions_of_a_clip_are_five_different_wordings(kind):
    for seed in range(200):
        rng = np.random.default_rng(seed)
        labels = tuple(rng.choice(LABELS, 1 if kind == "single" else 2, replace=False).tolist())
        assert len(set(scene_captions(kind, labels, rng))) == 5


@pytest.mark.parametrize("kind", ["sequence", "overlap"])
def test_no_wording_fits_both_orders_of_two_sounds(kind):
    rng = np.random.default_rng(0)
    forth, back = (
        {text for _ in range(200) for text in scene_captions(kind, labels, rng, 16)}
        for labels in (("dog bark", "rain"), ("rain", "dog bark"))
    )
    assert len(forth) > 100
    assert not forth & back


def test_the_forms_people_search_with_are_there():
    rng = np.random.default_rng(0)
    found = {t for _ in range(600) for t in scene_captions("overlap", ("dog bark", "rain"), rng)}
    found |= {t for _ in range(600) for t in scene_captions("sequence", ("dog bark", "rain"), rng)}
    assert "rain behind a barking dog" in found
    assert "a dog barks, then rain falls" in found
    assert "rain falls after a dog barks" in found
    assert "first a dog barks, then rain falls" in found
    assert "a dog barks while rain falls quietly in the background" in found


def test_labels_match_in_any_case_and_with_underscores():
    assert phrases_for("Sea_Waves") == phrases_for("sea waves") == phrase_table()["sea waves"]
    assert phrases_for("dog bark") == phrases_for("dog")


def test_an_unknown_label_gets_plain_phrases():
    words = phrases_for("air raid alarm")
    assert "the sound of air raid alarm" in words.noun
    assert "an air raid alarm sound plays" in words.clause


def test_the_same_generator_gives_the_same_captions():
    first, second, other = (
        scene_captions("overlap", ("dog", "rain"), np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert first == second != other


def test_wrong_arguments_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(
        InvalidInputError, match="the kind of scene is 'chord'; expected one of single"
    ):
        scene_captions("chord", ("dog",), rng)
    with pytest.raises(InvalidInputError, match="needs 2 label"):
        scene_captions("overlap", ("dog",), rng)
    with pytest.raises(InvalidInputError, match="is 13; expected 1 to 12"):
        scene_captions("single", ("dog",), rng, 13)
    with pytest.raises(InvalidInputError, match="at least one word"):
        phrases_for(" _ ")
