"""Clotho v2.1: clips of 15 to 30 s from Freesound, five captions each.

The tables are ``clotho_captions_development.csv`` etc., as published, or ``train.csv`` etc. (Mei et
al. and the paper's released code), with the columns ``file_name,caption_1..caption_5``. The audio
is in folders named ``development``, ``validation`` and ``evaluation`` or ``train``, ``val`` and
``test``. Four file names occur in two splits, so files are looked up in the folder of their split.
The metadata tables are not needed.

Source: K. Drossos et al., Clotho: an Audio Captioning Dataset, ICASSP 2020.
"""

from collections.abc import Mapping

from otomatch.datasets.caption_table import Naming
from otomatch.datasets.splits import SplitLayout

SPLITS = {"train": "development", "val": "validation", "test": "evaluation"}
"""Published name of each split."""

# The root itself; Mei et al. and the paper's code; aac-datasets.
_FOLDERS = ("", "csv_files", "clotho_csv_files", "CLOTHO_v2.1/clotho_csv_files")


def captions_table(split: str) -> str:
    """Return the published file name of the captions of a split: train, val or test."""
    return f"clotho_captions_{SPLITS[split]}.csv"


def _namings(split: str) -> tuple[Naming, ...]:
    def of_file(fields: Mapping[str, str]) -> tuple[str, ...]:
        return f"{SPLITS[split]}/{fields['file_name']}", f"{split}/{fields['file_name']}"

    return (Naming(("file_name",), of_file),)


CLOTHO = SplitLayout(
    name="clotho",
    folders=_FOLDERS,
    tables={split: (captions_table(split), f"{split}.csv") for split in SPLITS},
    namings=_namings,
)
