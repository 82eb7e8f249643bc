"""The command that runs a study."""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from otomatch.studies.catalogue import STUDIES

StudyName = StrEnum("StudyName", {name: name for name in STUDIES})  # type: ignore[misc]  # dynamic
_SUMMARIES = " ".join(f"[bold]{study.name}[/]: {study.summary}." for study in STUDIES.values())


app = typer.Typer()


@app.command()
def study(
    name: Annotated[StudyName, typer.Argument(help=f"Study to run. {_SUMMARIES}")],
    data: Annotated[
        list[str],
        typer.Option(
            help="scenes:FOLDER composes scenes from labelled recordings (ESC-50 layout) and holds "
            "the last fold out; scenes:midi renders them; a folder or NAME:FOLDER is taken as it "
            "is, with its splits. Repeat for a second one (transfer)."
        ),
    ],
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of every setting.")] = 3,
    out: Annotated[
        Path, typer.Option(help="Folder of all studies, which share their runs.")
    ] = Path("studies"),
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A glimpse in minutes: fewer settings, scenes and epochs."),
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file that every run starts from. Default: a small encoder."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a field of every run: section.field=value."),
    ] = None,
    zeroshot: Annotated[
        str | None,
        typer.Option(help="Labelled clips to classify, e.g. esc-50:DIR. Default: those of --data."),
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try failed runs again.")] = False,
) -> None:
    """Answer a question by a grid of training runs, with tables, plots and honest error bars.

    A study that was stopped goes on when the same command is given again, and a second process
    with the same command takes a share of the work. OUT/NAME gets rows.csv, summary.md, plots/ and
    index.html; OUT/cells every training run.

    Examples:
    otomatch study losses --data scenes:data/esc-50 --quick

    otomatch study noise --data scenes:data/esc-50 --seeds 5 --out results

    otomatch study transfer --data scenes:data/esc-50 --data scenes:midi

    otomatch study losses --data audiocaps:data/audiocaps --config configs/audiocaps-cnn14-bert.toml
    """
    from otomatch.studies.planning import StudySettings
    from otomatch.studies.runner import run_study

    console = Console(stderr=True)
    chosen = STUDIES[name.value]
    settings = StudySettings(
        data,
        out,
        seeds=seeds,
        quick=quick,
        config=config,
        overrides=assignments or (),
        zeroshot=zeroshot,
        retry=retry,
        command=shlex.join(["otomatch", *sys.argv[1:]]),
    )
    try:
        results = run_study(chosen, settings, console)
    except KeyboardInterrupt:
        console.print("Stopped; the same command goes on.")
        raise typer.Exit(130) from None
    folder = settings.folder(chosen)
    done = results.planned - len(results.failures)
    line = f"{done} of {results.planned} runs done: {folder / 'index.html'}"
    console.print(line, highlight=False, soft_wrap=True)
    if results.failures:
        raise typer.Exit(1)
