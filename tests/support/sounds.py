"""Small synthetic sounds and folders for the tests."""

import csv
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from otomatch.audio.waveform import Waveform

RATE = 32000
# Classes of the mini folder and the frequency (Hz) that marks each in a mix.
TONES = {"dog bark": 500.0, "rain": 1500.0, "rooster": 4000.0}

HAS_MIDI = find_spec("tinysoundfont") is not None and find_spec("pretty_midi") is not None
needs_midi = pytest.mark.skipif(not HAS_MIDI, reason="tinysoundfont or its font is not installed")


def tone(
    hertz: float, seconds: float = 1.0, level: float = 0.3, rate: int = RATE, phase: float = 0.0
) -> Waveform:
    """A sine of ``level`` peak."""
    time = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * hertz * time + phase)).astype(np.float32)


def hiss(seconds: float = 1.0, level: float = 0.1, seed: int = 0, rate: int = RATE) -> Waveform:
    """White noise with a standard deviation of ``level``."""
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal(round(seconds * rate))).astype(np.float32)


def silence(seconds: float, rate: int = RATE) -> Waveform:
    """Digital silence."""
    return np.zeros(round(seconds * rate), np.float32)


def write_audio(path: Path, waveform: Waveform | None = None, rate: int = RATE) -> Path:
    """Write a sound (a tenth of a second of a tone unless given), making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(440, 0.1) if waveform is None else waveform, rate)
    return path


def write_container(
    path: Path,
    codec: str,
    waveform: NDArray[np.float32],
    rate: int,
    muxer: str | None = None,
    bit_rate: int | None = None,
) -> Path:
    """Write a waveform, shape (channels, samples), with PyAV; skip the test if it is absent."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w", format=muxer) as container:
        layout = "stereo" if len(waveform) == 2 else "mono"
        stream = container.add_stream(codec, rate=rate, layout=layout)
        if bit_rate is not None:
            stream.bit_rate = bit_rate
        for start in range(0, waveform.shape[1], 1024):
            part = np.ascontiguousarray(waveform[:, start : start + 1024])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_csv(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    """Write rows, the first of them the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def write_caption_folder(root: Path, captions: Mapping[str, Sequence[str]]) -> Path:
    """A data set folder: one short tone per file name, one row per caption."""
    for name in captions:
        write_audio(root / name)
    pairs = [(name, text) for name, texts in captions.items() for text in texts]
    write_csv(root / "captions.csv", [("file_name", "caption"), *pairs])
    return root


def write_labelled_folder(
    root: Path,
    tones: Mapping[str, float] = TONES,
    folds: Iterable[int] = (1, 2),
    each: int = 2,
    seconds: float = 0.4,
) -> Path:
    """A folder in the layout of ESC-10: tones between silences, one frequency per class."""
    rows: list[Sequence[object]] = [("file_name", "fold", "label")]
    for label, hertz in tones.items():
        for fold in folds:
            for take in range(each):
                name = f"{fold}-{label.replace(' ', '_')}-{take}.wav"
                length = seconds * (1 + take)
                parts = [silence(0.2), tone(hertz, length, 0.1 * fold), silence(0.5)]
                write_audio(root / "audio" / name, np.concatenate(parts))
                rows.append((name, fold, label))
    write_csv(root / "esc10.csv", rows)
    return root


def esc10_root() -> Path:
    """The real ESC-10 folder; skips the test where it is absent."""
    default = Path(__file__).parents[3] / "shared" / "data" / "esc10"
    root = Path(os.environ.get("OTOMATCH_ESC10", default))
    if not (root / "esc10.csv").is_file():
        pytest.skip(f"no ESC-10 recordings at {root}; name their folder in OTOMATCH_ESC10")
    return root


def folder_hash(root: Path) -> str:
    """One hash over the names and bytes of all files of a folder."""
    digest = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def band_level(waveform: Waveform, hertz: float, width: float = 100.0, rate: int = RATE) -> float:
    """Power within ``width`` Hz either side of a frequency, in dB relative to full scale."""
    power = np.abs(np.fft.rfft(waveform) / len(waveform)) ** 2
    bins = np.fft.rfftfreq(len(waveform), 1 / rate)
    return float(10 * np.log10(2 * power[np.abs(bins - hertz) < width].sum() + 1e-20))
