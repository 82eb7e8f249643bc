"""Composed scenes: their sounds, captions and records agree."""

import json

import numpy as np
import pytest
import soundfile

from otomatch.datasets.scenes import mixing
from otomatch.datasets.scenes.composition import compose
from otomatch.datasets.scenes.settings import SETTINGS_FILE
from tests.support.scenes import read_scene, truth
from tests.support.sounds import (
    RATE,
    TONES,
    band_level,
    esc10_root,
)


def test_every_clip_has_five_distinct_captions_and_a_label(mini_scenes):
    assert len(mini_scenes) == 60
    for clip in mini_scenes.clips:
        assert len(set(clip.captions)) == len(clip.captions) == 5
        assert clip.label
    assert mini_scenes.skipped == ()


def test_the_audio_is_mono_flac_of_the_asked_length_in_16_bits(mini_scenes):
    info = soundfile.info(mini_scenes.clips[0].path)
    assert (info.format, info.subtype, info.channels) == ("FLAC", "PCM_16", 1)
    assert (info.samplerate, info.frames) == (RATE, 2 * RATE)


def test_the_record_of_each_scene_tells_what_is_heard_when_and_how_loud(mini_scenes):
    for row in truth(mini_scenes):
        waveform = read_scene(mini_scenes, row)
        assert np.abs(waveform).max() <= 0.96
        for which in ("first", "second"):
            if not row[f"{which}_label"]:
                continue
            start, end = (round(float(row[f"{which}_{e}"]) * RATE) for e in ("start", "end"))
            heard = band_level(waveform[start:end], TONES[row[f"{which}_label"]])
            # A tone repeated with pauses holds less than its level while it sounds.
            assert heard == pytest.approx(float(row[f"{which}_level_db"]), abs=3.0)
            assert row[f"{which}_source"].startswith(("1-", "2-"))


def test_a_sequence_is_heard_in_the_order_of_its_labels(mini_scenes):
    rows = [row for row in truth(mini_scenes) if row["kind"] == "sequence"]
    assert len(rows) > 20
    for row in rows:
        waveform = read_scene(mini_scenes, row)
        half = round((float(row["first_end"]) + float(row["second_start"])) / 2 * RATE)
        first, second = TONES[row["first_label"]], TONES[row["second_label"]]
        assert band_level(waveform[:half], first) > band_level(waveform[:half], second) + 20
        assert band_level(waveform[half:], second) > band_level(waveform[half:], first) + 20


def test_the_foreground_of_an_overlap_is_louder_than_its_background(mini_scenes):
    rows = [row for row in truth(mini_scenes) if row["kind"] == "overlap"]
    assert len(rows) > 20
    for row in rows:
        waveform = read_scene(mini_scenes, row)
        start, end = (round(float(row[f"first_{edge}"]) * RATE) for edge in ("start", "end"))
        front, behind = (
            band_level(waveform[start:end], TONES[row[f"{which}_label"]])
            for which in ("first", "second")
        )
        assert front > behind + 3
        assert behind > -60


def test_captions_name_the_sounds_in_the_role_that_the_record_gives(mini_scenes):
    words = {"dog bark": "dog", "rain": "rain", "rooster": "rooster|cockerel|cock-a"}
    for row, clip in zip(truth(mini_scenes), mini_scenes.clips, strict=True):
        assert clip.id == row["file_name"]
        named = {label for label in (row["first_label"], row["second_label"]) if label}
        for caption in clip.captions:
            found = {
                label
                for label, options in words.items()
                if any(option in caption for option in options.split("|"))
            }
            assert found == named


def test_the_settings_are_kept_beside_the_scenes(mini_scenes):
    kept = json.loads((mini_scenes.root / SETTINGS_FILE).read_text())
    assert (kept["clips"], kept["seconds"], kept["seed"]) == (60, 2.0, 1)


@pytest.mark.slow
def test_real_recordings_give_190_exhaustive_scenes_that_keep_order_and_loudness(tmp_path):
    data = compose(esc10_root(), tmp_path / "out", folds=[4], exhaustive=True)
    assert len(data) == 10 + 2 * 10 * 9
    assert data.skipped == ()
    assert len({clip.label for clip in data.clips}) == 190
    for row in truth(data):
        assert row["first_source"].startswith("4-")
        first, second = row["first_level_db"], row["second_level_db"]
        if row["kind"] == "sequence":
            assert float(row["first_end"]) <= float(row["second_start"])
            waveform = read_scene(data, row)
            parts = np.split(waveform, [round(float(row["second_start"]) * RATE)])
            for part, level in zip(parts, (first, second), strict=True):
                assert mixing.level(part) == pytest.approx(float(level), abs=2.0)  # frames shift
        elif row["kind"] == "overlap":
            assert 6.0 <= float(first) - float(second) + 0.02 <= 12.04
