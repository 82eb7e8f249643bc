"""Composing folders: the same bytes, settings, and interrupted or other folders."""

import pytest

from otomatch.datasets import open_dataset
from otomatch.datasets.scenes.composition import compose, compose_sounds
from otomatch.datasets.scenes.sounds import SourceSound
from otomatch.errors import DatasetError, InvalidInputError
from tests.support.scenes import truth
from tests.support.sounds import (
    TONES,
    folder_hash,
    tone,
)


def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_workers(mini, tmp_path):
    for name, workers in (("a", 1), ("b", 2), ("c", 5)):
        compose(mini, tmp_path / name, clips=15, seconds=1.0, seed=4, workers=workers)
    assert len({folder_hash(tmp_path / name) for name in "abc"}) == 1


def test_another_seed_gives_other_sounds_and_words_for_the_same_scenes(mini, tmp_path):
    one, two = (
        compose(mini, tmp_path / str(seed), exhaustive=True, seconds=1.0, seed=seed)
        for seed in (1, 2)
    )
    for first, second in zip(one.clips, two.clips, strict=True):
        assert first.label == second.label
        assert first.path.read_bytes() != second.path.read_bytes()
    assert one.captions != two.captions


def test_another_seed_gives_the_scenes_in_another_order(mini, tmp_path):
    one, two = (
        compose(mini, tmp_path / str(seed), clips=20, seconds=1.0, seed=seed) for seed in (1, 2)
    )
    assert [clip.label for clip in one.clips] != [clip.label for clip in two.clips]


def test_the_exhaustive_mode_composes_every_combination_once(mini, tmp_path):
    data = compose(mini, tmp_path / "out", exhaustive=True, seconds=1.0)
    combinations = [(row["kind"], row["first_label"], row["second_label"]) for row in truth(data)]
    assert len(combinations) == len(set(combinations)) == 3 + 2 * 3 * 2


def test_a_finished_folder_of_the_same_settings_is_opened_as_it_is(mini, tmp_path):
    first = compose(mini, tmp_path / "out", clips=4, seconds=1.0)
    stamps = [clip.path.stat().st_mtime_ns for clip in first.clips]
    again = compose(mini, tmp_path / "out", clips=4, seconds=1.0)
    assert [clip.path.stat().st_mtime_ns for clip in again.clips] == stamps
    assert again.clips == first.clips


def test_a_folder_of_other_settings_or_of_anything_else_is_refused(mini, tmp_path):
    compose(mini, tmp_path / "out", clips=4, seconds=1.0)
    before = folder_hash(tmp_path / "out")
    for change in ({"clips": 5}, {"seed": 1}, {"seconds": 2.0}, {"folds": [1]}):
        with pytest.raises(DatasetError, match="other sounds or with other settings"):
            compose(mini, tmp_path / "out", **{"clips": 4, "seconds": 1.0, **change})
    assert folder_hash(tmp_path / "out") == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(DatasetError, match="not a folder of scenes"):
        compose(mini, tmp_path / "mine", clips=4)
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_an_interrupted_folder_does_not_open_and_is_made_anew(mini, tmp_path):
    def stop(done, total):
        assert total == 12
        if done == 3:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        compose(mini, out, clips=12, seconds=1.0, progress=stop)
    assert any(out.rglob("*.flac"))
    with pytest.raises(DatasetError, match=r"no captions\.csv"):
        open_dataset(out)
    compose(mini, out, clips=12, seconds=1.0)
    compose(mini, tmp_path / "clean", clips=12, seconds=1.0)
    assert folder_hash(out) == folder_hash(tmp_path / "clean")


def test_progress_is_told_for_every_scene(mini, tmp_path):
    told = []
    compose(mini, tmp_path / "out", clips=5, seconds=1.0, progress=lambda *at: told.append(at))
    assert told == [(done, 5) for done in range(1, 6)]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"clips": 0}, "the number of clips is 0; expected a whole number >= 1"),
        ({"seconds": 0.5}, "expected 1 to 600"),
        ({"seconds": float("nan")}, "expected 1 to 600"),
        ({"seed": -1}, "the seed is -1; expected a whole number >= 0"),
        ({"captions_per_clip": 13}, "is 13; expected 1 to 12"),
        ({"split": "test"}, "the split 'test' is for midi; recordings are split by folds"),
    ],
)
def test_settings_out_of_range_are_refused_before_anything_is_written(
    mini, tmp_path, setting, message
):
    with pytest.raises(InvalidInputError, match=message):
        compose(mini, tmp_path / "out", **setting)
    assert not (tmp_path / "out").exists()


def test_sounds_from_anywhere_can_be_composed(tmp_path):
    sounds = [
        SourceSound(label, f"{label} {take}", lambda f=f: tone(f, 0.6))
        for label, f in TONES.items()
        for take in range(2)
    ]
    data = compose_sounds(sounds, tmp_path / "out", clips=8, seconds=1.0, captions_per_clip=3)
    assert [len(clip.captions) for clip in data.clips] == [3] * 8
