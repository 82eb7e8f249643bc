"""The commands that maintain libraries: index, info, remove, export."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from otomatch.cli.output import AsJson, device, list_reasons, print_json
from otomatch.errors import LibraryError

if TYPE_CHECKING:  # lancedb and torch load slowly; --help must not
    from otomatch.library import IndexReport
    from otomatch.library.records import LibraryInfo

app = typer.Typer()

LibraryArgument = Annotated[str, typer.Argument(help="Folder (or LanceDB URI) of the library.")]
_COUNTS = ("added", "changed", "moved", "removed", "unchanged")


class Kind(StrEnum):
    """Formats of an exported library."""

    parquet = "parquet"
    csv = "csv"


@app.command()
def index(
    folders: Annotated[list[Path], typer.Argument(help="Folders of sound files.")],
    library: Annotated[
        str,
        typer.Option(help="Folder (or LanceDB URI) of the library; created if it does not exist."),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Folder of a model, or its name on the hub (CLAP included). Required for a new "
            "library only."
        ),
    ] = None,
    pattern: Annotated[
        str,
        typer.Option(
            "--glob",
            help="Index only files that match, e.g. '*.wav' or 'rain/*'. Other files are neither "
            "added nor removed.",
        ),
    ] = "*",
    window: Annotated[
        float | None,
        typer.Option(
            help="Length of the windows that long files are cut into, in seconds, for a new "
            "library. Default: 5, or 10 for CLAP. Short windows locate a sound more precisely; "
            "long windows capture how sounds combine."
        ),
    ] = None,
    hop: Annotated[
        float | None,
        typer.Option(
            help="Seconds from the start of one window to the start of the next, for a new "
            "library. Default: half a window. Minimum: a fiftieth of a window."
        ),
    ] = None,
    keep_deleted: Annotated[
        bool, typer.Option("--keep-deleted", help="Keep the rows of files that no longer exist.")
    ] = False,
    skipped: Annotated[
        Path | None,
        typer.Option(
            help="CSV file (file,reason) that lists skipped files. Default: skipped.csv in the "
            "library's folder."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create a library from folders of sounds, or update it.

    Run it again when files are added, changed, moved or deleted: only new and changed sounds are
    decoded. Names of files and folders, tags inside the files, and captions from a captions.csv
    become searchable text. Ctrl-C stops after the current sounds, and the same command continues.
    A missing or empty folder, such as an unmounted drive, is an error and its sounds stay in the
    library. Sounds of an empty subfolder stay too, and the subfolder is listed as skipped.

    Examples:
    otomatch index ~/sounds --model runs/first/model --library my-library

    otomatch index ~/sounds /media/drive/foley --library my-library    # updates, adds a folder

    otomatch index ~/sounds --model laion/clap-htsat-unfused --library clap-library

    otomatch index ~/field --library field --model runs/first/model --window 2.5 --hop 1
    """
    from otomatch.library import find_sounds, open_or_create
    from otomatch.library.connection import library_exists

    for folder in () if library_exists(library) else folders:
        find_sounds(folder, pattern)  # a mistyped folder must not create a library
    opened = open_or_create(library, model, device(), window, hop)
    with _stopping() as stop:
        report = opened.index(folders, pattern, keep_deleted, progress=True, stop=stop.is_set)
    listed = _write_list(library, skipped, report)
    if as_json:
        print_json(_plain(report))
    else:
        _show(report, listed, f"{library} holds {opened.info().sounds} sounds")
    if report.interrupted:
        typer.echo(
            "Stopped. The library is up to date so far; the same command continues.", err=True
        )
        raise typer.Exit(130)


@app.command()
def info(library: LibraryArgument, as_json: AsJson = False) -> None:
    """Show what a library holds: sounds, hours, folders, its model and size.

    Examples:
    otomatch info my-library
    """
    from otomatch.library import SoundLibrary

    about = SoundLibrary.open(library).info()
    if as_json:
        print_json(about.to_dict())
        return
    for name, value in _lines(about):
        typer.echo(f"{name:<9}{value}")


@app.command()
def remove(
    library: LibraryArgument,
    path: Annotated[Path, typer.Argument(help="Sound file, or folder including its subfolders.")],
) -> None:
    """Remove a sound, or everything in a folder, from a library. The files themselves stay.

    Use it for sounds that are gone for good: files that still exist are added again when their
    folder is next indexed. Moved files need no removal: run [bold]otomatch index[/] with both the
    old and the new folder.

    Examples:
    otomatch remove my-library ~/sounds/old-takes

    otomatch remove my-library ~/sounds/noise.wav
    """
    from otomatch.library import SoundLibrary

    count = SoundLibrary.open(library).remove(path)
    if not count:
        raise LibraryError(
            f"{library} holds nothing in {path}; otomatch info {library} lists its folders"
        )
    sounds = "1 sound" if count == 1 else f"{count} sounds"
    typer.echo(f"{sounds} removed from {library}; the files are untouched")


@app.command()
def export(
    library: LibraryArgument,
    to: Annotated[
        Kind, typer.Option(help="Format: parquet with all columns, or csv without the vectors.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="File to write. Default: the library's name, in the current folder."),
    ] = None,
) -> None:
    """Export a library as one table with a row for each window.

    Vectors are already in the learned metric: compare them by Euclidean distance.

    Examples:
    otomatch export my-library --to parquet

    otomatch export my-library --to csv --out sounds.csv
    """
    from otomatch.library import SoundLibrary

    name = library.rstrip("/").rpartition("/")[2] or "library"
    place = out or Path(f"{name}.{to.value}")
    if place.suffix.lower() != f".{to.value}":
        raise LibraryError(
            f"{place}: the name must end in .{to.value}, as --to says; change one of them"
        )
    count = SoundLibrary.open(library).export(place)
    typer.echo(f"{count} rows written to {place}")


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C sets. A second Ctrl-C exits at once."""
    stop = threading.Event()

    def handle(number: int, *_: object) -> None:
        stop.set()
        signal.signal(number, signal.default_int_handler)
        Console(stderr=True).print(
            "Stopping after the current sounds. Press Ctrl-C again to exit at once."
        )

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _write_list(library: str, given: Path | None, report: "IndexReport") -> Path | None:
    """Write the skipped files as CSV. A remote library without ``given`` has no list: None."""
    from otomatch.library.connection import local_folder
    from otomatch.library.exporting import SKIPPED_LIST, write_skipped

    folder = local_folder(library)
    path = given or (None if folder is None else folder / SKIPPED_LIST)
    if path is not None:
        write_skipped(path, report.skipped)
    return path


def _plain(report: "IndexReport") -> dict[str, object]:
    skipped = [{"name": entry.name, "reason": entry.reason} for entry in report.skipped]
    return {**{name: getattr(report, name) for name in _COUNTS}, "skipped": skipped}


def _show(report: "IndexReport", listed: Path | None, after: str) -> None:
    list_reasons(report.skipped, listed)
    counts = ", ".join(f"{getattr(report, name)} {name}" for name in _COUNTS[1:])
    typer.echo(f"{report.added} files added, {counts}, {len(report.skipped)} skipped; {after}")


def _lines(about: "LibraryInfo") -> Iterator[tuple[str, str]]:
    hours = f"{about.seconds / 3600:.1f} h" if about.seconds >= 3600 else f"{about.seconds:.0f} s"
    yield "sounds", f"{about.sounds}, {hours} in all"
    yield "windows", f"{about.windows}, of up to {about.window:g} s, {about.hop:g} s apart"
    yield from (("folder", root) for root in about.roots)
    yield "model", f"{about.model} ({about.fingerprint[:12]})"
    if about.bytes is not None:
        yield "on disk", f"{about.bytes / 1e6:.1f} MB"
    yield "created", about.created
    yield "updated", about.updated
