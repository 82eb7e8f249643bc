"""Pretrained networks loaded with transformers: quietly, from safetensors, with clear errors."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from otomatch.errors import InvalidInputError, ModelError, OtomatchError


def load_network(kind: Any, source: str, config: Any) -> Any:
    """Load a network in float32.

    Args:
        kind: Class of transformers.
        source: Hugging Face name or local folder.
        config: Configuration of the network.

    Raises:
        ModelError: A weight is missing. Other errors are those of transformers, see `explaining`.
    """
    # Safetensors only: a pickle is never loaded.
    network, report = kind.from_pretrained(
        source, config=config, dtype=torch.float32, use_safetensors=True, output_loading_info=True
    )
    unused = ("pooler.",)  # text encoders do not use it, and many checkpoints lack it
    weights = {name for name, _ in network.named_parameters() if not name.startswith(unused)}
    missing = sorted(weights & set(report["missing_keys"]))
    if missing:
        raise ModelError(f"{source!r} lacks {len(missing)} weights, the first: {missing[0]}")
    return network


@contextmanager
def explaining(what: str, source: str, advice: str) -> Iterator[None]:
    """Turn the errors of transformers for a missing or damaged source into a `ModelError`."""
    try:
        with quiet(bar=not Path(source).is_dir()):  # a folder needs no download
            yield
    except OtomatchError:
        raise
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{what} {source!r} cannot be loaded: {error}; {advice}") from error


@contextmanager
def quiet(bar: bool = False) -> Iterator[None]:
    """Silence the reports of transformers, and its progress bars unless ``bar`` is True."""
    from transformers.utils import logging

    wanted, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.set_verbosity_error()
    if not bar:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if wanted:
            logging.enable_progress_bar()


def override_dropout(config: Any, dropout: float | None) -> None:
    """Set every dropout probability in a transformer's configuration; None keeps them.

    Raises:
        InvalidInputError: ``dropout`` is not in [0, 1), or the configuration has no dropout.
    """
    if dropout is None:
        return
    if not 0 <= dropout < 1:
        raise InvalidInputError(f"dropout must be at least 0 and below 1, got {dropout}")
    names = [
        name
        for name, value in config.to_dict().items()
        if re.search("dropout|pdrop", name) and isinstance(value, int | float)
    ]
    if not names:
        raise InvalidInputError(
            f"a {config.model_type} has no dropout to set to {dropout}; leave dropout out"
        )
    for name in names:
        setattr(config, name, dropout)


def positions(network: nn.Module) -> int | None:
    """Return the longest sequence that a transformer's position embeddings allow, None for any."""
    for name, module in network.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            # RoBERTa and its relatives count positions from the one after the padding's.
            reserved = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - reserved
    return None
