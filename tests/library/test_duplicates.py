"""Near-identical sounds: copies are found, neighbours are not."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from otomatch.errors import InvalidInputError
from otomatch.library.duplicates import find_duplicates
from otomatch.library.indexing.identity import content_digest, file_id
from otomatch.library.records import Sound
from otomatch.library.spectral_fingerprints import correlation, spectral_fingerprint
from tests.support.sounds import hiss, silence, tone


def melody(seed: int, seconds: float = 3.0) -> np.ndarray:
    """Random notes and bursts of noise: two of them have much the same spectrum."""
    rng = np.random.default_rng(seed)
    parts = []
    while sum(map(len, parts)) < seconds * 32000:
        length = rng.uniform(0.05, 0.3)
        note = tone(float(rng.choice([300, 600, 1200, 2400])), length, 0.4)
        parts.append(
            note * rng.uniform(0.1, 1) + hiss(length, 0.01, seed=int(rng.integers(1 << 30)))
        )
    return np.concatenate(parts)[: round(seconds * 32000)].astype(np.float32)


def write(path: Path, waveform: np.ndarray, rate: int = 32000, **settings) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, rate, **settings)
    return path


def groups(*paths: Path, **options) -> list[set[str]]:
    found = find_duplicates(*listed(paths), **options)
    return [{Path(sound.path).name for sound in group.sounds} for group in found]


def listed(paths) -> tuple[list[Sound], list[str]]:
    sounds = [
        Sound(file_id(p), str(p), str(p.parent), soundfile.info(p).duration, 1) for p in paths
    ]
    return sounds, [content_digest(path) for path in paths]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, wave = tmp_path_factory.mktemp("duplicates"), melody(0)
    padded = np.concatenate([silence(0.4), wave, silence(0.6)])
    made = {
        "original.wav": (wave, 32000, {}),
        "a.mp3": (wave, 32000, {}),
        "b.ogg": (wave, 32000, {"subtype": "VORBIS"}),
        "c.flac": (soxr.resample(wave, 32000, 22050), 22050, {}),
        "quiet.wav": (wave * 0.05, 32000, {}),
        "trimmed.wav": (wave[8000:-6000], 32000, {}),
        "padded.wav": (padded, 32000, {}),
        "stereo.wav": (np.stack([wave, 0.5 * wave], axis=1), 32000, {}),
        **{f"other{seed}.wav": (melody(seed), 32000, {}) for seed in range(1, 6)},
    }
    return {name: write(folder / name, w, r, **s) for name, (w, r, s) in made.items()}


def test_copies_in_other_forms_are_one_group_and_other_sounds_are_in_none(sounds):
    assert groups(*sounds.values()) == [{name for name in sounds if "other" not in name}]


def test_the_order_of_the_files_says_nothing(sounds):
    assert groups(*reversed(sounds.values())) == groups(*sounds.values())


def test_files_of_the_same_bytes_are_marked(sounds, tmp_path):
    copy = Path(shutil.copy(sounds["original.wav"], tmp_path / "copy.wav"))
    (group,) = find_duplicates(*listed([sounds["original.wav"], sounds["a.mp3"], copy]))
    assert group.copies == (frozenset(map(file_id, (copy, sounds["original.wav"]))),)
    listed_sounds = group.to_dict()["sounds"]
    assert sum(sound["copy_of"] is not None for sound in listed_sounds) == 1
    (marked,) = (sound for sound in listed_sounds if sound["copy_of"])
    assert marked["copy_of"] in {sound["id"] for sound in listed_sounds}
    assert 0.93 <= group.similarity < 1


def test_files_of_the_same_bytes_need_not_be_decoded(tmp_path):
    paths = [tmp_path / f"{i}.wav" for i in range(3)]
    for path in paths:
        path.write_bytes(b"no sound")
    rows = [Sound(file_id(p), str(p), "/", 1.0, 1) for p in paths]
    with pytest.warns(UserWarning, match="could not be read"):
        (group,) = find_duplicates(rows, [content_digest(path) for path in paths])
    assert len(group.sounds) == 3
    assert group.similarity == 1.0


def test_two_noises_and_two_steady_tones_of_other_pitch_are_different(tmp_path):
    noises = [write(tmp_path / f"noise{i}.wav", hiss(2.0, seed=i)) for i in range(2)]
    tones = [write(tmp_path / f"{hz}.wav", tone(hz, 2.0)) for hz in (440.0, 660.0)]
    same = [write(tmp_path / f"again{i}.wav", tone(440.0, 2.0, 0.1 + i / 9)) for i in range(2)]
    assert groups(*noises, *tones, *same) == [{"440.0.wav", "again0.wav", "again1.wav"}]


def test_silent_files_and_short_ones_are_compared_without_an_error(tmp_path):
    paths = [write(tmp_path / f"{i}.wav", silence(0.5 + i)) for i in range(2)]
    paths.append(write(tmp_path / "click.wav", tone(900, 0.001)))
    assert groups(*paths) in ([], [{"0.wav", "1.wav"}])
    assert groups() == []
    assert groups(paths[0]) == []


@pytest.mark.parametrize("similarity", [0.0, -1.0, 1.01, float("nan")])
def test_a_similarity_out_of_range_is_an_error(similarity):
    with pytest.raises(InvalidInputError, match="similarity"):
        find_duplicates([], [], similarity)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 99), gain=st.floats(0.05, 1), other=st.integers(100, 199))
def test_correlation_is_symmetric_within_0_and_1_and_blind_to_level(
    tmp_path_factory, seed, gain, other
):
    folder = tmp_path_factory.mktemp("pair")
    a = spectral_fingerprint(write(folder / "a.wav", melody(seed, 1.0), subtype="FLOAT"))
    louder = spectral_fingerprint(
        write(folder / "b.wav", gain * melody(seed, 1.0), subtype="FLOAT")
    )
    b = spectral_fingerprint(write(folder / "c.wav", melody(other, 0.8), subtype="FLOAT"))
    assert correlation(a, louder) > 0.99
    assert 0 <= correlation(a, b) < 0.93
    assert correlation(a, b) == pytest.approx(correlation(b, a), abs=0.02)
