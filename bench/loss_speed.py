"""Time the forward and backward pass of each loss by batch size: m-LTM, NT-Xent and triplet.

    python bench/loss_speed.py

Runs on the GPU if there is one, on random unit vectors of dimension 1024 with as much noise as
signal, with the full Mahalanobis metric in float32. Times are medians of repeated steps. The last
column is the time of m-LTM divided by that of NT-Xent.
"""

import torch

from otomatch.losses.matching import MatchingLoss
from otomatch.losses.nt_xent import NTXentLoss
from otomatch.losses.triplet import TripletLoss
from otomatch.studies.loss_cost import unit_pairs
from otomatch.studies.resources import median_seconds
from otomatch.transport.ground_metrics import Mahalanobis

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SIZES = (64, 256, 1024, 4096, 8192) if DEVICE == "cuda" else (64, 256, 1024)
LOSSES = {
    "m-LTM": MatchingLoss(0.03),
    "trimmed": MatchingLoss(0.03, 0.6, target="trimmed"),
    "partial": MatchingLoss(0.03, 0.9),
    "NT-Xent": NTXentLoss(),
    "triplet": TripletLoss(),
}


def milliseconds(loss_fn, size):
    audio, text = (side.to(DEVICE).requires_grad_() for side in unit_pairs(size, 1024, 1.0))
    metric = Mahalanobis(1024).to(DEVICE)

    def step():
        loss_fn(audio, text, metric).backward()
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    return 1000 * median_seconds(step)


if __name__ == "__main__":
    print(torch.cuda.get_device_name() if DEVICE == "cuda" else "CPU, one thread")
    torch.set_num_threads(1)
    print("batch " + " ".join(f"{name + ' ms':>11}" for name in LOSSES) + "  m-LTM/NT-Xent")
    for size in SIZES:
        times = {name: milliseconds(loss_fn, size) for name, loss_fn in LOSSES.items()}
        row = " ".join(f"{value:11.2f}" for value in times.values())
        print(f"{size:5} {row} {times['m-LTM'] / times['NT-Xent']:14.1f}", flush=True)
