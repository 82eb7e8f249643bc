"""Measure the peak memory beyond the inputs and the time of each loss with its backward pass.

    python bench/loss_memory.py [batch] [dim]

Each loss runs in separate processes, on one thread, with pairs whose captions have as much noise as
signal. MB are 2^20 bytes; memory is measured on Linux only. A 1024 x 1024 matrix takes 4 MB in
float32 and 8 MB in float64, so the numbers also show how many matrices exist at once.
"""

import sys

from otomatch.losses.matching import MatchingLoss
from otomatch.losses.nt_xent import NTXentLoss
from otomatch.losses.triplet import TripletLoss
from otomatch.studies.loss_cost import measure_loss_cost

LOSSES = {
    "matching, balanced": MatchingLoss(0.05),
    "matching, mass 0.9": MatchingLoss(0.05, mass=0.9),
    "matching, trimmed 0.9": MatchingLoss(0.05, mass=0.9, target="trimmed"),
    "matching, log domain": MatchingLoss(0.002, max_iterations=20),
    "matching, unrolled": MatchingLoss(0.05, gradient="unrolled"),
    "NT-Xent": NTXentLoss(),
    "triplet": TripletLoss(),
}


def main():
    batch, dim = (int(x) for x in sys.argv[1:] or (1024, 1024))
    print(f"batch {batch}, dim {dim}, full metric, float32")
    for name, loss in LOSSES.items():
        cost = measure_loss_cost(loss, batch, dim)
        figures = f"{cost.megabytes:8.1f} MB{1000 * cost.seconds:8.0f} ms"
        print(f"{name:24}{figures}", cost.missing or "", flush=True)


if __name__ == "__main__":
    main()
