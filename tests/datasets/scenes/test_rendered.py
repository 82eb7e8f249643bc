"""Rendered instruments as sources of scenes."""

from itertools import pairwise

import numpy as np
import pytest

from otomatch.datasets.scenes import rendered
from otomatch.datasets.scenes.composition import compose
from otomatch.datasets.scenes.recipes import every_recipe
from otomatch.datasets.scenes.sounds import load_stems
from otomatch.errors import InvalidInputError, MissingDependencyError
from tests.support.scenes import truth
from tests.support.sounds import (
    needs_midi,
)


@needs_midi
def test_rendered_training_and_test_share_classes_but_no_note_rhythm_or_pair():
    notes = {}
    for split in rendered.SPLITS:
        notes[split] = {
            (i.label, pitch + (step if i.melodic and i.low is not None else 0))
            for i in rendered.INSTRUMENTS
            for pitch in rendered.pitches(i, split)
            for rhythm in rendered.RHYTHMS[split].values()
            for _, _, step in rhythm
        }
    assert not notes["train"] & notes["test"]
    labels = [i.label for i in rendered.INSTRUMENTS]
    assert {label for label, _ in notes["train"]} == {label for label, _ in notes["test"]}
    timing = {
        split: {tuple((on, off) for on, off, _ in r) for r in rendered.RHYTHMS[split].values()}
        for split in rendered.SPLITS
    }
    assert not timing["train"] & timing["test"]
    train, test = (
        {
            frozenset(recipe.labels)
            for recipe in every_recipe(labels, rendered.pair_rule(split))
            if recipe.kind != "single"
        }
        for split in rendered.SPLITS
    )
    assert not train & test
    assert len(train | test) == 24 * 23 / 2
    assert all(sum(label in pair for pair in test) >= 5 for label in labels)


@needs_midi
def test_every_rendered_sound_is_audible_finite_and_independent_of_those_before_it():
    sounds = rendered.rendered_sounds("test")
    assert len({sound.label for sound in sounds}) == 24
    assert len({sound.name for sound in sounds}) == len(sounds)
    chosen = sounds[::19]
    there = [sound.load() for sound in chosen]
    back = [sound.load() for sound in reversed(chosen)][::-1]
    for sound, one, two in zip(chosen, there, back, strict=True):
        assert np.isfinite(one).all()
        assert np.abs(one).max() > 0.01, sound
        assert np.array_equal(one, two), sound


@pytest.mark.slow
@needs_midi
def test_no_rendered_sound_is_silent():
    assert load_stems(rendered.rendered_sounds("train")).skipped == ()


@pytest.mark.slow
@needs_midi
def test_rendered_test_scenes_hold_only_pairs_that_training_never_hears(tmp_path):
    data = compose("midi", tmp_path / "out", split="test", clips=60, seconds=3.0)
    assert data.skipped == ()
    assert len({clip.label for clip in data.clips}) > 40
    allowed = rendered.pair_rule("train")
    pairs = [(r["first_label"], r["second_label"]) for r in truth(data) if r["second_label"]]
    assert len(pairs) == 54
    assert not any(allowed(*pair) for pair in pairs)


@needs_midi
def test_octaves_double_the_frequency_of_a_rendered_flute():
    flute = next(i for i in rendered.INSTRUMENTS if i.label == "flute")
    by_name = {sound.name: sound for sound in rendered.rendered_sounds("train")}
    pitches = rendered.pitches(flute, "train")
    found = []
    for pitch in pitches:
        waveform = by_name[f"flute/{pitch:g}/long"].load()[8000:40000]
        found.append(np.abs(np.fft.rfft(waveform * np.hanning(32000))).argmax())
    expected = [440 * 2 ** ((pitch - 69) / 12) for pitch in pitches]
    ratios = np.array(found) / expected
    # Some notes are loudest at a harmonic.
    assert np.allclose(ratios, ratios.round(), atol=0.05)
    assert all(a < b for a, b in pairwise(expected))


def test_missing_packages_are_named_with_the_command_that_installs_them(tmp_path, monkeypatch):
    monkeypatch.setattr(rendered, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match="pip install --no-deps tinysoundfont pretty_"):
        compose("midi", tmp_path / "out")


def test_rendered_sounds_take_a_split_not_folds(tmp_path):
    with pytest.raises(InvalidInputError, match="folds are for recordings"):
        compose("midi", tmp_path / "out", folds=[1])
    with pytest.raises(InvalidInputError, match="train and test, got 'val'"):
        compose("midi", tmp_path / "out", split="val")
