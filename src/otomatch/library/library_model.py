"""Model of a library, loaded on first use."""

import threading
from collections.abc import Sequence

from torch import Tensor

from otomatch.errors import LibraryError
from otomatch.library.connection import local_folder
from otomatch.library.references import reference_descriptions
from otomatch.library.store import Store
from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.windowing import AudioInput

MODEL_FOLDER = "model"
"""Name of the folder, inside the library's, with its copy of the model."""


class LibraryModel:
    """Model that a library was created with; several threads may use it at once.

    Args:
        store: Table of the library.
        device: Device for the library's own copy of the model.
        model: Model to use instead of the library's own copy; None to load that on first use.

    Raises:
        LibraryError: ``model`` is not the one that the library was created with.
    """

    def __init__(
        self, store: Store, device: str = "cpu", model: AudioTextModel | None = None
    ) -> None:
        self._store, self._device = store, device
        # Tokenizers are not thread-safe, and the model must load only once.
        self._lock = threading.RLock()
        self._model = None if model is None else self._checked(model)
        self._references: Tensor | None = None

    @property
    def model(self) -> AudioTextModel:
        """The model itself.

        Raises:
            LibraryError: The library's copy is missing, or belongs to another library.
        """
        if self._model is not None:  # no need to wait while another thread embeds
            return self._model
        with self._lock:
            if self._model is None:
                self._model = self._load()
            return self._model

    @property
    def references(self) -> Tensor:
        """Whitened vectors of the reference descriptions, (m, D)."""
        with self._lock:
            if self._references is None:
                self._references = self.embed_texts(reference_descriptions())
            return self._references

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Return the whitened vectors of texts, (n, D)."""
        with self._lock:
            return self.model.whiten(self.model.embed_text(texts))

    def embed_sound(self, sound: AudioInput) -> Tensor:
        """Return the whitened vector of a sound, (D,).

        Raises:
            AudioError: The sound cannot be read.
        """
        with self._lock:
            return self.model.whiten(self.model.embed_audio([sound]))[0]

    def _load(self) -> AudioTextModel:
        folder, source = local_folder(self._store.uri), self._store.metadata["model"]
        if folder is not None and source == MODEL_FOLDER:
            source = folder / MODEL_FOLDER
            if not source.is_dir():
                raise LibraryError(
                    f"{self._store.uri}: its copy of the model ({MODEL_FOLDER}/) is missing; put "
                    "it back, or index the sounds into a new library"
                )
        return self._checked(AudioTextModel.from_pretrained(source, self._device))

    def _checked(self, model: AudioTextModel) -> AudioTextModel:
        expected = self._store.metadata["fingerprint"]
        if model.fingerprint != expected:
            raise LibraryError(
                f"{self._store.uri} was created with another model (fingerprint {expected[:12]}, "
                f"this one has {model.fingerprint[:12]}); use that model, or index the sounds into "
                "a new library"
            )
        return model
