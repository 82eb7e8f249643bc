"""Clotho v2.1: clips of 15 to 30 s from Freesound, five captions each.

The tables are ``clotho_captions_development.csv`` and so on, as published, or ``train.csv`` and so
on (Mei et al., the paper's release), with ``file_name,caption_1..caption_5``; the audio lies in
folders called ``development``, ``validation`` and ``evaluation`` or ``train``, ``val`` and
``test``. Four file names occur in two splits, so the folder counts. The tables of metadata are not
needed.

Source: K. Drossos et al., Clotho: an Audio Captioning Dataset, ICASSP 2020.
"""

from collections.abc import Mapping

from otomatch.datasets.caption_table import Naming
from otomatch.datasets.splits import SplitLayout

# Our name of each split, and its published name.
SPLITS = {"train": "development", "val": "validation", "test": "evaluation"}
# The root itself; Mei et al. and the paper's release; aac-datasets.
_FOLDERS = ("", "csv_files", "clotho_csv_files", "CLOTHO_v2.1/clotho_csv_files")


def captions_table(split: str) -> str:
    """Published name of the table of a split (ours: train, val or test)."""
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
