"""The commands that make and keep up libraries: index, info, remove, export."""

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

LibraryArgument = Annotated[str, typer.Argument(help="Folder (or LanceDB URI) of the library.")]
_COUNTS = ("added", "changed", "moved", "removed", "unchanged")


class Kind(StrEnum):
    """What a library can be written as."""

    parquet = "parquet"
    csv = "csv"


def index(
    folders: Annotated[list[Path], typer.Argument(help="Folders of sound files.")],
    library: Annotated[
        str, typer.Option(help="Folder (or LanceDB URI) of the library; made if need be.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Folder of a model, or its name on the hub (a CLAP's too); needed once, for a "
            "new library."
        ),
    ] = None,
    pattern: Annotated[
        str,
        typer.Option(
            "--glob",
            help="Only files whose names match, e.g. '*.wav' or 'rain/*'; the others are neither "
            "added nor removed.",
        ),
    ] = "*",
    window: Annotated[
        float | None,
        typer.Option(
            help="Seconds of the windows into which long files are cut, for a new library. "
            "Default: 5; for a CLAP the 10 that it takes. Shorter ones tell better where a sound "
            "is, longer ones what goes with what."
        ),
    ] = None,
    hop: Annotated[
        float | None,
        typer.Option(
            help="Seconds between the beginnings of neighbouring windows, for a new library. "
            "Default: half a window; at least a fiftieth."
        ),
    ] = None,
    keep_deleted: Annotated[
        bool, typer.Option("--keep-deleted", help="Keep files in the library that are gone.")
    ] = False,
    skipped: Annotated[
        Path | None,
        typer.Option(
            help="CSV file (file,reason) for what was left out. Default: skipped.csv in the "
            "library's folder."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Bring a library up to date with folders of sounds, and make it if need be.

    Run it again whenever files come, change, move or go: only new and changed sounds are listened
    to. Names of files and folders, tags inside the files, and a captions.csv in a folder or below
    become searchable text. Ctrl-C stops after the sounds in hand; the same command goes on. A
    folder that is missing or empty, as that of an unmounted drive, is an error: its sounds stay in
    the library. So do those of an empty folder further down, which is listed as skipped.

    Examples:
    otomatch index ~/sounds --model runs/first/model --library my-library

    otomatch index ~/sounds /media/drive/foley --library my-library    # again, and one more

    otomatch index ~/sounds --model laion/clap-htsat-unfused --library clap-library

    otomatch index ~/field --library field --model runs/first/model --window 2.5 --hop 1
    """
    from otomatch.library import find_sounds, open_or_create
    from otomatch.library.store import exists

    for folder in () if exists(library) else folders:
        find_sounds(folder, pattern)  # a mistyped folder makes no library
    opened = open_or_create(library, model, device(), window, hop)
    with _stopping() as stop:
        report = opened.index(folders, pattern, keep_deleted, progress=True, stop=stop.is_set)
    listed = _write_list(library, skipped, report)
    if as_json:
        print_json(_plain(report))
    else:
        _show(report, listed, f"{library} holds {opened.info().sounds} sounds")
    if report.interrupted:
        typer.echo("Stopped. What is done is kept; the same command goes on.", err=True)
        raise typer.Exit(130)


def info(library: LibraryArgument, as_json: AsJson = False) -> None:
    """Say what a library holds: sounds, hours, folders, the model it was made with, size.

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


def remove(
    library: LibraryArgument,
    path: Annotated[Path, typer.Argument(help="A sound file, or a folder and all below it.")],
) -> None:
    """Take a sound, or all below a folder, out of a library. The files themselves stay.

    For what is gone for good; what only moved is found by [bold]otomatch index[/] with the folders
    that it moved from and to.

    Examples:
    otomatch remove my-library ~/sounds/old-takes

    otomatch remove my-library ~/sounds/noise.wav
    """
    from otomatch.library import SoundLibrary

    count = SoundLibrary.open(library).remove(path)
    if not count:
        raise LibraryError(
            f"{library} holds nothing at or below {path}; otomatch info {library} lists its folders"
        )
    typer.echo(f"{count} sounds removed from {library}; their files are untouched")


def export(
    library: LibraryArgument,
    to: Annotated[
        Kind, typer.Option(help="parquet has all columns and vectors; csv leaves vectors out.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="File to write. Default: the library's name, here.")
    ] = None,
) -> None:
    """Write a library as one table for other programs, a row for each window.

    Distances between vectors are Euclidean: the learned metric is in them already.

    Examples:
    otomatch export my-library --to parquet

    otomatch export my-library --to csv --out sounds.csv
    """
    from otomatch.library import SoundLibrary

    name = library.rstrip("/").rpartition("/")[2] or "library"
    place = out or Path(f"{name}.{to.value}")
    if place.suffix.lower() != f".{to.value}":
        raise LibraryError(f"{place}: give a name that ends in .{to.value}, or another --to")
    count = SoundLibrary.open(library).export(place)
    typer.echo(f"{count} rows written to {place}")


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets; the second Ctrl-C ends at once."""
    stop = threading.Event()

    def handle(number: int, *_: object) -> None:
        stop.set()
        signal.signal(number, signal.default_int_handler)
        Console(stderr=True).print("Stopping after the sounds in hand; Ctrl-C again ends at once.")

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _write_list(library: str, given: Path | None, report: "IndexReport") -> Path | None:
    """Write what was skipped as CSV; None for a library elsewhere, unless a file is given."""
    from otomatch.library.indexing.reports import SKIPPED, write_skipped
    from otomatch.library.store import local

    folder = local(library)
    path = given or (None if folder is None else folder / SKIPPED)
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
