"""Peak memory of a loss and its backward pass, beyond the inputs. Linux only.

    python bench/loss_memory.py [batch] [dim]

Each loss runs in a fresh process. The peak is the kernel's high-water mark of resident memory,
reset before the call; MB are 2^20 bytes. One float32 matrix of 1024 x 1024 is 4 MB, one of float64
8 MB, so the figure also says how many of them live at once.
"""

import subprocess
import sys
from pathlib import Path

import torch

from otomatch.contrastive import NTXentLoss, TripletLoss
from otomatch.ground import Mahalanobis
from otomatch.losses import MatchingLoss

LOSSES = {
    "matching, balanced": lambda: MatchingLoss(0.05),
    "matching, mass 0.9": lambda: MatchingLoss(0.05, mass=0.9),
    "matching, trimmed 0.9": lambda: MatchingLoss(0.05, mass=0.9, target="trimmed"),
    "matching, log domain": lambda: MatchingLoss(0.002, max_iterations=20),
    "matching, unrolled": lambda: MatchingLoss(0.05, gradient="unrolled"),
    "NT-Xent": NTXentLoss,
    "triplet": TripletLoss,
}


def megabytes(field):
    status = Path("/proc/self/status").read_text().split(field + ":")[1]
    return int(status.split()[0]) / 1024


def growth(function):
    """How far the resident memory rises above what it is now while the function runs, in MB."""
    Path("/proc/self/clear_refs").write_text("5")
    before = megabytes("VmRSS")
    function()
    return megabytes("VmHWM") - before


def peak(loss_fn, size, dim):
    """Peak of one loss and backward beyond the inputs, in MB."""
    torch.manual_seed(0)
    audio, text = (torch.nn.functional.normalize(torch.randn(size, dim), dim=1) for _ in range(2))
    metric = Mahalanobis(dim)
    audio, text = audio.requires_grad_(), text.requires_grad_()
    return growth(lambda: loss_fn(audio, text, metric).backward())


def main():
    if len(sys.argv) == 4:
        torch.set_num_threads(1)
        name, size, dim = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
        peak(LOSSES[name](), 8, 8)  # first calls load code
        print(f"{peak(LOSSES[name](), size, dim):.1f}")
        return
    sizes = sys.argv[1:] or ["1024", "1024"]
    print(f"batch {sizes[0]}, dim {sizes[1]}, full metric, float32")
    for name in LOSSES:
        command = [sys.executable, __file__, name, *sizes]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
        print(f"{name:24}{done.stdout.strip():>8} MB")


if __name__ == "__main__":
    main()
