"""Adding files to a library, removing them, and bringing it up to date with folders."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from otomatch.datasets.base import Skipped
from otomatch.library.columns import StoredFile
from otomatch.library.connection import local_folder
from otomatch.library.indexing.file_names import check_name, is_below, name_problem, readable
from otomatch.library.indexing.planning import (
    IndexPlan,
    check_exists,
    check_not_lost,
    find_gone,
    gone_from_empty_folders,
    kept_folders,
    make_plan,
)
from otomatch.library.indexing.progress import IndexProgress
from otomatch.library.indexing.run import IndexRun
from otomatch.library.indexing.walking import Listing, list_sounds
from otomatch.library.library_model import LibraryModel
from otomatch.library.records import AddReport, IndexReport, SoundFile
from otomatch.library.store import Store
from otomatch.library.table_indexes import optimize, refresh_word_index


def add_files(
    store: Store,
    model: LibraryModel,
    sounds: Iterable[SoundFile | str | Path] | SoundFile | str | Path,
    progress: bool = False,
) -> AddReport:
    """Add files to a library; see `SoundLibrary.add`."""
    if isinstance(sounds, SoundFile | str | Path):
        sounds = [sounds]
    given = list(map(_absolute, sounds))
    usable = [sound for sound in given if not name_problem(sound.path)]
    skipped = [Skipped(readable(s.path), why) for s in given if (why := name_problem(s.path))]
    plan = make_plan(usable, store.files(), complete=False)
    run = _run(store, model, plan, progress)
    return AddReport(
        added=run.tally.added + run.tally.changed,
        unchanged=run.tally.unchanged + plan.unchanged,
        skipped=_sorted([*skipped, *run.skipped]),
    )


def index_folders(
    store: Store,
    model: LibraryModel,
    folders: Sequence[str | Path],
    pattern: str = "*",
    keep_deleted: bool = False,
    progress: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> IndexReport:
    """Bring a library up to date with folders; see `SoundLibrary.index`."""
    known = store.files()
    listings = [_list_folder(store, folder, pattern, known) for folder in folders]
    listings.sort(key=lambda listing: len(str(listing.root)), reverse=True)  # outermost last
    sounds = (sound for listing in listings for sound in listing.sounds)
    plan = make_plan(sounds, known, complete=True)
    plan.gone = find_gone(listings, known, pattern)
    kept = gone_from_empty_folders(listings, plan.gone)
    run = _run(
        store, model, plan, progress, stop, {} if keep_deleted else _without(plan.gone, kept)
    )
    skipped = [entry for listing in listings for entry in listing.skipped]
    return IndexReport(
        added=run.tally.added,
        changed=run.tally.changed,
        moved=run.tally.moved,
        removed=run.tally.removed,
        unchanged=run.tally.unchanged + plan.unchanged,
        skipped=_sorted([*skipped, *kept_folders(kept, run.moved), *run.skipped]),
        interrupted=stop(),
    )


def remove_files(store: Store, path: str | Path) -> int:
    """Remove a file, or all files below a folder; see `SoundLibrary.remove`."""
    check_name(path)
    places = {os.path.abspath(path), os.path.realpath(path)}  # a link has its own name, too
    with store.writing():
        removed = [p for p in store.files() if any(is_below(p, place) for place in places)]
        store.delete(removed)
    return len(removed)


def _list_folder(
    store: Store, folder: str | Path, pattern: str, known: Mapping[str, StoredFile]
) -> Listing:
    check_name(folder)
    check_exists(Path(folder).resolve(), known)
    listing = list_sounds(folder, pattern, exclude=local_folder(store.uri))
    check_not_lost(listing, known, pattern)
    return listing


def _run(
    store: Store,
    model: LibraryModel,
    plan: IndexPlan,
    progress: bool,
    stop: Callable[[], bool] = lambda: False,
    removed: Mapping[str, StoredFile] | None = None,
) -> IndexRun:
    """Carry out a plan; ``removed`` are the files to remove, None to leave broken files, too."""
    with IndexProgress(progress) as shown:
        run = IndexRun(store, model, plan, shown, stop)
        run.update()
        if not stop():
            if removed is not None:
                run.remove(removed)
            with store.writing():
                optimize(store)
                refresh_word_index(store)
    return run


def _sorted(skipped: Iterable[Skipped]) -> tuple[Skipped, ...]:
    """Return each entry once, by name: threads finish in any order, and folders may overlap."""
    return tuple(sorted(dict.fromkeys(skipped), key=lambda entry: entry.name))


def _without(
    gone: Mapping[str, StoredFile], kept: Mapping[Path, set[str]]
) -> dict[str, StoredFile]:
    left_out = set[str]().union(*kept.values())
    return {path: stored for path, stored in gone.items() if path not in left_out}


def _absolute(sound: SoundFile | str | Path) -> SoundFile:
    """Return a file under its absolute name, which is valid wherever the library is opened."""
    if not isinstance(sound, SoundFile):
        return SoundFile(Path(os.path.realpath(sound) if "\0" not in str(sound) else sound))
    root = None if sound.root is None else Path(os.path.abspath(sound.root))
    return replace(sound, path=Path(os.path.abspath(sound.path)), root=root)
