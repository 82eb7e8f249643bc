"""Fetch published data sets: Clotho from Zenodo, and ESC-50 from GitHub.

Downloads are kept in ``.downloads`` below the root, so that an interrupted one resumes. Audio is
unpacked there, checked against the tables, and only then moved into place. The folder is deleted
when the data set is complete.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from otomatch.datasets.archives import require_unpacker, unpack
from otomatch.datasets.audio_files import DOWNLOADS
from otomatch.datasets.base import CaptionDataset
from otomatch.datasets.clotho import CLOTHO, SPLITS, captions_table
from otomatch.datasets.esc50 import open_esc50
from otomatch.errors import DatasetError
from otomatch.files import download

Say = Callable[[str], None]
"""Function that reports progress, one line at a time."""

CLOTHO_URL = "https://zenodo.org/records/4783391/files"
CLOTHO_MD5 = {
    "clotho_audio_development.7z": "c8b05bc7acdb13895bb3c6a29608667e",
    "clotho_audio_validation.7z": "7dba730be08bada48bd15dc4e668df59",
    "clotho_audio_evaluation.7z": "4569624ccadf96223f19cb59fe4f849f",
    "clotho_captions_development.csv": "d4090b39ce9f2491908eebf4d5b09bae",
    "clotho_captions_validation.csv": "5879e023032b22a2c930aaa0528bead4",
    "clotho_captions_evaluation.csv": "1b16b9e57cf7bdb7f13a13802aeb57e2",
    "clotho_metadata_development.csv": "170d20935ecfdf161ce1bb154118cda5",
    "clotho_metadata_validation.csv": "2e010427c56b1ce6008b0f03f41048ce",
    "clotho_metadata_evaluation.csv": "13946f054d4e1bf48079813aac61bf77",
}
# GitHub creates this archive on demand, without a fixed MD5 sum, so its content is checked instead.
ESC50_URL = "https://github.com/karolpiczak/ESC-50/archive/master.zip"
ESC50_CLIPS = 2000


def fetch_clotho(root: Path, splits: Sequence[str], say: Say, progress: bool = True) -> None:
    """Download and unpack splits of Clotho v2.1, skipping complete ones.

    All splits together are a download of about 7 GB and take 12 GB on disk; while a split is being
    unpacked, its archive takes space too.

    Args:
        root: Folder of the data set; created if needed.
        splits: Names of splits: train, val, test.
        say: Called with a line for each step.
        progress: Show a progress bar for the downloads.

    Raises:
        DatasetError: A split is unknown, or an archive lacks clips.
        DownloadError: A file cannot be downloaded or unpacked, or the disk is full.
        MissingDependencyError: py7zr is not installed.
    """
    unknown = sorted(set(splits) - set(SPLITS))
    if unknown:
        raise DatasetError(f"clotho has no split {unknown[0]!r}; it has {', '.join(SPLITS)}")
    with _workplace(root) as place:
        for split in splits:
            done = _clotho_split(root, split)
            if done is None:
                require_unpacker(".7z")
                done = _fetch_clotho_split(root, split, place, say, progress)
            say(f"{SPLITS[split]}: complete, {done} clips")


def fetch_esc50(root: Path, say: Say, progress: bool = True) -> None:
    """Download and unpack ESC-50 (0.65 GB, 0.9 GB on disk), unless it is complete.

    Args:
        root: Folder of the data set; created if needed.
        say: Called with a line for each step.
        progress: Show a progress bar for the download.

    Raises:
        DatasetError: The archive lacks clips.
        DownloadError: The archive cannot be downloaded or unpacked, or the disk is full.
    """
    with _workplace(root) as place:
        if not _is_complete_esc50(root):
            archive = download(ESC50_URL, "ESC-50-master.zip", None, place, progress)
            say(f"unpacking {archive.name}")
            staged = unpack(archive, place / "unpacked")
            if not _is_complete_esc50(staged):
                archive.unlink()
                raise DatasetError(
                    f"{ESC50_URL} does not have {ESC50_CLIPS} clips and their table; the archive "
                    "was removed; try again"
                )
            # The table is moved last: without it, the data set does not look complete.
            for child in sorted(open_esc50(staged).root.iterdir(), key=lambda p: p.name == "meta"):
                _move(child, root / child.name)
        say(f"esc-50: complete, {ESC50_CLIPS} clips")


def audiocaps_guide(root: Path) -> str:
    """Return instructions for getting AudioCaps, whose audio is on YouTube, into ``root``."""
    return f"""\
AudioCaps has no single download: its audio is cut from YouTube videos, some of which no longer
exist. It takes about 45 GB as 32 kHz FLAC. Choose one of these ways, then check the result:

1. Cut it yourself with aac-datasets (needs ffmpeg and days; YouTube may ask for cookies):

     mkdir -p {root}
     python -m venv aac && aac/bin/pip install aac-datasets yt-dlp
     aac/bin/aac-datasets-download --root {root} audiocaps \\
         --subsets train val test --ytdlp_path aac/bin/yt-dlp

   Result: {root}/AUDIOCAPS/train.csv and audio_32000Hz/train/ID_START.flac; also val and test.

2. Use the copy of Mei et al., as the paper does (49274, 494 and 957 clips). The links are in the
   README of https://github.com/XinhaoMei/ACT. Put it here:

     {root}/csv_files/train.csv, val.csv, test.csv
     {root}/waveforms/train/Y*.wav, val/Y*.wav, test/Y*.wav

3. If you have audio named Y*.wav or ID_START.flac without tables, put train.csv, val.csv and
   test.csv from https://github.com/cdjkim/audiocaps (folder dataset) beside it, in {root}.

Check the result: otomatch data check audiocaps {root}
"""


@contextmanager
def _workplace(root: Path) -> Iterator[Path]:
    """Lock the folder for downloads, and delete it unless an error is raised."""
    place = root / DOWNLOADS
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / ".lock"):
        yield place
    shutil.rmtree(place, ignore_errors=True)


def _clotho_split(root: Path, split: str) -> int | None:
    """Return the number of clips of a split in any layout, or None if it is not complete."""
    try:
        dataset = CLOTHO.open(root)
    except DatasetError:
        return None
    clips = sum(clip.split == split for clip in dataset.clips)
    lacks = any(entry.name.startswith(f"{SPLITS[split]}/") for entry in dataset.skipped)
    return None if lacks or not clips else clips


def _fetch_clotho_split(root: Path, split: str, place: Path, say: Say, progress: bool) -> int:
    names = [name for name in CLOTHO_MD5 if f"_{SPLITS[split]}." in name]
    files = [
        download(f"{CLOTHO_URL}/{name}?download=1", name, CLOTHO_MD5[name], place, progress)
        for name in names
    ]
    archive = next(path for path in files if path.suffix == ".7z")
    say(f"unpacking {archive.name}")
    staged = unpack(archive, place / "unpacked")
    shutil.copy(place / captions_table(split), staged)
    clips = _clotho_split(staged, split)
    if clips is None:
        lacks = _first_skipped(CLOTHO.open(staged))
        raise DatasetError(f"{archive.name} lacks clips of its table: {lacks}")
    # The tables are moved last: without them, the split does not look complete.
    _move(staged / SPLITS[split], root / SPLITS[split])
    for path in files:
        if path == archive:
            path.unlink()
        else:
            _move(path, root / path.name)
    return clips


def _first_skipped(dataset: CaptionDataset) -> str:
    return f"{len(dataset.skipped)}, the first: {dataset.skipped[0].name}"


def _is_complete_esc50(root: Path) -> bool:
    try:
        dataset = open_esc50(root)
    except DatasetError:
        return False
    return len(dataset) == ESC50_CLIPS and not dataset.skipped


def _move(source: Path, target: Path) -> None:
    """Move a file or folder; merge a folder into an existing one file by file."""
    if source.is_dir() and target.is_dir():
        for child in sorted(source.iterdir()):
            _move(child, target / child.name)
    else:
        os.replace(source, target)
