"""Fingerprints of models: equal fingerprints mean equal embeddings, or equal encoder outputs.

All are SHA-256 digests, written as 64 hex digits. What they cover must not change: libraries,
caches and saved models store them.
"""

import hashlib
import json
from typing import Any

import torch
from torch import Tensor

from otomatch.audio.windows import REMAINDER
from otomatch.models.dual_encoder import DualEncoder, own_weights


def model_fingerprint(model: DualEncoder) -> str:
    """Return a digest of everything that embeddings depend on."""
    settings = {"audio": model.audio_encoder.describe(), **model.settings}
    return _digest(settings, model.text_encoder.fingerprint(), own_weights(model))


def audio_fingerprint(model: DualEncoder) -> str:
    """Return a digest of everything that `audio_states` depends on."""
    settings = {
        "audio": model.audio_encoder.describe(),
        "window_seconds": model.settings["window_seconds"],
        "remainder": REMAINDER,
    }
    weights = own_weights(model)
    own = {key: weights[key] for key in weights if key.startswith("audio_encoder.")}
    return _digest(settings, model.audio_encoder.feature_key, own)


def _digest(settings: dict[str, Any], part: str, tensors: dict[str, Tensor]) -> str:
    """Digest settings, the fingerprint of another part, and weights together."""
    found = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    found.update(part.encode())
    for key, tensor in sorted(tensors.items()):
        found.update(key.encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
