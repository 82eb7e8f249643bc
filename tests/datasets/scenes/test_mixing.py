"""Waveforms of scenes: order, levels and edges."""

import numpy as np
import pytest

from otomatch.datasets.scenes import mixing
from tests.support.sounds import (
    RATE,
    band_level,
    hiss,
    silence,
    tone,
)


def pulses(count, seed=0):
    """Short noise pulses: an impulsive sound with gaps."""
    return np.concatenate([np.concatenate([hiss(0.05, 0.3, seed), silence(0.2)])] * count)[:-6400]


STEMS = {
    "tone": tone(500, 0.5, 0.01),
    "long tone": tone(500, 7.0, 0.9),
    "noise": hiss(6.0, 0.2),
    "pulses": pulses(4),
    "click": hiss(0.012, 0.5),
}


@pytest.mark.parametrize("first", STEMS)
@pytest.mark.parametrize("second", STEMS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_in_a_sequence_the_first_sound_ends_before_the_second_begins(first, second, seed):
    rng = np.random.default_rng(seed)
    one, two = mixing.sequence(STEMS[first], STEMS[second], 5 * RATE, rng)
    heard = [np.flatnonzero(layer.waveform) for layer in (one, two)]
    assert heard[0][-1] < heard[1][0]
    assert heard[0][-1] / RATE <= one.end <= two.start <= heard[1][0] / RATE
    assert 0 <= one.start < one.end <= two.start < two.end <= 5.0
    assert abs(one.level - two.level) <= 4.0


@pytest.mark.parametrize("front", STEMS)
@pytest.mark.parametrize("behind", STEMS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_in_an_overlap_the_second_sound_is_6_to_12_db_quieter_and_spans_the_scene(
    front, behind, seed
):
    rng = np.random.default_rng(seed)
    one, two = mixing.overlap(STEMS[front], STEMS[behind], 5 * RATE, rng)
    difference = mixing.level(one.waveform) - mixing.level(two.waveform)
    assert 6.0 - 0.01 <= difference <= 12.0 + 0.01
    heard = np.flatnonzero(two.waveform) / RATE
    assert heard[0] < 0.01
    assert heard[-1] > 4.4
    assert np.diff(heard).max() < 0.7  # the pauses between repetitions, and the stem's own
    assert two.start <= one.start < one.end <= two.end + 0.5


@pytest.mark.parametrize("name", STEMS)
def test_levels_are_comparable_and_nothing_clips(name):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        (layer,) = mixing.single(STEMS[name], 3 * RATE, rng)
        assert mixing.level(layer.waveform) == pytest.approx(layer.level, abs=0.01)
        assert np.abs(layer.waveform).max() <= mixing.PEAK + 1e-6
        if name != "click":
            assert -26.1 <= layer.level <= -19.9


def test_the_level_of_a_sound_ignores_its_pauses():
    steady = hiss(1.0, 0.1)
    paused = np.concatenate([steady, silence(3.0)])
    assert mixing.level(steady) == pytest.approx(-20.0, abs=0.2)
    assert mixing.level(paused) == pytest.approx(mixing.level(steady), abs=0.01)


def test_trimming_cuts_silence_and_residue_at_the_ends_but_no_pause_within():
    sound = np.concatenate([tone(500, 0.3), silence(0.5), tone(500, 0.3)])
    faint = hiss(1.0, 1e-5)
    trimmed = mixing.trim(np.concatenate([silence(1.0), faint, sound, faint, silence(2.0)]))
    assert abs(len(trimmed) - len(sound)) <= RATE // 50
    assert len(mixing.trim(silence(1.0))) == 0
    assert len(mixing.trim(hiss(1.0, 1e-6))) == 0


def test_of_a_long_recording_an_active_part_is_taken():
    recording = np.concatenate([tone(500, 0.4), silence(8.0), tone(500, 0.4)])
    for seed in range(10):
        (layer,) = mixing.single(recording, 2 * RATE, np.random.default_rng(seed))
        assert band_level(layer.waveform, 500) > -40


def test_sounds_begin_and_end_without_a_click():
    for seed in range(5):
        for layer in mixing.sequence(
            STEMS["long tone"],
            tone(500, 7.0, 0.9, phase=1.5),
            5 * RATE,
            np.random.default_rng(seed),
        ):
            edges = np.flatnonzero(layer.waveform)[[0, -1]]
            assert np.abs(layer.waveform[edges]).max() < 0.02
