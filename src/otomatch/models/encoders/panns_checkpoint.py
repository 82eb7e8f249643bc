"""Published PANNs checkpoints (Zenodo record 3987831), read without executing pickled code."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor

from otomatch.errors import ModelError
from otomatch.files import cache_folder, download, file_md5
from otomatch.models.encoders.front_end import LogMelEncoder

_CLASSES = 527
_LISTED = 5  # keys of each kind that an error lists
_SAME_FILTERS = 1e-4
# Exceptions that reading a damaged or unrelated file can raise.
_DAMAGE = (OSError, EOFError, RuntimeError, ValueError, TypeError, AttributeError, LookupError)


@dataclass(frozen=True)
class Published:
    """A published checkpoint file.

    Attributes:
        name: File name.
        md5: MD5 checksum, 32 hex digits.
    """

    name: str
    md5: str

    @property
    def url(self) -> str:
        """Address of the file on Zenodo."""
        return f"https://zenodo.org/record/3987831/files/{quote(self.name)}?download=1"

    def fetch(self) -> Path:
        """Download the file to the cache folder unless it is there; return its path."""
        return download(self.url, self.name, self.md5, cache_folder() / "panns")


def read_checkpoint(path: Path, published: Published, encoder: LogMelEncoder) -> dict[str, Tensor]:
    """Read the encoder's weights from a checkpoint.

    Args:
        path: Checkpoint file.
        published: Published file that it should be.
        encoder: Encoder that the weights are for.

    Raises:
        ModelError: The file is missing, damaged, incomplete or of another network, or was trained
            with other mel filters than the encoder's.
    """
    if not path.is_file():
        raise ModelError(
            f"{path}: no such checkpoint; use the path of {published.name}, or 'download'"
        )
    if path.name == published.name and (found := file_md5(path)) != published.md5:
        raise ModelError(
            f"{path} has the md5 sum {found}, expected {published.md5}; "
            f"download the file again from {published.url}"
        )
    state = _load(path, published)
    own = encoder.state_dict()
    shapes = {key: tensor.shape for key, tensor in own.items()} | _left_out(encoder)
    _check_shapes(path, state, shapes, published)
    _check_filters(path, state["logmel_extractor.melW"], encoder.front_end.filters.T)
    return {key: state[key] for key in own}


def _left_out(encoder: LogMelEncoder) -> dict[str, torch.Size]:
    """Return the shapes of a checkpoint's other entries: front end and classifier."""
    window, width = encoder.front_end.config.n_fft, encoder.width
    bins = window // 2 + 1
    shapes = {
        "spectrogram_extractor.stft.conv_real.weight": (bins, 1, window),
        "spectrogram_extractor.stft.conv_imag.weight": (bins, 1, window),
        "logmel_extractor.melW": (bins, encoder.bands),
        "fc1.weight": (width, width),
        "fc1.bias": (width,),
        "fc_audioset.weight": (_CLASSES, width),
        "fc_audioset.bias": (_CLASSES,),
    }
    return {key: torch.Size(shape) for key, shape in shapes.items()}


def _load(path: Path, published: Published) -> dict[str, Tensor]:
    try:
        with torch.serialization.safe_globals(_numpy_arrays()):
            state = torch.load(path, map_location="cpu", weights_only=True)["model"]
        return {key: tensor.detach() for key, tensor in state.items()}
    except (*_DAMAGE, pickle.UnpicklingError) as error:
        reason = next(iter(str(error).splitlines()), "")  # torch adds how to load it unsafely
        raise ModelError(
            f"{path} is not a PANNs checkpoint ({type(error).__name__}: {reason}); "
            f"expected the file {published.name} from {published.url}"
        ) from error


def _numpy_arrays() -> list[Any]:
    """Return the classes of the integers in ``sampler`` (unused), which are safe to construct."""
    make = np.empty(0).__reduce__()[0]
    return [
        (make, "numpy.core.multiarray._reconstruct"),  # name in the numpy that wrote the files
        (make, "numpy._core.multiarray._reconstruct"),
        np.ndarray,
        np.dtype,
        type(np.dtype(np.int64)),
    ]


def _check_shapes(
    path: Path, state: dict[str, Tensor], expected: dict[str, torch.Size], published: Published
) -> None:
    found = {key: tensor.shape for key, tensor in state.items()}
    faults = {
        "missing": expected.keys() - found.keys(),
        "unexpected": found.keys() - expected.keys(),
        "of another shape": {k for k in expected.keys() & found.keys() if expected[k] != found[k]},
    }
    if any(faults.values()):
        listed = (f"{fault}: {_some(sorted(keys))}" for fault, keys in faults.items() if keys)
        raise ModelError(
            f"{path} is a checkpoint of another network than {published.name} "
            f"({len(expected)} entries); {'; '.join(listed)}"
        )


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - _LISTED} more" if keys[_LISTED:] else ""
    return ", ".join(keys[:_LISTED]) + more


def _check_filters(path: Path, found: Tensor, filters: Tensor) -> None:
    difference = float((found - filters).abs().max() / filters.max())
    if not difference < _SAME_FILTERS:
        raise ModelError(
            f"{path}: its mel filters (logmel_extractor.melW) differ from those of 64 bands "
            f"between 50 and 14000 Hz at 32 kHz by {difference:.2g} of their largest value; "
            "it was trained on other features and cannot be used"
        )
