"""``otomatch picture``: each command on a model trained for a moment, and what goes wrong."""

from functools import partial

import pytest

from otomatch import train
from otomatch.cli.plots import _names, _some_pairs
from otomatch.datasets import open_dataset
from otomatch.errors import ConfigError, DatasetError, InvalidInputError, RunError
from otomatch.transport import solvers as transport
from tests.cli.test_cli import invoke
from tests.support.tiny import tiny_config, write_tones

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.filterwarnings("ignore::otomatch.training.diagnostics.TrainingWarning")


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_bert):
    """A run, and a data set of 24 clips with two captions each, 8 of them for testing."""
    place = tmp_path_factory.mktemp("pictures")
    write_tones(place / "data", clips=24, splits=("train", "val", "test"))
    config = tiny_config(place / "data", tiny_bert, "optim.batch=4", "optim.epochs=3")
    train(config, place / "run", progress=False)
    return place


@pytest.fixture
def titles(monkeypatch):
    """The headings of the figures that are written."""
    from otomatch.evaluation.plots import plan, recall, space, spectrum

    seen = []
    for module in (plan, recall, space, spectrum):
        heading = module.heading

        def keeping(figure, *lines, heading=heading):
            seen.append(lines)
            heading(figure, *lines)

        monkeypatch.setattr(module, "heading", keeping)
    return seen


@pytest.mark.parametrize("command", ["plan", "space", "recall", "spectrum"])
def test_every_command_that_draws_has_help(command):
    assert "Usage" in invoke("picture", command, "--help")


@pytest.mark.slow
def test_plan_draws_a_batch_of_the_test_split(place, titles, tmp_path):
    arguments = ("picture", "plan", place / "run/model", place / "data")
    out = invoke(*arguments, "--out", tmp_path / "plan.png", "--pairs", 6)
    assert out == f"{tmp_path / 'plan.png'}: 6 pairs\n"
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")
    invoke(*arguments, "--out", tmp_path / "all.svg", "--mass", 0.5, "--log", "--epsilon", 0.1)
    assert [title for title, _ in titles] == [
        "run on data (test), 6 pairs, epsilon 0.05",
        "run on data (test), 8 pairs, epsilon 0.1",
    ]
    assert titles[1][1].startswith("mass 0.50, ")
    assert not titles[0][1].startswith("mass")


@pytest.mark.slow
def test_the_seed_chooses_the_pairs_and_the_same_seed_gives_the_same_bytes(place, tmp_path):
    def drawn(seed):
        path = tmp_path / "plan.svg"
        arguments = ("--out", path, "--pairs", 6, "--seed", seed, "--split", "train")
        invoke("picture", "plan", place / "run/model", place / "data", *arguments)
        return path.read_bytes()

    assert drawn(0) == drawn(0) != drawn(1)


def test_a_plan_that_has_not_converged_is_drawn_with_a_warning(place, tmp_path, monkeypatch):
    hasty = partial(transport.partial_sinkhorn, max_iterations=1)
    monkeypatch.setattr(transport, "partial_sinkhorn", hasty)
    arguments = ("--out", tmp_path / "plan.png", "--epsilon", 0.01)
    with pytest.warns(UserWarning, match="did not converge.*raise --epsilon"):
        invoke("picture", "plan", place / "run/model", place / "data", *arguments)
    assert (tmp_path / "plan.png").is_file()


@pytest.mark.parametrize("method", ["pca", "gap"])
def test_space_draws_the_pairs_in_the_metric(method, place, titles, tmp_path):
    arguments = ("--out", tmp_path / "space.svg", "--method", method, "--pairs", 5)
    out = invoke("picture", "space", place / "run/model", place / "data", *arguments)
    assert out == f"{tmp_path / 'space.svg'}: 5 pairs\n"
    assert titles[0][0] == "run on data (test), 5 pairs"
    assert "modality gap" in titles[0][1]


def test_recall_names_each_model_by_its_run(place, titles, tmp_path):
    (tmp_path / "second").symlink_to(place / "run" / "model")
    models = (place / "run/model", tmp_path / "second")
    arguments = ("--data", place / "data", "--out", tmp_path / "recall.png")
    out = invoke("picture", "recall", *models, *arguments)
    assert out == f"{tmp_path / 'recall.png'}: run, second\n"
    assert titles == [("Recall on data (test)", "8 clips, 16 captions")]


def test_models_are_named_by_their_folder_their_run_or_in_full(tmp_path, monkeypatch):
    for run in ("a", "b/c"):
        (tmp_path / run / "model").mkdir(parents=True)
    (tmp_path / "d").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    given = ["model", "../b/c/model", "../d", "laion/clap-htsat-unfused"]
    assert _names(given) == ["a", "c", "d", "laion/clap-htsat-unfused"]
    assert _names(["model", "../a"]) == ["model", "../a"]
    with pytest.raises(ConfigError, match="given twice"):
        _names(["model", "model"])


def test_spectrum_draws_every_epoch_of_a_run(place, titles, tmp_path):
    out = invoke("picture", "spectrum", place / "run", "--out", tmp_path / "spectrum.pdf")
    assert out == f"{tmp_path / 'spectrum.pdf'}: 3 epochs\n"
    assert (tmp_path / "spectrum.pdf").read_bytes().startswith(b"%PDF")
    assert titles[0][0] == "Eigenvalues of M, run"
    assert "after epoch 3, of 12" in titles[0][1]


def test_pairs_are_drawn_by_lot_each_clip_once_with_a_caption_of_its_own(place):
    dataset = open_dataset(place / "data")
    clips, captions = _some_pairs(dataset, 10, seed=3)
    assert len({clip.id for clip in clips}) == 10
    assert all(caption in clip.captions for clip, caption in zip(clips, captions, strict=True))
    everything, theirs = _some_pairs(dataset, 1000, seed=3)
    assert sorted(clip.id for clip in everything) == sorted(clip.id for clip in dataset.clips)
    second = [c == clip.captions[1] for clip, c in zip(everything, theirs, strict=True)]
    assert 0 < sum(second) < 24


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "no-model", "no-data"),
        ("space", "no-model", "no-data"),
        ("recall", "no-model", "--data", "no-data"),
        ("spectrum", "no-run"),
    ],
)
def test_a_wrong_ending_is_refused_before_anything_is_read(arguments):
    with pytest.raises(InvalidInputError, match=r"plan\.bmp: the name ends in \.bmp"):
        invoke("picture", *arguments, "--out", "plan.bmp")


def test_a_run_of_an_earlier_version_and_clips_that_cannot_be_read_are_named(place, tmp_path):
    (tmp_path / "config.toml").touch()
    out = ("--out", tmp_path / "a.png")
    with pytest.raises(RunError, match="train it again with this version"):
        invoke("picture", "spectrum", tmp_path, *out)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/captions.csv").write_text("file_name,caption\na.wav,a tone\nb.wav,a hum\n")
    for name in "ab":
        (tmp_path / "data" / f"{name}.wav").write_text("no sound")
    with pytest.raises(DatasetError):
        invoke("picture", "plan", place / "run/model", tmp_path / "data", *out)
