"""The commands that search libraries: search and duplicates."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from otomatch.cli.output import AsJson, device, print_json
from otomatch.errors import AudioError

if TYPE_CHECKING:  # torch and lancedb load slowly; --help must not
    from otomatch.library.records import Hit

app = typer.Typer()

_PLAYED = 3


@app.command()
def search(
    library: Annotated[str, typer.Argument(help="Folder (or LanceDB URI) of the library.")],
    text: Annotated[str | None, typer.Argument(help="Description of the sound.")] = None,
    like: Annotated[
        Path | None,
        typer.Option(help="Sound file to search for, instead of a text or together with it."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option("--not", help="Description to avoid. Repeatable."),
    ] = None,
    folder: Annotated[
        str | None,
        typer.Option(
            help="Search only this folder and its subfolders: a path, or the name of an indexed "
            "folder or subfolder."
        ),
    ] = None,
    min_duration: Annotated[
        float | None, typer.Option(min=0, help="Shortest duration in seconds.")
    ] = None,
    max_duration: Annotated[
        float | None, typer.Option(min=0, help="Longest duration in seconds.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of hits.")] = 10,
    hybrid: Annotated[
        bool | None,
        typer.Option(
            "--hybrid/--no-hybrid",
            help="Also match words of the text with names, folders and tags. Default: on.",
        ),
    ] = None,
    playlist: Annotated[
        Path | None, typer.Option(help="Write the hits to this .m3u8 playlist.")
    ] = None,
    play: Annotated[
        bool, typer.Option("--play", help="Play the first three hits, each from its matching span.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find sounds by description, by example, or by both.

    Each file is listed once, with the span that matches best. Relevance is the probability that the
    sound is what you asked for, judged by sound alone, and is comparable between queries: 90 % is a
    good hit. With several terms, all must match, and none of those after --not may. Files whose
    names, folders or tags contain words of the text move up.

    Examples:
    otomatch search my-library "rain behind a barking dog" -k 5

    otomatch search my-library "a busy street" --not "car horns" --not music --min-duration 20

    otomatch search my-library --like reference.wav --folder field/2024

    otomatch search my-library "a wooden door" --like slam.wav --playlist doors.m3u8 --play
    """
    from otomatch.library import SoundLibrary, find_player, write_playlist

    player = find_player() if play else None
    hits = SoundLibrary.open(library, device=device()).search(
        text,
        audio=like,
        without=without,
        folder=folder,
        min_duration=min_duration,
        max_duration=max_duration,
        k=k,
        hybrid=hybrid,
    )
    if playlist is not None:
        write_playlist(hits, playlist)
    if as_json:
        print_json([hit.to_dict() for hit in hits])
    elif hits:
        from otomatch.cli.tables import hits_table

        Console().print(hits_table(hits, _asked(text, like, without)))
    else:
        typer.echo("No sound matches; widen --folder or the durations, or index more sounds.")
    if player is not None:
        _play(player, hits[:_PLAYED])


def _asked(text: str | None, like: Path | None, without: list[str] | None) -> str:
    """Return the query in words."""
    wanted = ([text] if text else []) + ([f"like {like.name}"] if like else [])
    return ", ".join([" + ".join(wanted), *(f"not {term}" for term in without or ())])


def _play(player: "Callable[[Hit], None]", hits: "list[Hit]") -> None:
    """Play hits one after the other and print which; Ctrl-C stops."""
    try:
        for hit in hits:
            typer.echo(f"playing {Path(hit.path).name} {hit.span} (Ctrl-C stops)", err=True)
            try:
                player(hit)
            except AudioError as error:  # a missing file must not stop the others
                typer.echo(str(error), err=True)
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)


@app.command()
def duplicates(
    library: Annotated[str, typer.Argument(help="Folder (or LanceDB URI) of the library.")],
    folder: Annotated[
        str | None,
        typer.Option(help="Compare only sounds in this folder and its subfolders, as for search."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List near-identical sounds in groups: copies in other formats, levels, rates or lengths.

    Two sounds are copies if they follow the same course over time; being of the same kind is not
    enough. A "=" marks files with exactly the same bytes as a file above in the group. Every file
    is decoded once or twice: about a minute for 10,000 short files. Nothing is removed.

    Examples:
    otomatch duplicates my-library

    otomatch duplicates my-library --folder field/2024 --json
    """
    from otomatch.library import SoundLibrary

    groups = SoundLibrary.open(library, device=device()).duplicates(folder, progress=True)
    if as_json:
        print_json([group.to_dict() for group in groups])
        return
    from otomatch.cli.tables import duplicates_table

    Console().print(duplicates_table([group.to_dict() for group in groups]))
