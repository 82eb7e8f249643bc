"""The joint audio-text model: two encoders, two heads, a ground metric; saved as a folder.

A model folder holds ``config.json``, ``model.safetensors`` and ``README.md`` (the model card), and
``text_encoder/`` where the text encoder was fine-tuned, came from a local folder or is a CLAP's.
Nothing in it is a pickle. A CLAP itself, by its name or as a folder, is a model without heads.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from otomatch import audio
from otomatch.audio.windows import REMAINDER, Window, cut, stretches
from otomatch.errors import InvalidInputError, ModelError
from otomatch.models import saving as model_folder
from otomatch.models.encoders import AudioEncoder, TextEncoder, audio_encoder, clap, text_encoder
from otomatch.models.heads import head
from otomatch.transport.ground_metrics import GROUND_METRICS, GroundMetric

AudioInput = str | os.PathLike[str] | tuple[npt.ArrayLike | Tensor, int]

_FORMAT = "otomatch-model/1"
_BATCH = 64


class AudioTextModel(nn.Module):
    """Embeds sounds and descriptions in one space, under a learned ground metric.

    Args:
        audio: the audio encoder.
        text: the text encoder.
        ground: name of the ground metric and its other arguments, see `GROUND_METRICS`.
        dim: dimensions D of the joint space.
        hidden: hidden units of the two heads; 0 for none, where both encoders are D wide.
        dropout: between the layers of the heads, in training.
        window_seconds: longer clips are cut into windows of this length, whose embeddings are
            averaged.

    Raises:
        InvalidInputError: the ground metric is unknown, an encoder has another width than D and
            no head, or the audio encoder takes windows of another length.
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
        if audio.window_seconds not in (None, window_seconds):
            raise InvalidInputError(
                f"the audio encoder takes windows of exactly {audio.window_seconds} s, got "
                f"window_seconds = {window_seconds} (data.max_seconds in a configuration)"
            )
        self.audio_encoder, self.text_encoder = audio, text
        self.settings: dict[str, Any] = {
            "ground": ground or {"name": "full"},
            "dim": dim,
            "hidden": hidden,
            "dropout": dropout,
            "window_seconds": window_seconds,
        }
        self.audio_head = head(audio.width, hidden, dim, dropout)
        self.text_head = head(text.width, hidden, dim, dropout)
        self.ground = _ground_metric(dim, **self.settings["ground"])

    def forward(
        self, audio: Tensor, lengths: Tensor | None, text: Tensor | Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """Embed a batch of pairs: `project_audio` and `project_text`."""
        return self.project_audio(audio, lengths), self.project_text(text)

    def project_audio(self, audio: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Features, or the audio encoder's outputs for them, -> unit vectors (B, D).

        Args:
            audio: features (B, frames, bands), or outputs (B, width).
            lengths: (B,) frames of each clip, None where all are full; outputs have none.
        """
        states = audio if audio.ndim == 2 else self.audio_encoder(audio, lengths)
        return _unit(self.audio_head(states))

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
        return self._features(self._waveform(clip))

    def _waveform(self, clip: AudioInput) -> Tensor:
        rate = self.audio_encoder.sample_rate
        if isinstance(clip, tuple):
            return torch.from_numpy(audio.resample(audio.as_mono(clip[0]), clip[1], rate))
        return torch.from_numpy(audio.load(Path(clip), rate))

    def _features(self, waveform: Tensor) -> Tensor:
        return self.audio_encoder.features(waveform.to(self._device)).cpu()

    def embed_features(self, clips: Sequence[Tensor]) -> Tensor:
        """Embed sounds given as whole-clip features, n x (frames, bands), -> float32 (n, D)."""
        return self.embed_audio_states(self.audio_states(clips))

    def audio_states(self, clips: Sequence[Tensor]) -> list[Tensor]:
        """Audio encoder's outputs for the windows of clips given as features.

        Returns:
            For each clip (windows, width), float32, on the CPU.
        """
        windows = [[window.features for window in self.windows(clip)] for clip in clips]
        flat = [features for clip in windows for features in clip]
        order = sorted(range(len(flat)), key=lambda i: len(flat[i]))  # like lengths: less padding
        states = torch.zeros(len(flat), self.audio_encoder.width)
        with _evaluating(self):
            for start in range(0, len(order), _BATCH):
                rows = order[start : start + _BATCH]
                lengths = torch.tensor([len(flat[i]) for i in rows], device=self._device)
                batch = nn.utils.rnn.pad_sequence(
                    [flat[i].to(self._device, torch.float32) for i in rows], batch_first=True
                )
                states[rows] = self.audio_encoder(batch, lengths).float().cpu()
        return list(torch.split(states, [len(clip) for clip in windows]))

    def embed_audio_states(self, clips: Sequence[Tensor]) -> Tensor:
        """Embed clips given as `audio_states`, n x (windows, width), -> float32 (n, D)."""
        total = torch.zeros(len(clips), self.settings["dim"])
        if len(clips):
            rows = torch.arange(len(clips)).repeat_interleave(torch.tensor(list(map(len, clips))))
            with _evaluating(self):
                vectors = self.project_audio(torch.cat(list(clips)).to(self._device))
            total.index_add_(0, rows, vectors.float().cpu())
        return _unit(total)

    @property
    def window_frames(self) -> int:
        """Feature frames of the longest window."""
        return 1 + round(float(self.settings["window_seconds"]) * self.audio_encoder.frame_rate)

    def windows(self, features: Tensor) -> list[Window]:
        """Cut a clip's features into the fewest windows that cover it, evenly spaced.

        Features of no more than ``window_seconds``, or little more, are one window; no window is
        padded.
        """
        return cut(features, self.window_frames, self.audio_encoder.frame_rate)

    def sound_windows(
        self, clip: AudioInput, seconds: float | None = None, hop: float | None = None
    ) -> Iterator[Window]:
        """Windows of one sound, one by one, so that hours of it need no more memory than seconds.

        They cover the sound, and the last ends with it, though less than a fiftieth of a window
        beyond its length is not heard. Other arguments and errors as for `embed_audio`; a file is
        read as the windows are asked for.

        Args:
            clip: the sound.
            seconds: length of a window; None for the longest, ``window_seconds``.
            hop: seconds between the beginnings of neighbours, at most; None for no overlap.
        """
        rate = self.audio_encoder.sample_rate
        longest = float(self.settings["window_seconds"])
        size = round(rate * (longest if seconds is None else min(seconds, longest)))
        step = size if hop is None else max(1, min(size, round(rate * hop)))
        blocks = (
            [self._waveform(clip).numpy()]
            if isinstance(clip, tuple)
            else audio.stream(Path(clip), rate)
        )
        for start, samples in stretches(blocks, size, step):
            features = self._features(torch.from_numpy(samples[:size]))
            yield Window(start / rate, (start + len(samples)) / rate, features)

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
        return model_folder.digest(settings, self.text_encoder.fingerprint(), self._own_state())

    @property
    def audio_fingerprint(self) -> str:
        """Identifies everything that `audio_states` depends on, as 64 hex digits."""
        seconds = self.settings["window_seconds"]
        settings = {
            "audio": self.audio_encoder.describe(),
            "window_seconds": seconds,
            "remainder": REMAINDER,
        }
        state = self._own_state()
        own = {key: state[key] for key in state if key.startswith("audio_encoder.")}
        return model_folder.digest(settings, self.audio_encoder.feature_key, own)

    def save_pretrained(self, folder: str | Path, card: str = "") -> None:
        """Write the model as a folder; one that is there is replaced by the complete new one.

        Args:
            folder: where to.
            card: the model card (Markdown).

        Raises:
            ModelError: the folder exists and holds something else.
        """
        folder = Path(folder)
        if not model_folder.may_replace(folder):
            raise ModelError(f"{folder} holds something other than a model; choose another folder")
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        description = {
            "format": _FORMAT,
            "otomatch": version("otomatch"),
            "audio_encoder": {
                **self.audio_encoder.describe(),
                "trainable": self.audio_encoder.trainable,
            },
            "text_encoder": self.text_encoder.save(partial),
            "text_fingerprint": self.text_encoder.fingerprint(),
            **self.settings,
        }
        (partial / "config.json").write_text(json.dumps(description, indent=2) + "\n")
        (partial / "README.md").write_text(card or "# otomatch model\n", encoding="utf-8")
        save_file(self._own_state(), partial / "model.safetensors")
        model_folder.replace(folder, partial)

    @classmethod
    def from_pretrained(cls, name: str | Path, device: str = "cpu") -> "AudioTextModel":
        """Load a model from its folder, or by its name on the Hugging Face hub.

        Args:
            name: folder or name; of an unfused CLAP too (``laion/clap-htsat-unfused``), which
                becomes a model without heads, with both encoders frozen and the Euclidean metric.
            device: where it computes; embeddings come back on the CPU in any case.

        Returns:
            The model, in evaluation mode.

        Raises:
            ModelError: no such model, a part of it is missing or damaged, or its text encoder is
                not the one that it was trained with.
        """
        description = model_folder.describe(name)
        if description.get("model_type") == clap.MODEL_TYPE:
            return cls._of_clap(str(name)).to(device).eval()
        folder = model_folder.locate(name)
        if description.pop("format", None) != _FORMAT:
            raise ModelError(f"{folder}/config.json: is not of the format {_FORMAT}")
        try:
            state = load_file(folder / "model.safetensors")
        except (OSError, ValueError, SafetensorError) as error:
            raise ModelError(f"{folder}: the model cannot be read: {error}") from error
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
        prefix, colon, place = text_settings["name"].rpartition(":")
        if place.startswith("./"):
            text_settings["name"] = f"{prefix}{colon}{folder / place}"
        text = text_encoder(**text_settings)
        if text.fingerprint() != description.pop("text_fingerprint"):
            raise ModelError(
                f"{folder}: its text encoder {text_settings['name']!r} has other weights than the "
                "one it was trained with; install the version that was used"
            )
        return cls(audio_encoder(**description.pop("audio_encoder")), text, **description)

    @classmethod
    def _of_clap(cls, name: str) -> "AudioTextModel":
        audio = audio_encoder(f"{clap.PREFIX}{name}", trainable=False)
        text = text_encoder(f"{clap.PREFIX}{name}")
        return cls(
            audio,
            text,
            ground={"name": "identity"},
            dim=audio.width,
            hidden=0,
            dropout=0.0,
            window_seconds=cast(float, audio.window_seconds),
        )

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
        return next(self.parameters()).device

    def _own_state(self) -> dict[str, Tensor]:
        # The text encoder is kept by name, or saved beside this in its own format.
        return {
            key: tensor.detach().cpu().contiguous()
            for key, tensor in self.state_dict().items()
            if not key.startswith("text_encoder.")
        }


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
