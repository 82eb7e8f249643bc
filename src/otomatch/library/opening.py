"""Opening of a library that is created if it does not exist."""

from contextlib import suppress
from pathlib import Path

from otomatch.errors import MissingLibraryError, WindowMismatchError
from otomatch.library.connection import library_exists
from otomatch.library.creation import LibraryExistsError
from otomatch.library.sound_library import SoundLibrary
from otomatch.models.audio_text_model import AudioTextModel


def open_or_create(
    uri: str | Path,
    model: str | Path | None,
    device: str = "cpu",
    window: float | None = None,
    hop: float | None = None,
) -> SoundLibrary:
    """Open a library and check its model and windows, or create it.

    Args:
        uri: Folder or LanceDB URI of the library.
        model: As for `SoundLibrary.create`; None for the model of the existing library.
        device: Device that the model runs on.
        window: As for `SoundLibrary.create`; None for that of the existing library.
        hop: As for `SoundLibrary.create`; None for that of the existing library.

    Raises:
        MissingLibraryError: There is no library, and no model to create it with.
        WindowMismatchError: The library has other windows.
        LibraryError: The library has another model.
        ModelError: There is no such model.
        InvalidInputError: ``window`` or ``hop`` is out of range.
    """
    if not library_exists(uri):
        if model is None:
            raise MissingLibraryError(
                f"{uri}: no library yet, and no model to create one with; give a model", str(uri)
            )
        with suppress(LibraryExistsError):  # another process has just created it
            return SoundLibrary.create(uri, model, device, window, hop)
    loaded = None if model is None else AudioTextModel.from_pretrained(model, device)
    library = SoundLibrary.open(uri, loaded, device)
    _check_windows(library, window, hop)
    return library


def _check_windows(library: SoundLibrary, window: float | None, hop: float | None) -> None:
    for name, wanted in (("window", window), ("hop", hop)):
        stored = library.store.metadata[name]
        if wanted is not None and wanted != stored:
            raise WindowMismatchError(
                f"{library.uri} was created with a {name} of {stored:g} s, not {wanted:g} s; leave "
                f"out the {name}, or index the sounds into a new library"
            )
