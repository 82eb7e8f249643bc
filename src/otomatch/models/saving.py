"""Model folders: saved, found by name, described and loaded.

A model folder contains ``config.json``, ``model.safetensors`` and ``README.md`` (the model card),
and ``text_encoder/`` if the text encoder was fine-tuned, came from a local folder or is a CLAP's.
It never contains a pickle. A whole CLAP, by name or as a folder, loads as a model without heads.
"""

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from otomatch.errors import ModelError
from otomatch.files import replacing
from otomatch.models.clap_conversion import clap_arguments, is_clap
from otomatch.models.dual_encoder import DualEncoder, own_weights
from otomatch.models.encoders import audio_encoder, is_frozen, text_encoder

M = TypeVar("M", bound=DualEncoder)
FORMAT = "otomatch-model/1"
_CONFIG, _WEIGHTS, _CARD = "config.json", "model.safetensors", "README.md"


def save_model(model: DualEncoder, folder: Path, card: str) -> None:
    """Write a model as a folder; a model that is already there is replaced atomically.

    Args:
        model: Model to save.
        folder: Folder to write.
        card: Model card, Markdown.

    Raises:
        ModelError: The folder exists and contains something other than a model.
    """
    if not _may_replace(folder):
        raise ModelError(f"{folder} contains something other than a model; choose another folder")
    with replacing(folder) as partial:
        partial.mkdir()
        description = {
            "format": FORMAT,
            "otomatch": version("otomatch"),
            "audio_encoder": {
                **model.audio_encoder.describe(),
                "trainable": not is_frozen(model.audio_encoder),
            },
            "text_encoder": model.text_encoder.save(partial),
            "text_fingerprint": model.text_encoder.fingerprint(),
            **model.settings,
        }
        (partial / _CONFIG).write_text(json.dumps(description, indent=2) + "\n")
        (partial / _CARD).write_text(card or "# otomatch model\n", encoding="utf-8")
        save_file(own_weights(model), partial / _WEIGHTS)


def load_model(build: Callable[..., M], name: str | Path) -> M:
    """Build a model and load its weights, from its folder or by its Hugging Face name.

    Args:
        build: Constructor of the model.
        name: Folder or Hugging Face name of a model, or of an unfused CLAP.

    Raises:
        ModelError: There is no such model, a part of it is missing or damaged, or its text encoder
            is not the one that it was trained with.
    """
    description = _read_config(name)
    if is_clap(description):
        return build(**clap_arguments(str(name)))
    folder = _locate(name)
    if description.pop("format", None) != FORMAT:
        raise ModelError(
            f"{folder}/{_CONFIG} is not of the format {FORMAT}; use the folder of a saved model"
        )
    try:
        weights = load_file(folder / _WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"{folder}: the model cannot be read: {error}") from error
    try:
        model = build(**_arguments(description, folder))
    except (KeyError, TypeError) as error:
        raise ModelError(f"{folder}/{_CONFIG} is malformed: {error!r}") from error
    _load_weights(model, weights, folder)
    return model


def _arguments(description: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the constructor's arguments that a description stands for."""
    del description["otomatch"]
    settings = description.pop("text_encoder")
    prefix, colon, place = settings["name"].rpartition(":")
    if place.startswith("./"):
        settings["name"] = f"{prefix}{colon}{folder / place}"
    text = text_encoder(**settings)
    if text.fingerprint() != description.pop("text_fingerprint"):
        raise ModelError(
            f"{folder}: its text encoder {settings['name']!r} has other weights than the one it "
            "was trained with; install the version that was used"
        )
    audio = audio_encoder(**description.pop("audio_encoder"))
    return {"audio": audio, "text": text, **description}


def _load_weights(model: DualEncoder, weights: dict[str, Tensor], folder: Path) -> None:
    own = {key: tensor.shape for key, tensor in own_weights(model).items()}
    found = {key: tensor.shape for key, tensor in weights.items()}
    if own != found:
        wrong = sorted(key for key, _ in own.items() ^ found.items())
        raise ModelError(
            f"{folder}/{_WEIGHTS} does not fit {_CONFIG}; "
            f"missing, unexpected or of another shape: {', '.join(dict.fromkeys(wrong[:6]))}"
        )
    model.load_state_dict(weights, strict=False)


def _read_config(name: str | Path) -> dict[str, Any]:
    path = Path(name) / _CONFIG
    if not path.is_file():
        path = _from_hub(name, whole=False)
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{name}: the model cannot be read: {error}") from error
    if not isinstance(description, dict):
        raise ModelError(f"{name}/{_CONFIG} is not a JSON object")
    return description


def _locate(name: str | Path) -> Path:
    return Path(name) if (Path(name) / _CONFIG).is_file() else _from_hub(name, whole=True)


def _from_hub(name: str | Path, whole: bool) -> Path:
    """Download a model's folder, or only its ``config.json``."""
    if Path(name).exists() or str(name).startswith((".", "/")) or str(name).count("/") != 1:
        raise ModelError(
            f"{name} is not a model folder (it contains no {_CONFIG}); use the folder of a model "
            "or a name on the Hugging Face hub, such as laion/clap-htsat-unfused"
        )
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(name)) if whole else hf_hub_download(str(name), _CONFIG))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"{name}: no such folder, and no such model on the Hugging Face hub ({error})"
        ) from error


def _may_replace(folder: Path) -> bool:
    """Return True if replacing the folder can lose nothing but a model."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return True
    try:
        description = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(description, dict) and "otomatch" in description
