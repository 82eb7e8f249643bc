"""The commands that draw: a transport plan, the joint space, recall, a metric's spectrum."""

import warnings
from dataclasses import dataclass
from enum import StrEnum
from os.path import abspath
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otomatch.cli.output import device, in_split, list_skipped
from otomatch.errors import ConfigError, DatasetError

if TYPE_CHECKING:  # torch loads slowly; --help must not
    from torch import Tensor

    from otomatch.datasets import CaptionDataset
    from otomatch.datasets.base import Clip
    from otomatch.models.audio_text_model import AudioTextModel

app = typer.Typer(
    name="picture",
    help="Draw a model's plan, joint space and recall, and a run's spectrum. Needs the extra "
    "[bold]plots[/].",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Model = Annotated[str, typer.Argument(help="Folder of a model, or its name on the hub.")]
Data = Annotated[
    str, typer.Argument(help="Folder of the data set, or NAME:FOLDER, e.g. clotho:data/clotho.")
]
Out = Annotated[Path, typer.Option(help="File to write; .png, .svg or .pdf.")]
Split = Annotated[str | None, typer.Option(help="Split to use. Default: test if there is one.")]
Seed = Annotated[int, typer.Option(min=0, help="Random seed for sampling pairs.")]


class Method(StrEnum):
    """Choices of the two directions of the joint space to show."""

    pca = "pca"
    gap = "gap"


@app.command()
def plan(
    model: Model,
    data: Data,
    out: Out,
    pairs: Annotated[
        int, typer.Option(min=2, help="Largest number of clips, with one caption each.")
    ] = 64,
    epsilon: Annotated[
        float,
        typer.Option(min=1e-4, help="Entropic regularisation, in units of the largest distance."),
    ] = 0.05,
    mass: Annotated[
        float,
        typer.Option(
            min=0.01, max=1.0, help="Share of the mass to transport; below 1 the plan is partial."
        ),
    ] = 1.0,
    log: Annotated[
        bool, typer.Option("--log", help="Shade logarithmically, to show small masses.")
    ] = False,
    seed: Seed = 0,
    split: Split = None,
) -> None:
    """Draw the transport plan of a batch, as a training step would see it.

    Rows are sounds, columns are captions, and the outlined diagonal marks the matched pairs. The
    title gives the share of the mass on them and the plan's entropy. With --mass below 1, bars show
    how much of each sound is transported, which is least where no caption fits.

    Examples:
    otomatch picture plan runs/first/model my-test-captions --out plan.png

    otomatch picture plan runs/first/model my-captions --out plan.svg --pairs 128 --mass 0.9 --log
    """
    from otomatch.evaluation.plots.plan import draw_plan
    from otomatch.evaluation.plots.style import check_picture
    from otomatch.transport.solvers import partial_sinkhorn

    check_picture(out)
    batch = _embed(model, data, split, pairs, seed)
    cost = batch.model.distance(batch.audio, batch.text)
    found = partial_sinkhorn(cost / cost.max().clamp_min(1e-12), epsilon, mass)
    if not found.converged:
        warnings.warn(
            f"Sinkhorn did not converge: the plan violates its marginals by {found.error:.0e} of "
            f"the mass; raise --epsilon (now {epsilon:g})",
            stacklevel=1,
        )
    draw_plan(found.plan, out, f"{batch.title}, epsilon {epsilon:g}", "log" if log else "linear")
    typer.echo(f"{out}: {len(cost)} pairs")


@app.command()
def space(
    model: Model,
    data: Data,
    out: Out,
    pairs: Annotated[
        int, typer.Option(min=2, help="Largest number of clips, with one caption each.")
    ] = 200,
    method: Annotated[
        Method,
        typer.Option(
            help="pca: the two directions of largest variance; gap: the direction from the mean "
            "sound to the mean caption, and that of largest variance orthogonal to it."
        ),
    ] = Method.pca,
    seed: Seed = 0,
    split: Split = None,
) -> None:
    """Draw the joint space in two dimensions, coloured by modality, with a line for each pair.

    Distances and the modality gap in the title use the learned metric ([bold]otomatch evaluate[/]
    measures the gap between unit vectors, without the metric). The axis labels give the share of
    the variance that they show: two dimensions out of many can mislead.

    Examples:
    otomatch picture space runs/first/model my-test-captions --out space.svg

    otomatch picture space runs/first/model clotho:data/clotho --out gap.png --method gap
    """
    from otomatch.evaluation.plots.space import draw_space
    from otomatch.evaluation.plots.style import check_picture

    check_picture(out)
    batch = _embed(model, data, split, pairs, seed)
    audio, text = batch.model.whiten(batch.audio), batch.model.whiten(batch.text)
    draw_space(audio, text, range(len(text)), out, batch.title, method.value)
    typer.echo(f"{out}: {len(text)} pairs")


@app.command()
def recall(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Folders of models, or names on the hub. The legend shows the folder's name, or "
            "the run's name for a folder called model.",
        ),
    ],
    data: Annotated[
        str, typer.Option(help="Folder of the data set, or NAME:FOLDER, e.g. clotho:data/clotho.")
    ],
    out: Out,
    most: Annotated[int, typer.Option(min=2, help="Largest k to draw.")] = 100,
    split: Split = None,
) -> None:
    """Draw recall@k against k for several models, in both directions, with the chance level.

    Each query is ranked by distance, as in [bold]otomatch evaluate[/].

    Examples:
    otomatch picture recall runs/first/model runs/ntxent/model --data test-scenes --out recall.png

    otomatch picture recall runs/x/model --data clotho:data/clotho --out recall.pdf --most 50
    """
    from otomatch.datasets import open_dataset
    from otomatch.evaluation.evaluator import evaluate
    from otomatch.evaluation.plots.recall import draw_recall
    from otomatch.evaluation.plots.style import check_picture
    from otomatch.models.audio_text_model import AudioTextModel

    check_picture(out)
    names = _names(models)
    dataset = in_split(open_dataset(data), split)
    ks = range(1, min(most, len(dataset)) + 1)
    loaded = [AudioTextModel.from_pretrained(model, device()) for model in models]
    reports = [evaluate(model, dataset, ks=ks, progress=True) for model in loaded]
    list_skipped(reports[0].skipped)
    draw_recall(dict(zip(names, reports, strict=True)), out, f"Recall on {dataset.name}")
    typer.echo(f"{out}: {', '.join(names)}")


@app.command()
def spectrum(
    run: Annotated[Path, typer.Argument(help="Folder of a run (not of its model).")],
    out: Out,
) -> None:
    """Draw the eigenvalues of the ground metric's matrix M after every epoch of a run.

    The title gives the effective rank after the first and the last epoch: the number of directions
    of the joint space that distances depend on. A low-rank metric drops to the floor of the plot
    beyond its rank.

    Example:
    otomatch picture spectrum runs/first --out spectrum.png
    """
    from otomatch.evaluation.plots.spectrum import draw_spectrum
    from otomatch.evaluation.plots.style import check_picture
    from otomatch.training.run_folder import read_spectrum

    check_picture(out)
    found = read_spectrum(run)
    draw_spectrum(found, out, f"Eigenvalues of M, {run.resolve().name}")
    typer.echo(f"{out}: {len(found)} epochs")


@dataclass(frozen=True)
class _Batch:
    """Unit vectors of clips and of one caption for each, both (B, D)."""

    model: "AudioTextModel"
    audio: "Tensor"
    text: "Tensor"
    title: str


def _embed(name: str, data: str, split: str | None, count: int, seed: int) -> _Batch:
    """Embed randomly sampled pairs of a data set."""
    from otomatch.datasets import open_dataset
    from otomatch.models.audio_text_model import AudioTextModel
    from otomatch.models.embedding import embed_clips

    dataset = in_split(open_dataset(data), split)
    clips, captions = _some_pairs(dataset, count, seed)
    model = AudioTextModel.from_pretrained(name, device())
    sounds = embed_clips(model, clips, progress=True)
    list_skipped(dataset.skipped + sounds.skipped)
    if len(sounds.rows) < 2:
        raise DatasetError(
            f"{dataset.name}: {len(sounds.rows)} of {len(clips)} clips with captions could be "
            "read; expected at least 2 pairs"
        )
    text = model.embed_text([captions[row] for row in sounds.rows])
    title = f"{_names([name])[0]} on {dataset.name}, {len(text)} pairs"
    return _Batch(model, sounds.vectors, text, title)


def _some_pairs(dataset: "CaptionDataset", count: int, seed: int) -> tuple[list["Clip"], list[str]]:
    """Sample at most ``count`` clips, and one caption of each."""
    import numpy as np

    rng = np.random.default_rng(seed)
    described = [clip for clip in dataset.clips if clip.captions]
    chosen = [described[i] for i in rng.permutation(len(described))[:count]]
    return chosen, [clip.captions[rng.integers(len(clip.captions))] for clip in chosen]


def _names(models: list[str]) -> list[str]:
    """Return a name for each model: its folder, or the run that contains it."""
    paths = [Path(abspath(model)) for model in models]  # a link keeps its own name
    names = [
        model if not path.is_dir() else path.parent.name if path.name == "model" else path.name
        for model, path in zip(models, paths, strict=True)
    ]
    if len(set(names)) == len(names):
        return names
    if len(set(models)) < len(models):
        raise ConfigError(f"a model is given twice: {', '.join(models)}; expected different models")
    return models
