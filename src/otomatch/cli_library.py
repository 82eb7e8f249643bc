"""The commands about libraries: adding sounds to one, and searching it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from otomatch.terminal import AsJson, device, list_skipped, print_json


def index(
    folders: Annotated[list[Path], typer.Argument(help="Folders of sound files.")],
    library: Annotated[
        str, typer.Option(help="Folder (or LanceDB URI) of the library; made if need be.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Folder of a model, or its name on the hub (a CLAP's too), for a new library."
        ),
    ] = None,
    pattern: Annotated[str, typer.Option("--glob", help="Only files whose names match.")] = "*",
    as_json: AsJson = False,
) -> None:
    """Add the sounds of folders to a library that can be searched.

    Files that are there already and have not changed are not embedded again; files that cannot be
    read are listed and skipped.

    Examples:
    otomatch index ~/sounds --model runs/first/model --library my-library

    otomatch index ~/sounds --model laion/clap-htsat-unfused --library clap-library
    """
    from otomatch.library import find_sounds, open_or_create

    sounds = [sound for folder in folders for sound in find_sounds(folder, pattern)]
    opened = open_or_create(library, model, device())
    report = opened.add(sounds, progress=True)
    if as_json:
        skipped = [{"name": entry.name, "reason": entry.reason} for entry in report.skipped]
        print_json({"added": report.added, "unchanged": report.unchanged, "skipped": skipped})
        return
    list_skipped(report.skipped)
    typer.echo(
        f"{report.added} files added, {report.unchanged} unchanged, {len(report.skipped)} skipped; "
        f"{library} holds {len(opened)} windows"
    )


def search(
    library: Annotated[str, typer.Argument(help="Folder (or LanceDB URI) of the library.")],
    text: Annotated[str | None, typer.Argument(help="What the sound is like.")] = None,
    like: Annotated[
        Path | None, typer.Option(help="Search by a sound file instead of a text.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of hits.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Find the sounds nearest to a description, or to another sound.

    Examples:
    otomatch search my-library "rain behind a barking dog" -k 5

    otomatch search my-library --like reference.wav
    """
    from otomatch.library import SoundLibrary

    hits = SoundLibrary.open(library, device=device()).search(text, audio=like, k=k)
    if as_json:
        print_json([hit.to_dict() for hit in hits])
    else:
        from otomatch.report import hits_table

        Console().print(hits_table(hits, text or str(like)))
