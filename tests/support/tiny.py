"""A tiny text encoder, model, data set and configuration, for tests that train or embed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.encoders import SmallAudioEncoder, text_encoder
from tests.support.sounds import RATE, hiss, tone, write_audio, write_csv

if TYPE_CHECKING:
    from otomatch.training.config import Config

WORDS = (
    "a the deep middle high shrill long short steady rising tone hum whistle hiss dog barks rain"
)
AUDIO_SETTINGS = {"channels": (4, 6, 8, 8), "hidden": 8}
PITCHES = {"deep": 200.0, "middle": 800.0, "high": 3000.0, "shrill": 9000.0}


def sounds(*seconds: float) -> list[tuple[np.ndarray, int]]:
    """Waveforms of noisy tones with their sample rate; no two are alike."""
    return [(hiss(s, seed=i) + tone(300 * (i + 1), s), RATE) for i, s in enumerate(seconds)]


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


def write_roberta(folder: Path, width: int = 16, positions: int = 40) -> Path:
    """Write a random RoBERTa of one layer with a vocabulary of single characters."""
    from transformers import RobertaConfig, RobertaModel

    tokenizer = _character_tokenizer()
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = RobertaConfig(
        **_text_settings(width, positions), vocab_size=len(tokenizer), pad_token_id=1
    )
    RobertaModel(config).save_pretrained(folder)
    return folder


CLAP_RATE = 8000
"""Hz of the CLAPs that `write_clap` writes; their clips are 1 s long."""


def chirp(seconds: float, seed: int = 0) -> np.ndarray:
    """A random tone in noise at `CLAP_RATE`."""
    rng = np.random.default_rng(seed)
    sound = tone(float(rng.uniform(100, 3000)), seconds, rate=CLAP_RATE)
    return sound + hiss(seconds, 0.02, seed, CLAP_RATE)


def write_clap(folder: Path, seed: int = 0, fused: bool = False) -> Path:
    """Write a random CLAP as its own classes save it: two stages, 16 bands, 12 dimensions."""
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor

    tokenizer = _character_tokenizer()
    extractor = ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=CLAP_RATE,
        hop_length=80,
        max_length_s=1,
        fft_window_size=256,
        frequency_min=50,
        frequency_max=3500,
        truncation="fusion" if fused else "rand_trunc",
    )
    ClapProcessor(extractor, tokenizer).save_pretrained(folder)
    audio = {
        "num_mel_bins": 16,
        "spec_size": 64,
        "window_size": 4,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "patch_embeds_hidden_size": 8,
        "hidden_size": 16,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "enable_fusion": fused,
    }
    text = {**_text_settings(16, 80), "vocab_size": len(tokenizer)}
    torch.manual_seed(seed)
    model = ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=12))
    for parameter in model.parameters():  # as drawn, all sounds are much alike
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    norm = model.audio_model.audio_encoder.batch_norm
    norm.running_mean.fill_(-40.0)
    norm.running_var.fill_(400.0)
    model.save_pretrained(folder)
    return folder


def _text_settings(width: int, positions: int) -> dict[str, int]:
    return {
        "hidden_size": width,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 2 * width,
        "max_position_embeddings": positions,
    }


def _character_tokenizer():
    from transformers import RobertaTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "Ġ", *"abcdefghijklmnopqrstuvwxyz"]
    return RobertaTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[])


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


def tiny_config(data: Path, bert: Path, *overrides: str) -> "Config":
    """Two epochs of three steps on a model of a few thousand parameters."""
    from otomatch.training.config import load_config

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
