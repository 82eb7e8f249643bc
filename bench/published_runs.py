"""Measure the cost of the published runs on this machine, without downloads.

    python bench/published_runs.py [--clips N] [--batch N] [CONFIG ...]

It prints seconds per step, memory and hours. Each configuration (default: the main runs, on
AudioCaps and on Clotho) is trained by `otomatch.train` for two epochs on noise of the data set's
length, with encoders of the published sizes and random weights; the second epoch is measured.
Nothing is learned, but every step does the same work as in the published run, including reading. A
GPU uses the published batch of 256 and 2,560 clips; a CPU, on which a run would take weeks, uses 4
and 16, and Cnn14 only.
"""

import argparse
import csv
import os
import tempfile
import tomllib
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch

from otomatch import train
from otomatch.studies.resources import resident_megabytes
from otomatch.training.config import load_config

CONFIGS = Path(__file__).parents[1] / "configs"
GPU = torch.cuda.is_available()
CLIPS, BATCH = (2560, 256) if GPU else (16, 4)
ALL = ("audiocaps-cnn14-bert", "audiocaps-resnet38-bert", "clotho-resnet38-bert")
DEFAULT = ALL if GPU else ALL[:1]
TRAIN_CLIPS = {"audiocaps": 49274, "clotho": 3839}  # see runs/README.md
WORDS = ["a", "dog", "barks", "while", "rain", "falls", "on", "the", "roof", "and", "speaks"]


def write_clip(folder, seconds, number):
    noise = np.random.default_rng(number).standard_normal(round(32000 * seconds))
    soundfile.write(folder / f"{number}.wav", 0.1 * noise, 32000)


def write_data(folder, clips, seconds):
    """Write clips of noise with captions of 20 words."""
    folder.mkdir()
    with ProcessPoolExecutor() as pool:
        list(pool.map(partial(write_clip, folder, seconds), range(clips), chunksize=16))
    draw = np.random.default_rng(0)
    with (folder / "captions.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("file_name", "caption", "split"))
        for i in range(clips):
            split = "val" if i % 128 == 0 else "test" if i % 128 == 1 else "train"
            rows.writerow((f"{i}.wav", " ".join(draw.choice(WORDS, 20)), split))


def write_bert(folder):
    """Write BERT of the published size, with random weights."""
    from transformers import BertConfig, BertModel, BertTokenizer

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab = {word: i for i, word in enumerate([*special, *sorted(set(WORDS))])}
    BertTokenizer(vocab=vocab).save_pretrained(folder)
    BertModel(BertConfig()).save_pretrained(folder)


def measure(name, clips, batch, bert, place):
    """Train for two epochs and return the last row of the log and the peak memory in GB."""
    kind = name.split("-")[0]
    with (CONFIGS / f"{name}.toml").open("rb") as file:
        settings = tomllib.load(file)["audio"]["settings"]
    data = place / kind
    if not data.exists():
        write_data(data, clips, 30.0 if kind == "clotho" else 10.0)
    overrides = [
        f"data.path={str(data)!r}", f"text.encoder={str(bert)!r}", "optim.epochs=2",
        f"optim.batch={batch}", f"audio.settings={{dropout = {settings['dropout']}}}",
    ]  # fmt: skip
    if GPU:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    run = place / name
    train(load_config(CONFIGS / f"{name}.toml", overrides), run, progress=False)
    with (run / "log.csv").open() as file:
        row = list(csv.DictReader(file))[-1]
    peak = torch.cuda.max_memory_allocated() / 1e9 if GPU else resident_megabytes("VmHWM") / 954
    return {key: float(value or "nan") for key, value in row.items()}, peak


def show(name, clips, batch, row, peak):
    steps = sum(i % 128 > 1 for i in range(clips)) // batch
    step = (row["seconds"] - row["validation_seconds"]) / steps
    wait = row["data_wait"] / steps
    epochs = load_config(CONFIGS / f"{name}.toml").optim.epochs
    hours = TRAIN_CLIPS[name.split("-")[0]] // batch * epochs * step / 3600
    print(
        f"{name:26} {batch:5} {step:7.2f} {wait:7.2f} {batch / step:8.0f} {peak:7.1f} {hours:6.1f}",
        flush=True,
    )


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("configs", nargs="*", default=DEFAULT, metavar="CONFIG")
    arguments.add_argument("--clips", type=int, default=CLIPS)
    arguments.add_argument("--batch", type=int, default=BATCH)
    chosen = arguments.parse_args()
    device = torch.cuda.get_device_name() if GPU else "CPU"
    print(f"{device}, torch {torch.__version__}, {os.cpu_count()} cores")
    print(f"{'configuration':26} batch  s/step wait/st  pairs/s peak GB  hours")
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["OTOMATCH_CACHE"] = f"{folder}/cache"
        write_bert(Path(folder) / "bert")
        for name in chosen.configs:
            numbers = (name, chosen.clips, chosen.batch)
            show(*numbers, *measure(*numbers, Path(folder) / "bert", Path(folder)))


if __name__ == "__main__":
    main()
