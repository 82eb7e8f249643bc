"""The commands that search libraries."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from otomatch.cli.output import AsJson, device, print_json
from otomatch.errors import AudioError
from otomatch.library.records import Hit

_PLAYED = 3


def search(
    library: Annotated[str, typer.Argument(help="Folder (or LanceDB URI) of the library.")],
    text: Annotated[str | None, typer.Argument(help="What the sound is like.")] = None,
    like: Annotated[
        Path | None, typer.Option(help="A sound file to look for, instead of a text or with it.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option("--not", help="What the sound should not be like. May be repeated."),
    ] = None,
    folder: Annotated[
        str | None,
        typer.Option(
            help="Only sounds in this folder or below it: a path, or the name of an indexed folder "
            "or of one below it."
        ),
    ] = None,
    min_duration: Annotated[
        float | None, typer.Option(min=0, help="Only files of at least so many seconds.")
    ] = None,
    max_duration: Annotated[
        float | None, typer.Option(min=0, help="Only files of at most so many seconds.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of hits.")] = 10,
    hybrid: Annotated[
        bool | None,
        typer.Option(
            "--hybrid/--no-hybrid",
            help="Whether words of the text found in names, folders and tags count too. Default: "
            "they do.",
        ),
    ] = None,
    playlist: Annotated[
        Path | None, typer.Option(help="Write the hits as a playlist to this .m3u8 file.")
    ] = None,
    play: Annotated[
        bool, typer.Option("--play", help="Play the first three hits, each from its second on.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find sounds by describing them, by another sound, or by both.

    Each file is listed once, at the stretch that fits best. Relevance is how likely the sound is
    what you asked for, by what is heard alone: 90 % is a good hit whatever the query. With several
    terms all of them must apply, and none of those after --not. Files whose names, folders or tags
    have words of the text move up.

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
        typer.echo("nothing fits; widen --folder or the durations, or index more sounds")
    if player is not None:
        _play(player, hits[:_PLAYED])


def _asked(text: str | None, like: Path | None, without: list[str] | None) -> str:
    """A query in words."""
    wanted = ([text] if text else []) + ([f"like {like.name}"] if like else [])
    return ", ".join([" + ".join(wanted), *(f"not {term}" for term in without or ())])


def _play(player: Callable[[Hit], None], hits: list[Hit]) -> None:
    """Play hits one after the other, saying which; Ctrl-C ends it."""
    try:
        for hit in hits:
            typer.echo(f"playing {Path(hit.path).name} {hit.span} (Ctrl-C stops)", err=True)
            try:
                player(hit)
            except AudioError as error:  # a file that is gone must not keep the others silent
                typer.echo(str(error), err=True)
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)


def duplicates(
    library: Annotated[str, typer.Argument(help="Folder (or LanceDB URI) of the library.")],
    folder: Annotated[
        str | None,
        typer.Option(help="Only sounds in this folder or below it, as for search."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List near-identical sounds, in groups: copies in other formats, levels, rates or lengths.

    Sounds count as copies if they take the same course, not if they are of the same kind. In each
    group "=" marks files whose very bytes are the same as those of a file above. Every file is
    decoded once or twice, in about a minute for 10,000 short ones. Nothing is removed.

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
