"""A model's folder: described, found by its name, and replaced in one step."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from otomatch.errors import ModelError

_CONFIG = "config.json"


def describe(name: str | Path) -> dict[str, Any]:
    """The ``config.json`` of a folder, or of a model on the Hugging Face hub.

    Raises:
        ModelError: there is none, or it is no JSON object.
    """
    path = Path(name) / _CONFIG
    if not path.is_file():
        path = _from_hub(name, whole=False)
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{name}: the model cannot be read: {error}") from error
    if not isinstance(description, dict):
        raise ModelError(f"{name}/{_CONFIG}: is not of the format of a model")
    return description


def locate(name: str | Path) -> Path:
    """The folder of a model, downloaded if it is named on the Hugging Face hub.

    Raises:
        ModelError: there is no such model.
    """
    return Path(name) if (Path(name) / _CONFIG).is_file() else _from_hub(name, whole=True)


def _from_hub(name: str | Path, whole: bool) -> Path:
    """Download a model's folder, or only its description."""
    if Path(name).exists() or str(name).startswith((".", "/")) or str(name).count("/") != 1:
        raise ModelError(f"{name}: is no model folder (it has no {_CONFIG})")
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(name)) if whole else hf_hub_download(str(name), _CONFIG))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"{name}: no such folder, and no such model on the Hugging Face hub ({error})"
        ) from error


def may_replace(folder: Path) -> bool:
    """Whether nothing but a model is lost if the folder is replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return True
    try:
        description = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(description, dict) and "otomatch" in description


def replace(folder: Path, partial: Path) -> None:
    """Put a complete new folder in the place of another."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def digest(settings: dict[str, Any], part: str, tensors: dict[str, Tensor]) -> str:
    """Identifies settings, another fingerprint and weights together, as 64 hex digits."""
    found = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    found.update(part.encode())
    for key, tensor in sorted(tensors.items()):
        found.update(key.encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
