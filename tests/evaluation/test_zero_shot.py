"""Zero-shot classification of a model on a data set: prompts, both rankings, what is left out."""

import json
from dataclasses import replace

import numpy as np
import ot
import pytest
import torch

from otomatch import zeroshot
from otomatch.datasets import open_dataset
from otomatch.errors import DatasetError, InvalidInputError
from otomatch.evaluation.classification import classify_embeddings, classify_scores
from otomatch.evaluation.zero_shot import PROMPT, embed_classes
from tests.support.sounds import tone, write_audio, write_csv
from tests.support.tiny import tiny_model

LABELS = ("deep_hum", "dog", "high whistle")
PROMPTS = ("a {label}", "the long {label} rising", "{label}")


def write_sounds(root, labels, **columns):
    """Write a data set of tones of rising pitch, without captions, with more columns."""
    rows = [("file_name", "caption", "label", *columns)]
    for i, label in enumerate(labels):
        write_audio(root / f"{i}.wav", tone(150.0 * 1.4**i, 0.1 + 0.02 * i))
        rows.append((f"{i}.wav", "", label, *(values[i] for values in columns.values())))
    write_csv(root / "captions.csv", rows)
    return root


@pytest.fixture
def sounds(tmp_path):
    """Eight clips of three classes, four of the first."""
    labels = [LABELS[i % 3 * (i % 2)] for i in range(8)]
    return open_dataset(write_sounds(tmp_path / "sounds", labels))


def embedded(model, dataset, prompts):
    """Unit vectors of clips and of classes, without the code under test."""
    audio = model.embed_audio([clip.path for clip in dataset.clips])
    classes = []
    for label in dataset.labels:
        texts = [prompt.format(label=label.replace("_", " ")) for prompt in prompts]
        mean = model.embed_text(texts).mean(0)
        classes.append(mean / mean.norm())
    return audio, torch.stack(classes)


def numbers(dataset):
    return [dataset.labels.index(clip.label) for clip in dataset.clips]


# --- classes -----------------------------------------------------------------------------------


def test_a_class_is_the_mean_direction_of_its_prompts(tiny_bert):
    model = tiny_model(tiny_bert)
    found = embed_classes(model, LABELS, PROMPTS)
    texts = ["a deep hum", "the long deep hum rising", "deep hum"]
    mean = model.embed_text(texts).mean(0)
    torch.testing.assert_close(found[0], mean / mean.norm())
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    assert found.shape == (3, 12)


def test_a_single_prompt_is_its_own_mean(tiny_bert):
    model = tiny_model(tiny_bert)
    expected = model.embed_text([f"This is a sound of {x}." for x in ("deep hum", "dog")])
    torch.testing.assert_close(embed_classes(model, LABELS[:2], [PROMPT]), expected)


def test_only_the_label_is_filled_in(tiny_bert):
    model = tiny_model(tiny_bert)
    found = embed_classes(model, ["{dog}"], ["{rain} {0} {label} {label}"])
    torch.testing.assert_close(found, model.embed_text(["{rain} {0} {dog} {dog}"]))


# --- figures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ground", ["identity", "full", "low-rank"])
@pytest.mark.parametrize("prompts", [PROMPTS, PROMPTS[:1]])
@pytest.mark.parametrize("trainable", [False, True])
def test_figures_by_distance_are_those_of_the_whitened_embeddings(
    ground, prompts, trainable, tiny_bert, sounds
):
    model = tiny_model(tiny_bert, ground, trainable)
    audio, classes = (model.whiten(x) for x in embedded(model, sounds, prompts))
    expected = classify_embeddings(audio, classes, numbers(sounds), sounds.labels)
    found = zeroshot(model, sounds, prompts=prompts)
    assert found.confusion == expected.confusion
    assert found.map == pytest.approx(expected.map)
    assert found.classes == LABELS
    assert (found.clips, found.dataset, found.prompts) == (8, "sounds", prompts)


@pytest.mark.parametrize("epsilon", [0.05, 0.3])
def test_transductive_figures_are_those_of_an_independent_plan(epsilon, tiny_bert, sounds):
    model = tiny_model(tiny_bert)
    cost = model.distance(*embedded(model, sounds, PROMPTS)).double().numpy()
    plan = ot.sinkhorn(
        np.full(8, 1 / 8),
        np.full(3, 1 / 3),
        cost / cost.max(),
        epsilon,
        method="sinkhorn_log",
        numItermax=100_000,
        stopThr=1e-12,
    )
    expected = classify_scores(np.log(plan), numbers(sounds), LABELS, tolerance=1e-5)
    found = zeroshot(model, sounds, prompts=PROMPTS, epsilon=epsilon)
    assert found.transductive == expected
    assert found.transductive.confusion != found.confusion


def test_a_collapsed_model_is_right_for_no_clip_either_way(tiny_bert, sounds):
    model = tiny_model(tiny_bert)
    with torch.no_grad():
        for head in (model.audio_head, model.text_head):
            head[-1].weight.zero_()
    report = zeroshot(model, sounds)
    assert report.accuracy == report.transductive.accuracy == 0.0


def test_more_classes_to_choose_from_make_it_no_easier(tiny_bert, sounds):
    model = tiny_model(tiny_bert)
    report = zeroshot(model, sounds, classes=[*LABELS, "rain", "shrill tone", "rain"])
    assert report.classes == (*LABELS, "rain", "shrill tone")
    assert report.clips == 8
    assert report.class_accuracy["rain"] is None
    assert report.accuracy <= zeroshot(model, sounds).accuracy


# --- clips that are left out -------------------------------------------------------------------


def test_clips_without_a_known_label_or_that_cannot_be_read_are_listed(tmp_path, tiny_bert):
    labels = [*LABELS, *LABELS]
    root = write_sounds(tmp_path, labels)
    with (root / "captions.csv").open("a") as table:
        table.write("6.wav,a dog barks,\n7.wav,,dog\n")
    write_audio(root / "6.wav")
    dataset = open_dataset(root)
    model = tiny_model(tiny_bert)
    rest = tuple(clip for clip in dataset.clips if clip.id in ("0.wav", "1.wav", "3.wav"))
    expected = zeroshot(model, replace(dataset, clips=rest), classes=LABELS[:2])
    (root / "4.wav").write_bytes(b"no sound")
    found = zeroshot(model, dataset, classes=LABELS[:2])
    left_out = {entry.name: entry.reason for entry in found.skipped}
    assert list(left_out) == ["7.wav", "2.wav", "5.wav", "6.wav", "4.wav"]
    assert left_out["2.wav"] == "no class 'high whistle'"
    assert left_out["6.wav"] == "no label"
    assert found.confusion == expected.confusion
    assert found.transductive == expected.transductive


def test_without_a_readable_clip_there_is_a_clear_error(tiny_bert, sounds):
    for clip in sounds.clips:
        clip.path.unlink()
    with pytest.raises(DatasetError, match=r"8 of 8 clips .* 3 labels, and none .*first: .*0\.wav"):
        zeroshot(tiny_model(tiny_bert), sounds)
    with pytest.raises(DatasetError, match=r"0 of 8 clips have one of the 2 labels"):
        zeroshot(tiny_model(tiny_bert), sounds, classes=["a", "b"])


def test_labels_are_needed_at_least_two(tmp_path, tiny_bert):
    model = tiny_model(tiny_bert)
    rows = [("file_name", "caption"), ("0.wav", "a dog barks")]
    write_audio(tmp_path / "plain" / "0.wav")
    write_csv(tmp_path / "plain" / "captions.csv", rows)
    with pytest.raises(DatasetError, match=r"none of its 1 clips has a label, .*column 'label'"):
        zeroshot(model, tmp_path / "plain")
    alike = write_sounds(tmp_path / "alike", ["dog", "dog"])
    with pytest.raises(DatasetError, match=r"1 classes to choose from \(dog\); expected at"):
        zeroshot(model, alike)
    with pytest.raises(DatasetError, match=r"0 classes to choose from \(none\)"):
        zeroshot(model, alike, classes=[])


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "no prompt; expected at least one"),
        ("a sound", "'a sound' is the same for every class; expected {label} in place"),
        (["a {label}", "a {LABEL}"], "'a {LABEL}' is the same for every class"),
        ("", "'' is the same for every class"),
    ],
)
def test_a_prompt_without_a_place_for_the_label_is_refused(prompts, message, tiny_bert, sounds):
    with pytest.raises(InvalidInputError, match=message):
        zeroshot(tiny_model(tiny_bert), sounds, prompts=prompts)


# --- input and output --------------------------------------------------------------------------


def test_a_folder_its_name_and_an_open_data_set_give_the_same(tiny_bert, sounds):
    model = tiny_model(tiny_bert)
    expected = zeroshot(model, sounds)
    assert zeroshot(model, sounds.root) == expected
    assert zeroshot(model, str(sounds.root), prompts=[PROMPT]) == expected


def test_zeroshot_stays_callable_when_its_module_is_imported():
    import otomatch.evaluation.zero_shot

    assert callable(otomatch.zeroshot)
    assert otomatch.zeroshot is zeroshot


def test_a_report_becomes_plain_json(tiny_bert, sounds):
    sounds.clips[1].path.unlink()
    report = zeroshot(tiny_model(tiny_bert), sounds)
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (data["dataset"], data["prompts"], data["clips"]) == ("sounds", [PROMPT], 7)
    assert np.array(data["confusion"]).sum() == 7
    assert np.array(data["transductive"]["confusion"]).shape == (3, 3)
    assert data["skipped"][0]["name"] == "1.wav"


def test_real_recordings_without_captions_are_all_classified(esc10, tiny_bert):
    dataset = open_dataset(esc10)
    fold = dataset.in_folds([2])
    some = replace(fold, clips=fold.clips[::4])
    report = zeroshot(tiny_model(tiny_bert), some, classes=dataset.labels)
    assert (report.clips, report.skipped) == (len(some), ())
    assert len(report.classes) == 10
