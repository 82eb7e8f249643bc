"""Compare time and memory of streamed retrieval metrics with a dense matrix of distances.

    python bench/retrieval.py [--clips 1000] [--captions 5000] [--dim 1024] [--repeat 5]

Each method runs in a separate process. "MB" is the growth of the peak resident set beyond torch and
the embeddings; "process MB" is the peak itself. Linux only.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch

from otomatch.evaluation.retrieval import evaluate_embeddings
from otomatch.studies.resources import resident_megabytes

Figures = tuple[float, float]


def embeddings(clips: int, captions: int, dim: int) -> tuple[torch.Tensor, ...]:
    """Return unit vectors in float32 whose captions are near their clips."""
    rng = torch.Generator().manual_seed(0)
    text_clip = torch.arange(captions) % clips
    audio = torch.randn(clips, dim, generator=rng)
    text = torch.randn(captions, dim, generator=rng).mul_(8).add_(audio[text_clip])
    normalise = torch.nn.functional.normalize
    return normalise(audio), normalise(text), text_clip


def streamed(audio: torch.Tensor, text: torch.Tensor, text_clip: torch.Tensor) -> Figures:
    report = evaluate_embeddings(audio, text, text_clip)
    return report.text_to_audio.recall[1], report.audio_to_text.map[10]


def dense_torch(audio: torch.Tensor, text: torch.Tensor, text_clip: torch.Tensor) -> Figures:
    """Compute all distances and two full sorts in float32, as usual, with arbitrary ties."""
    distance = torch.cdist(audio, text)
    recall = 100 * (distance.argmin(0) == text_clip).double().mean()
    hits = (text_clip[distance.argsort(1)] == torch.arange(len(audio))[:, None]).double()
    precision = hits.cumsum(1) / torch.arange(1, len(text) + 1)
    return float(recall), float(((precision * hits)[:, :10].sum(1) / hits.sum(1)).mean())


def dense_numpy(audio: torch.Tensor, text: torch.Tensor, text_clip: torch.Tensor) -> Figures:
    """Compute the same in numpy and float64, from squared norms and one matrix product."""
    x, y, owner = audio.double().numpy(), text.double().numpy(), text_clip.numpy()
    distance = (x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T
    recall = 100 * (distance.argmin(0) == owner).mean()
    hits = owner[distance.argsort(1)] == np.arange(len(x))[:, None]
    precision = hits.cumsum(1) / np.arange(1, len(y) + 1)
    return float(recall), float(((precision * hits)[:, :10].sum(1) / hits.sum(1)).mean())


METHODS: dict[str, Callable[..., Figures]] = {
    "streamed": streamed,
    "dense torch, float32": dense_torch,
    "dense numpy, float64": dense_numpy,
}


def measure(method: str, clips: int, captions: int, dim: int, repeat: int) -> None:
    """Print seconds, growth and peak in MB, and two metrics, on one line."""
    run = METHODS[method]
    run(*embeddings(10, 50, 4))
    data = embeddings(clips, captions, dim)
    before, seconds = resident_megabytes("VmRSS"), []
    for _ in range(repeat):
        start = time.perf_counter()
        recall, precision = run(*data)
        seconds.append(time.perf_counter() - start)
    peak = resident_megabytes("VmHWM")
    print(median(seconds), peak - before, peak, recall, precision)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("clips", 1000), ("captions", 5000), ("dim", 1024), ("repeat", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--method", choices=METHODS, help="only method to measure, in this process")
    options = parser.parse_args()
    sizes = (options.clips, options.captions, options.dim, options.repeat)
    if options.method:
        return measure(options.method, *sizes)
    print(
        f"{sizes[0]} clips x {sizes[1]} captions, D = {sizes[2]}, median of {sizes[3]} runs, "
        f"{torch.get_num_threads()} threads"
    )
    print(
        f"{'':22}{'seconds':>9}{'ratio':>7}{'MB':>7}{'ratio':>7}{'process MB':>12}"
        f"{'T2A R@1':>9}{'A2T mAP@10':>12}"
    )
    base: list[float] = []
    for method in METHODS:
        command = [sys.executable, *sys.argv, "--method", method]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
        seconds, grown, peak, recall, precision = map(float, out.split())
        base = base or [seconds, grown]
        print(
            f"{method:22}{seconds:9.3f}{seconds / base[0]:7.2f}{grown:7.0f}{grown / base[1]:7.1f}"
            f"{peak:12.0f}{recall:9.2f}{precision:12.4f}"
        )
    return None


if __name__ == "__main__":
    main()
