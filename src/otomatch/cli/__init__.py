"""The command line: thin commands over the library."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from otomatch import __version__
from otomatch.cli import library as cli_index
from otomatch.cli import search as cli_library
from otomatch.cli import serve as cli_serve
from otomatch.cli import study as cli_study
from otomatch.cli.data import app as data_app
from otomatch.cli.output import (
    AsJson,
    counting,
    device,
    in_split,
    integers,
    list_skipped,
    show_classification,
    show_retrieval,
    show_warnings_plainly,
)
from otomatch.cli.plots import app as picture_app
from otomatch.cli.remedies import message
from otomatch.errors import ConfigError, OtomatchError

app = typer.Typer(
    name="otomatch",
    help="Match sounds and descriptions with optimal transport: train, evaluate, search.\n\n"
    "Try [bold]otomatch demo[/] first. Where the folder of a data set is asked for, give a folder "
    "with captions.csv, or NAME:FOLDER with one of the names audiocaps, clotho and esc-50.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

app.add_typer(data_app, name="data")
app.add_typer(picture_app, name="picture")


class Split(StrEnum):
    """Halves of the rendered sounds."""

    train = "train"
    test = "test"


def main() -> None:
    """Run the command line; an error that is the user's to mend is one message, no traceback."""
    show_warnings_plainly()
    try:
        app()
    except OtomatchError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {escape(message(error))}", soft_wrap=True)
        sys.exit(1)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"otomatch {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


@app.command()
def compose(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder of labelled recordings (ESC-10 or ESC-50 layout), or the word 'midi' for "
            "rendered instruments, percussion and effects."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder to write the data set to.")],
    folds: Annotated[
        str | None, typer.Option(help="Folds of the recordings to use, e.g. 1,2,3. Default: all.")
    ] = None,
    split: Annotated[
        Split | None, typer.Option(help="Half of the rendered sounds (midi). Default: train.")
    ] = None,
    clips: Annotated[
        int | None, typer.Option(min=1, help="Number of scenes. Default: 3000.")
    ] = None,
    exhaustive: Annotated[
        bool,
        typer.Option("--exhaustive", help="Every combination of classes once, not --clips scenes."),
    ] = False,
    seconds: Annotated[float, typer.Option(help="Length of a scene, 1 to 600.")] = 5.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 0,
) -> None:
    """Compose captioned scenes: one sound, one after another, one over another.

    Writes a data set folder that [bold]otomatch train[/] and [bold]evaluate[/] take.

    Examples:
    otomatch compose ESC-50 scenes --folds 1,2,3 --clips 3000 --seed 0

    otomatch compose midi test-scenes --split test --clips 200
    """
    from otomatch.datasets.scenes.composition import compose as compose_scenes

    if exhaustive and clips is not None:
        raise ConfigError("--exhaustive makes every combination once; leave --clips out")
    with counting("Composing") as advance:
        dataset = compose_scenes(
            source,
            out,
            clips=3000 if clips is None else clips,
            exhaustive=exhaustive,
            seconds=seconds,
            seed=seed,
            folds=None if folds is None else integers("--folds", folds),
            split=None if split is None else split.value,
            progress=advance,
        )
    list_skipped(dataset.skipped)
    typer.echo(f"{len(dataset)} clips, {len(dataset.captions)} captions in {out}")


@app.command()
def train(
    run: Annotated[
        Path,
        typer.Option(
            "--run", "--run-folder", help="Folder of the run; one that exists is resumed."
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="Folder of the data set (with captions.csv), or NAME:FOLDER with the name "
            "audiocaps or clotho."
        ),
    ] = None,
    val: Annotated[
        str | None,
        typer.Option(
            help="Data set to validate on. Default: the split val of --data, or some of its clips."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file with the configuration; those of the paper are in configs/."),
    ] = None,
    noise: Annotated[
        float | None, typer.Option(help="Share of the clips that get wrong captions, 0 to 1.")
    ] = None,
    noise_kind: Annotated[
        str | None,
        typer.Option(
            help="Wrong captions are all those of any other clip (clip), of one alike (similar), "
            "or single ones (caption). Default: clip."
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a field: section.field=value. Repeatable."),
    ] = None,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print every field and its meaning, and stop.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model, or resume a run that was interrupted.

    The run folder gets config.toml, log.csv (a row per epoch), spectrum.csv (the eigenvalues of the
    metric, a row per epoch), tensorboard/, checkpoint/, model/ (the best epoch) and report.json;
    noise.json where captions were exchanged, and pairs.csv where the wrong ones are estimated.

    Examples:
    otomatch train --data scenes --run runs/first

    otomatch train --run runs/first    # resumes

    otomatch train --data clotho:data/clotho --run runs/x --config configs/clotho-resnet38-bert.toml

    otomatch train --data scenes --run runs/ntxent --set loss.name=ntxent --set optim.epochs=20

    otomatch train --data scenes --run runs/noisy --noise 0.4 --noise-kind similar

    otomatch train --data scenes --run runs/auto --set loss.target=trimmed --set loss.mass=auto

    Several processes, one on each GPU if there are any, share every batch and its plan (torchrun
    would take --run for an option of its own):

    torchrun --nproc-per-node 2 -m otomatch train --data scenes --run-folder runs/two
    """
    from otomatch.training.config import dump_toml, load_config

    if config is None and (run / "config.toml").is_file():
        config = run / "config.toml"
    overrides = list(assignments or [])
    given = (("path", data), ("val", val))
    overrides += [_path(field, place) for field, place in given if place is not None]
    wrong = (("noise", noise), ("noise_kind", noise_kind))
    overrides += [f"data.{field}={value}" for field, value in wrong if value is not None]
    settings = load_config(config, overrides)
    if noise_kind is not None and not settings.data.noise:
        raise ConfigError("--noise-kind does nothing without noise; give --noise, for example 0.4")
    # A run must be resumable from any folder.
    places = {"path": settings.data.path, "val": settings.data.val}
    resolved = [_path(field, place) for field, place in places.items() if place]
    if settings.data.pairs:
        resolved.append(f"data.pairs={json.dumps(str(Path(settings.data.pairs).resolve()))}")
    settings = load_config(config, overrides + resolved)
    if show_config:
        typer.echo(dump_toml(settings))
        return
    from otomatch.parallel import process_group
    from otomatch.training.trainer import train as fit

    result = fit(settings, run)
    if process_group.rank():
        return
    title = f"{run.name}, epoch {result.best_epoch} of {result.epochs}"
    show_retrieval(result.report, title, as_json)
    if not as_json:
        Console().print(f"Model: {result.model}", highlight=False, soft_wrap=True)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Folder of a model, or its name on the hub.")],
    data: Annotated[
        str,
        typer.Argument(help="Folder of the data set, or NAME:FOLDER, e.g. clotho:data/clotho."),
    ],
    split: Annotated[
        str | None, typer.Option(help="Use this split only. Default: test, if there is one.")
    ] = None,
    recall: Annotated[str, typer.Option(help="Values of k for recall@k.")] = "1,5,10",
    precision: Annotated[str, typer.Option("--map", help="Values of k for mAP@k.")] = "10",
    as_json: AsJson = False,
) -> None:
    """Measure retrieval in both directions.

    Ranked by distance, query by query; beside it the transductive ranking by one transport plan
    over the whole set, which knows how many captions each clip has and is not comparable.

    Examples:
    otomatch evaluate runs/first/model test-scenes

    otomatch evaluate runs/x/model audiocaps:data/audiocaps --split val
    """
    from otomatch.datasets import open_dataset
    from otomatch.evaluation.evaluator import evaluate as measure
    from otomatch.models.audio_text_model import AudioTextModel
    from otomatch.parallel import process_group

    process_group.initialize()
    dataset = in_split(open_dataset(data), split)
    report = measure(
        AudioTextModel.from_pretrained(model, device()),
        dataset,
        ks=integers("--recall", recall),
        map_ks=integers("--map", precision),
        progress=True,
    )
    if process_group.rank():
        return
    list_skipped(report.skipped)
    show_retrieval(report, f"{model} on {report.dataset}", as_json)


@app.command()
def zeroshot(
    model: Annotated[str, typer.Argument(help="Folder of a model, or its name on the hub.")],
    data: Annotated[
        str,
        typer.Argument(help="Folder of labelled clips, or NAME:FOLDER, e.g. esc-50:data/esc-50."),
    ],
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            help="Describes a class, with {label} where its name stands. Repeat for the mean of "
            "several. Default: This is a sound of {label}."
        ),
    ] = None,
    fold: Annotated[str | None, typer.Option(help="Use these folds only, e.g. 1,2.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Use this split only. Default: test, if there is one.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the confusion matrix to this .png, .svg or .pdf file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Classify labelled sounds by descriptions of the classes, without any training on them.

    Each sound gets the class at the smallest distance; beside it the transductive result by one
    transport plan, which assumes that all classes have as many clips and is not comparable.

    Examples:
    otomatch zeroshot runs/x/model esc-50:data/esc-50 --fold 1 --picture confusion.png

    otomatch zeroshot runs/x/model my-clips --prompt "the sound of {label}" --prompt "{label}"
    """
    from otomatch.datasets import open_dataset
    from otomatch.evaluation.plots.confusion import draw_confusion
    from otomatch.evaluation.plots.style import check_picture
    from otomatch.evaluation.zero_shot import PROMPT
    from otomatch.evaluation.zero_shot import zeroshot as classify
    from otomatch.models.audio_text_model import AudioTextModel
    from otomatch.parallel import process_group

    if picture is not None:
        check_picture(picture)
    process_group.initialize()
    dataset = open_dataset(data)
    chosen = in_split(dataset, split)
    report = classify(
        AudioTextModel.from_pretrained(model, device()),
        chosen.in_folds(integers("--fold", fold)) if fold else chosen,
        prompts=prompt or PROMPT,
        classes=dataset.labels,
        progress=True,
    )
    if process_group.rank():
        return
    list_skipped(report.skipped)
    title = f"{model} on {report.dataset}"
    if picture is not None:
        draw_confusion(report, picture, title)
    show_classification(report, title, as_json)


app.command()(cli_index.index)
app.command()(cli_library.search)
app.command()(cli_library.duplicates)
app.command()(cli_index.info)
app.command()(cli_index.remove)
app.command()(cli_index.export)
app.command()(cli_serve.serve)
app.command()(cli_study.study)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("otomatch-demo"),
    serve: Annotated[
        bool | None,
        typer.Option(
            "--serve/--no-serve",
            help="End by serving the library to a browser. Default: only in a terminal.",
        ),
    ] = None,
) -> None:
    """Render sounds, train a model, evaluate it and search with it: a few minutes, no download.

    In a terminal it ends with the page on which the sounds can be searched and heard.
    """
    wanted = sys.stdin.isatty() and sys.stdout.isatty() if serve is None else serve
    if wanted:
        cli_serve.check_installed()
    from otomatch.cli.demo import run_demo

    library = run_demo(folder, Console())
    if wanted:
        cli_serve.run(library)


def _path(field: str, place: str) -> str:
    from otomatch.datasets import absolute_reference

    return f"data.{field}={json.dumps(absolute_reference(place), ensure_ascii=False)}"
