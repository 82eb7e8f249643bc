"""The commands that search libraries."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from otomatch.terminal import AsJson, device, print_json


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
