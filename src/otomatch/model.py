"""The joint audio-text model: two encoders, two heads, a ground metric; saved as a folder.

A model folder holds ``config.json``, ``model.safetensors`` and ``README.md`` (the model card), and
``text_encoder/`` where the text encoder was fine-tuned or came from a local folder. Nothing in it
is a pickle.
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from otomatch import audio
from otomatch.encoders import AudioEncoder, TextEncoder, audio_encoder, text_encoder
from otomatch.errors import InvalidInputError, ModelError
from otomatch.ground import GROUND_METRICS, GroundMetric

AudioInput = str | os.PathLike[str] | tuple[npt.ArrayLike | Tensor, int]

_FORMAT = "otomatch-model/1"
_BATCH = 64


class Window(NamedTuple):
    """A stretch of a clip.

    Attributes:
        start: seconds.
        end: seconds.
        features: (frames, bands).
    """

    start: float
    end: float
    features: Tensor


class AudioTextModel(nn.Module):
    """Embeds sounds and descriptions in one space, under a learned ground metric.

    Args:
        audio: the audio encoder.
        text: the text encoder.
        ground: name of the ground metric and its other arguments, see `GROUND_METRICS`.
        dim: dimensions D of the joint space.
        hidden: hidden units of the two heads.
        dropout: between the layers of the heads, in training.
        window_seconds: longer clips are cut into windows of this length, whose embeddings are
            averaged.
    """

    def __init__(
        self,
        audio: AudioEncoder,
        text: TextEncoder,
        ground: dict[str, Any] | None = None,
        dim: int = 256,
        hidden: int = 512,
        dropout: float = 0.1,
        window_seconds: float = 10.0,
    ) -> None:
        super().__init__()
        self.audio_encoder, self.text_encoder = audio, text
        self.settings: dict[str, Any] = {
            "ground": ground or {"name": "full"},
            "dim": dim,
            "hidden": hidden,
            "dropout": dropout,
            "window_seconds": window_seconds,
        }
        self.audio_head = _head(audio.width, hidden, dim, dropout)
        self.text_head = _head(text.width, hidden, dim, dropout)
        self.ground = _ground_metric(dim, **self.settings["ground"])

    def forward(
        self, features: Tensor, lengths: Tensor | None, text: Tensor | Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """Embed a batch of pairs: `project_audio` and `project_text`."""
        return self.project_audio(features, lengths), self.project_text(text)

    def project_audio(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Features (B, frames, bands) -> unit vectors (B, D); ``lengths`` (B,) counts frames."""
        return _unit(self.audio_head(self.audio_encoder(features, lengths)))

    def project_text(self, text: Tensor | Sequence[str]) -> Tensor:
        """Captions, or the text encoder's outputs for them (B, width), -> unit vectors (B, D)."""
        states = text if isinstance(text, Tensor) else self.text_encoder(text)
        return _unit(self.text_head(states))

    def embed_audio(self, clips: Sequence[AudioInput]) -> Tensor:
        """Embed sounds.

        Args:
            clips: paths, or pairs (waveform, sample rate in Hz) with a waveform of shape
                (samples,) or (channels, samples).

        Returns:
            Unit vectors, float32 (n, D), on the CPU. The same clip always gives the same vector,
            whatever the others are.

        Raises:
            AudioError: a clip cannot be read, or holds no audio.
            InvalidInputError: ``clips`` is a single sound, or a rate is no positive number.
        """
        if isinstance(clips, str | os.PathLike):
            raise InvalidInputError(f"clips must be a list, got the single path {clips}")
        if isinstance(clips, tuple) and len(clips) == 2 and isinstance(clips[1], int):
            raise InvalidInputError("clips must be a list; put the (waveform, rate) into one")
        return self.embed_features([self.features(clip) for clip in clips])

    def features(self, clip: AudioInput) -> Tensor:
        """Features of one sound, (frames, bands); arguments and errors as for `embed_audio`."""
        encoder = self.audio_encoder
        if isinstance(clip, tuple):
            waveform = audio.as_mono(clip[0])
            waveform = audio.resample(waveform, clip[1], encoder.sample_rate)
        else:
            waveform = audio.load(Path(clip), encoder.sample_rate)
        return encoder.features(torch.from_numpy(waveform).to(self._device)).cpu()

    def embed_features(self, clips: Sequence[Tensor]) -> Tensor:
        """Embed sounds given as whole-clip features, n x (frames, bands), -> float32 (n, D)."""
        windows = [(i, w.features) for i, clip in enumerate(clips) for w in self.windows(clip)]
        windows.sort(key=lambda window: len(window[1]))  # like lengths together: little padding
        total = torch.zeros(len(clips), self.settings["dim"])
        with _evaluating(self):
            for start in range(0, len(windows), _BATCH):
                rows, features = zip(*windows[start : start + _BATCH], strict=True)
                lengths = torch.tensor([len(f) for f in features], device=self._device)
                batch = nn.utils.rnn.pad_sequence(
                    [f.to(self._device, torch.float32) for f in features], batch_first=True
                )
                vectors = self.project_audio(batch, lengths).float().cpu()
                total.index_add_(0, torch.tensor(rows), vectors)
        return _unit(total)

    @property
    def window_frames(self) -> int:
        """Feature frames of the longest window."""
        return 1 + round(float(self.settings["window_seconds"]) * self.audio_encoder.frame_rate)

    def windows(self, features: Tensor) -> list[Window]:
        """Cut a clip's features into the fewest windows that cover it, evenly spaced.

        A clip no longer than ``window_seconds`` is one window, and no window is padded.
        """
        rate, frames, size = self.audio_encoder.frame_rate, len(features), self.window_frames
        # Frames are centred: n seconds have a frame at each end, which neighbours share.
        count = max(1, math.ceil((frames - 1) / max(1, size - 1)))
        starts = torch.linspace(0, max(0, frames - size), count).round().int().tolist()
        return [
            Window(start / rate, (min(start + size, frames) - 1) / rate, features[start:][:size])
            for start in starts
        ]

    def embed_text(self, captions: Sequence[str]) -> Tensor:
        """Embed descriptions: n strings -> unit vectors, float32 (n, D), on the CPU.

        Raises:
            InvalidInputError: ``captions`` is a single string.
        """
        if isinstance(captions, str):
            raise InvalidInputError("captions must be a list of strings, got one string")
        with _evaluating(self):
            return self.project_text(captions).float().cpu()

    def embed_text_states(self, states: Tensor) -> Tensor:
        """Embed the text encoder's outputs, (n, width), -> float32 (n, D), on the CPU."""
        with _evaluating(self):
            return self.project_text(states.to(self._device)).float().cpu()

    @torch.no_grad()
    def whiten(self, embeddings: Tensor) -> Tensor:
        """Map embeddings to where Euclidean distance is the learned one, on the CPU."""
        return self.ground.whiten(embeddings.to(self._device)).cpu()

    @torch.no_grad()
    def distance(self, audio: Tensor, text: Tensor) -> Tensor:
        """Learned distances d_M between embeddings (n, D) and (m, D), shape (n, m), on the CPU."""
        distances: Tensor = self.ground(audio.to(self._device), text.to(self._device))
        return distances.cpu()

    @property
    def fingerprint(self) -> str:
        """Identifies everything that embeddings depend on, as 64 hex digits."""
        settings = {"audio": self.audio_encoder.describe(), **self.settings}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        digest.update(self.text_encoder.fingerprint().encode())
        for key, tensor in sorted(self._own_state().items()):
            digest.update(key.encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def save_pretrained(self, folder: str | Path, card: str = "") -> None:
        """Write the model as a folder; one that is there is replaced by the complete new one.

        Args:
            folder: where to.
            card: the model card (Markdown).

        Raises:
            ModelError: the folder exists and holds something else.
        """
        folder = Path(folder)
        if not _may_replace(folder):
            raise ModelError(f"{folder} holds something other than a model; choose another folder")
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        description = {
            "format": _FORMAT,
            "otomatch": version("otomatch"),
            "audio_encoder": self.audio_encoder.describe(),
            "text_encoder": self.text_encoder.save(partial),
            "text_fingerprint": self.text_encoder.fingerprint(),
            **self.settings,
        }
        (partial / "config.json").write_text(json.dumps(description, indent=2) + "\n")
        (partial / "README.md").write_text(card or "# otomatch model\n", encoding="utf-8")
        save_file(self._own_state(), partial / "model.safetensors")
        _replace(folder, partial)

    @classmethod
    def from_pretrained(cls, name: str | Path, device: str = "cpu") -> "AudioTextModel":
        """Load a model from its folder, or by its name on the Hugging Face hub.

        Args:
            name: folder or name.
            device: where it computes; embeddings come back on the CPU in any case.

        Returns:
            The model, in evaluation mode.

        Raises:
            ModelError: no such model, a part of it is missing or damaged, or its text encoder is
                not the one that it was trained with.
        """
        folder = _locate(name)
        try:
            description = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            state = load_file(folder / "model.safetensors")
        except (OSError, ValueError, SafetensorError) as error:
            raise ModelError(f"{folder}: the model cannot be read: {error}") from error
        if not isinstance(description, dict) or description.pop("format", None) != _FORMAT:
            raise ModelError(f"{folder}/config.json: is not of the format {_FORMAT}")
        try:
            model = cls._build(description, folder)
        except (KeyError, TypeError) as error:
            raise ModelError(f"{folder}/config.json: is malformed: {error!r}") from error
        model._load(state, folder)
        return model.to(device).eval()

    @classmethod
    def _build(cls, description: dict[str, Any], folder: Path) -> "AudioTextModel":
        del description["otomatch"]
        text_settings = description.pop("text_encoder")
        if text_settings["name"].startswith("./"):
            text_settings["name"] = str(folder / text_settings["name"])
        text = text_encoder(**text_settings)
        if text.fingerprint() != description.pop("text_fingerprint"):
            raise ModelError(
                f"{folder}: its text encoder {text_settings['name']!r} has other weights than the "
                "one it was trained with; install the version that was used"
            )
        return cls(audio_encoder(**description.pop("audio_encoder")), text, **description)

    def _load(self, state: dict[str, Tensor], folder: Path) -> None:
        own = {key: tensor.shape for key, tensor in self._own_state().items()}
        found = {key: tensor.shape for key, tensor in state.items()}
        if own != found:
            wrong = sorted(key for key, _ in own.items() ^ found.items())
            raise ModelError(
                f"{folder}/model.safetensors does not fit config.json; "
                f"missing, unexpected or of another shape: {', '.join(dict.fromkeys(wrong[:6]))}"
            )
        self.load_state_dict(state, strict=False)

    @property
    def _device(self) -> torch.device:
        return next(self.audio_head.parameters()).device

    def _own_state(self) -> dict[str, Tensor]:
        # The text encoder is kept by name, or saved beside this in its own format.
        return {
            key: tensor.detach().cpu().contiguous()
            for key, tensor in self.state_dict().items()
            if not key.startswith("text_encoder.")
        }


def _head(width: int, hidden: int, dim: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, dim)
    )


def _ground_metric(dim: int, name: str, **settings: Any) -> GroundMetric:
    if name not in GROUND_METRICS:
        raise InvalidInputError(
            f"unknown ground metric {name!r}; available: {', '.join(GROUND_METRICS)}"
        )
    metric: GroundMetric = GROUND_METRICS[name](dim, **settings)
    return metric


def _unit(vectors: Tensor) -> Tensor:
    # In float32 at least: under autocast a norm taken in bfloat16 is off by up to 0.4 %.
    return nn.functional.normalize(vectors.float() if vectors.itemsize < 4 else vectors, dim=1)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def _may_replace(folder: Path) -> bool:
    """Whether nothing but a model is lost if the folder is replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return True
    try:
        description = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(description, dict) and "otomatch" in description


def _replace(folder: Path, partial: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _locate(name: str | Path) -> Path:
    if (Path(name) / "config.json").is_file():
        return Path(name)
    if Path(name).exists() or str(name).startswith((".", "/")) or str(name).count("/") != 1:
        raise ModelError(f"{name}: is no model folder (it has no config.json)")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(name)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"{name}: no such folder, and no such model on the Hugging Face hub ({error})"
        ) from error
