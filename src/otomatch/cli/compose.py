"""The command that composes captioned scenes."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from otomatch.cli.output import counting, integers, list_skipped
from otomatch.errors import ConfigError

app = typer.Typer()

_CLIPS = 3000


class Split(StrEnum):
    """Halves of the rendered sounds."""

    train = "train"
    test = "test"


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
        int | None, typer.Option(min=1, help=f"Number of scenes. Default: {_CLIPS}.")
    ] = None,
    exhaustive: Annotated[
        bool,
        typer.Option(
            "--exhaustive", help="Compose every combination of classes once, instead of --clips."
        ),
    ] = False,
    seconds: Annotated[float, typer.Option(help="Length of a scene, 1 to 600.")] = 5.0,
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed; the same seed gives the same bytes.")
    ] = 0,
) -> None:
    """Compose captioned scenes: one sound, one after another, or one over another.

    The result is a data set folder for [bold]otomatch train[/] and [bold]otomatch evaluate[/].

    Examples:
    otomatch compose ESC-50 scenes --folds 1,2,3 --clips 3000 --seed 0

    otomatch compose midi test-scenes --split test --clips 200
    """
    from otomatch.datasets.scenes import composition

    if exhaustive and clips is not None:
        raise ConfigError("--exhaustive composes every combination once; use it without --clips")
    with counting("Composing") as advance:
        dataset = composition.compose(
            source,
            out,
            clips=_CLIPS if clips is None else clips,
            exhaustive=exhaustive,
            seconds=seconds,
            seed=seed,
            folds=None if folds is None else integers("--folds", folds),
            split=None if split is None else split.value,
            progress=advance,
        )
    list_skipped(dataset.skipped)
    typer.echo(f"{len(dataset)} clips, {len(dataset.captions)} captions in {out}")
