import csv
import json
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from otomatch.datasets import open_dataset
from otomatch.datasets.scenes import composition as scenes
from otomatch.datasets.scenes import mixing, rendered
from otomatch.datasets.scenes.composition import compose, compose_sounds
from otomatch.datasets.scenes.recipes import every_recipe, random_recipes
from otomatch.datasets.scenes.recordings import find_recordings
from otomatch.datasets.scenes.sounds import SourceSound, load_stems
from otomatch.errors import DatasetError, InvalidInputError, MissingDependencyError
from tests.support.sounds import (
    RATE,
    TONES,
    band_level,
    esc10_root,
    folder_hash,
    hiss,
    needs_midi,
    silence,
    tone,
    write_audio,
    write_csv,
    write_labelled_folder,
)


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    return write_labelled_folder(tmp_path_factory.mktemp("mini"))


@pytest.fixture(scope="module")
def mini_scenes(mini, tmp_path_factory):
    out = tmp_path_factory.mktemp("scenes") / "out"
    return compose(mini, out, clips=60, seconds=2.0, seed=1)


def truth(dataset):
    with (dataset.root / "scenes.csv").open() as file:
        return list(csv.DictReader(file))


def read(dataset, row):
    waveform, rate = soundfile.read(dataset.root / row["file_name"], dtype="float32")
    assert rate == RATE
    return waveform


# --- what the waveforms obey ---------------------------------------------------------------------


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


# --- what is composed ----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_all_combinations_of_n_classes_are_n_plus_2_n_times_n_minus_1(n):
    labels = [f"class {i}" for i in range(n)]
    recipes = every_recipe(labels)
    assert len(recipes) == n + 2 * n * (n - 1)
    assert len(set(recipes)) == len(recipes)
    assert sum(recipe.kind == "single" for recipe in recipes) == n


def test_random_scenes_are_mostly_pairs_and_balanced_over_classes_and_pairs():
    labels = [f"class {i}" for i in range(10)]
    recipes = random_recipes(labels, 3000, np.random.default_rng(0))
    kinds = [recipe.kind for recipe in recipes]
    assert [kinds.count(kind) for kind in ("single", "sequence", "overlap")] == [300, 1350, 1350]
    for kind in set(kinds):
        chosen = [recipe.labels for recipe in recipes if recipe.kind == kind]
        each = {labels: chosen.count(labels) for labels in set(chosen)}
        assert len(each) == (10 if kind == "single" else 90)
        assert max(each.values()) - min(each.values()) <= 1
    # In random order: a prefix already holds all kinds.
    assert set(kinds[:40]) == {"single", "sequence", "overlap"}


def test_random_scenes_of_one_class_are_all_singles():
    recipes = random_recipes(["dog"], 7, np.random.default_rng(0))
    assert [recipe.kind for recipe in recipes] == ["single"] * 7


def test_random_scenes_keep_to_the_pairs_that_may_meet():
    labels = list("abcdef")
    recipes = random_recipes(
        labels, 200, np.random.default_rng(0), lambda a, b: {a, b} != {"a", "b"}
    )
    assert len(recipes) == 200
    assert not any(set(recipe.labels) == {"a", "b"} for recipe in recipes)


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
        waveform = read(mini_scenes, row)
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
        waveform = read(mini_scenes, row)
        half = round((float(row["first_end"]) + float(row["second_start"])) / 2 * RATE)
        first, second = TONES[row["first_label"]], TONES[row["second_label"]]
        assert band_level(waveform[:half], first) > band_level(waveform[:half], second) + 20
        assert band_level(waveform[half:], second) > band_level(waveform[half:], first) + 20


def test_the_foreground_of_an_overlap_is_louder_than_its_background(mini_scenes):
    rows = [row for row in truth(mini_scenes) if row["kind"] == "overlap"]
    assert len(rows) > 20
    for row in rows:
        waveform = read(mini_scenes, row)
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


# --- the same bytes ------------------------------------------------------------------------------


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


# --- where the sounds come from ------------------------------------------------------------------


def test_folds_share_no_recording(mini, tmp_path):
    used = []
    for fold in (1, 2):
        rows = truth(compose(mini, tmp_path / str(fold), clips=30, seconds=1.0, folds=[fold]))
        used.append({row[f"{w}_source"] for row in rows for w in ("first", "second")} - {""})
    assert used[0]
    assert used[1]
    assert not used[0] & used[1]
    assert all(name.startswith("1-") for name in used[0])


def test_a_fold_that_is_not_there_is_an_error_that_lists_the_folds(mini, tmp_path):
    with pytest.raises(DatasetError, match=r"no recording in folds .*9.*; the table has \[1, 2\]"):
        compose(mini, tmp_path / "out", folds=[9])
    assert not (tmp_path / "out").exists()


def test_the_esc50_layout_is_read_by_its_columns(tmp_path):
    header = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
    rows = [("1-1-A-9.wav", 1, 0, "dog", "True", 1, "A"), ("2-2-A-9.wav", 2, 11, "sea_waves")]
    write_csv(tmp_path / "meta" / "esc50.csv", [header, *rows])
    for name, *_ in rows:
        write_audio(tmp_path / "audio" / name)
    sounds = find_recordings(tmp_path)
    assert [(s.label, s.fold) for s in sounds] == [("dog", 1), ("sea waves", 2)]
    assert [s.name for s in find_recordings(tmp_path, folds=(2,))] == ["2-2-A-9.wav"]


def test_a_users_own_labels_need_no_folds_and_get_plain_phrases(tmp_path):
    write_audio(tmp_path / "a.wav", tone(500, 0.5))
    write_audio(tmp_path / "audio" / "b.wav", tone(900, 0.5))
    rows = [("file_name", "label"), ("a.wav", "kettle_whistle"), ("b.wav", "door slam")]
    write_csv(tmp_path / "labels.csv", rows)
    data = compose(tmp_path, tmp_path / "out", exhaustive=True, seconds=1.0)
    assert len(data) == 2 + 2 * 2
    assert "kettle whistle" in " ".join(data.captions)


def test_broken_recordings_are_skipped_and_reported_and_stop_nothing(tmp_path):
    root = write_labelled_folder(tmp_path / "in", each=2)
    broken = sorted((root / "audio").iterdir())[:3]
    broken[0].write_bytes(b"")
    broken[1].write_bytes(b"RIFF and then nothing of use")
    broken[2].unlink()
    write_audio(root / "audio" / "2-rain-0.wav", silence(1.0))
    data = compose(root, tmp_path / "out", clips=10, seconds=1.0)
    assert len(data) == 10
    names = {item.name for item in data.skipped}
    assert names == {*(path.name for path in broken), "2-rain-0.wav"}
    assert all(item.reason for item in data.skipped)


def test_a_source_of_broken_recordings_only_is_a_clear_error(tmp_path):
    root = write_labelled_folder(tmp_path / "in", {"rain": 500.0}, each=1)
    for path in (root / "audio").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"none of 2 sounds can be used; .*1-rain-0\.wav"):
        compose(root, tmp_path / "out", clips=3)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("name", "label"), ("a.wav", "x")], "line 1: no column file_name"),
        ([("file_name", "kind"), ("a.wav", "x")], "line 1: no column label"),
        ([("file_name", "label", "fold"), ("a.wav", "x", "one")], "line 2: fold is 'one'"),
        ([("file_name", "label"), ("a.wav", "")], "line 2: expected a file name and a label"),
    ],
)
def test_a_malformed_table_of_labels_names_the_line(tmp_path, rows, message):
    write_csv(tmp_path / "labels.csv", rows)
    with pytest.raises(DatasetError, match=message):
        find_recordings(tmp_path)


def test_a_folder_without_a_table_of_labels_says_which_it_looks_for(tmp_path):
    with pytest.raises(DatasetError, match=r"no table of labels; expected one of esc10\.csv"):
        compose(tmp_path, tmp_path / "out")


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


def test_the_settings_are_kept_beside_the_scenes(mini_scenes):
    kept = json.loads((mini_scenes.root / scenes.SETTINGS_FILE).read_text())
    assert (kept["clips"], kept["seconds"], kept["seed"]) == (60, 2.0, 1)


# --- real recordings -----------------------------------------------------------------------------


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
            waveform = read(data, row)
            parts = np.split(waveform, [round(float(row["second_start"]) * RATE)])
            for part, level in zip(parts, (first, second), strict=True):
                assert mixing.level(part) == pytest.approx(float(level), abs=2.0)  # frames shift
        elif row["kind"] == "overlap":
            assert 6.0 <= float(first) - float(second) + 0.02 <= 12.04


# --- rendered instruments ------------------------------------------------------------------------


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


@needs_midi
def test_no_rendered_sound_is_silent():
    assert load_stems(rendered.rendered_sounds("train")).skipped == ()


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


def test_sounds_from_anywhere_can_be_composed(tmp_path):
    sounds = [
        SourceSound(label, f"{label} {take}", lambda f=f: tone(f, 0.6))
        for label, f in TONES.items()
        for take in range(2)
    ]
    data = compose_sounds(sounds, tmp_path / "out", clips=8, seconds=1.0, captions_per_clip=3)
    assert [len(clip.captions) for clip in data.clips] == [3] * 8
