"""A tiny text encoder, model, data set and configuration, for tests that train or embed."""

from collections.abc import Sequence
from pathlib import Path

import torch
from sounds import hiss, tone, write_audio, write_csv

from otomatch.config import Config, load_config
from otomatch.encoders import SmallAudioEncoder, text_encoder
from otomatch.model import AudioTextModel

WORDS = (
    "a the deep middle high shrill long short steady rising tone hum whistle hiss dog barks rain"
)
AUDIO_SETTINGS = {"channels": (4, 6, 8, 8), "hidden": 8}
PITCHES = {"deep": 200.0, "middle": 800.0, "high": 3000.0, "shrill": 9000.0}


def write_bert(folder: Path, width: int = 16, seed: int = 0) -> Path:
    """Write a random BERT of two layers with a vocabulary of single words."""
    from transformers import BertConfig, BertModel, BertTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]
    BertTokenizer(vocab={word: i for i, word in enumerate(words)}).save_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * width,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def tiny_model(
    bert: Path, ground: str = "full", trainable: bool = False, seed: int = 0, **settings: object
) -> AudioTextModel:
    """An untrained model whose ground metric is no longer the identity, in evaluation mode."""
    torch.manual_seed(seed)
    model = AudioTextModel(
        SmallAudioEncoder(**AUDIO_SETTINGS),
        text_encoder(str(bert), trainable=trainable),
        ground={"name": ground, **({"rank": 5} if ground == "low-rank" else {})},
        **{"dim": 12, "hidden": 16, "window_seconds": 1.0, **settings},
    )
    with torch.no_grad():
        for parameter in model.ground.parameters():
            parameter += 0.3 * torch.randn(parameter.shape)
    model.ground.project_()
    return model.eval()


def write_tones(root: Path, clips: int = 32, seconds: float = 0.5, splits: Sequence[str] = ()):
    """A data set of tones and hisses whose captions name pitch and texture.

    ``splits`` are dealt out in turn; none are written if it is empty.
    """
    header = ("file_name", "caption_1", "caption_2")
    rows = [header + ("split",) * bool(splits)]
    for i in range(clips):
        pitch = list(PITCHES)[i % 4]
        noisy = i // 4 % 2
        sound = tone(PITCHES[pitch] * (1 + 0.01 * (i // 8)), seconds, 0.2)
        if noisy:
            sound = sound + hiss(seconds, 0.05, seed=i)
        write_audio(root / f"{i:03d}.wav", sound)
        texture = ("hiss", "rain") if noisy else ("tone", "hum")
        captions = (f"a {pitch} {texture[0]}", f"the {pitch} steady {texture[1]}")
        rows.append((f"{i:03d}.wav", *captions, *([splits[i % len(splits)]] if splits else [])))
    write_csv(root / "captions.csv", rows)
    return root


def tiny_config(data: Path, bert: Path, *overrides: str) -> Config:
    """Two epochs of three steps on a model of a few thousand parameters."""
    return load_config(
        None,
        [
            f"data.path={str(data)!r}",
            "data.val_share=0.25",
            f"text.encoder={str(bert)!r}",
            "audio.settings={channels = [4, 6, 8, 8], hidden = 8}",
            "model.dim=12",
            "model.hidden=16",
            "optim.batch=8",
            "optim.epochs=2",
            "optim.lr=0.01",
            *overrides,
        ],
    )
