"""Fetching data sets that may be downloaded: Clotho from Zenodo, ESC-50 from GitHub.

What was received lies in ``.downloads`` below the root, where an interrupted download goes on; it
is deleted once everything is unpacked. Audio is unpacked there too, checked against the tables, and
only then moved to its place.
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
# GitHub makes this archive on demand, so it has no lasting md5 sum: its content is checked.
ESC50_URL = "https://github.com/karolpiczak/ESC-50/archive/master.zip"
ESC50_CLIPS = 2000


def fetch_clotho(root: Path, splits: Sequence[str], say: Say, progress: bool = True) -> None:
    """Download and unpack splits of Clotho v2.1; one that is complete is left as it is.

    About 7 GB to download for all splits, and 12 GB on disk; while it is unpacked, a split needs
    the space of its archive too.

    Args:
        root: where to put it; made if need be.
        splits: of train, val and test.
        say: is told what goes on, in a line.
        progress: show a progress bar of the download.

    Raises:
        DatasetError: another split is asked for, or an archive lacks clips.
        DownloadError: a file cannot be had or unpacked, or the disk is full.
        MissingDependencyError: py7zr is not installed.
    """
    unknown = sorted(set(splits) - set(SPLITS))
    if unknown:
        raise DatasetError(f"clotho has no split {unknown[0]!r}; its splits: {', '.join(SPLITS)}")
    with _workplace(root) as place:
        for split in splits:
            done = _clotho_split(root, split)
            if done is None:
                require_unpacker(".7z")
                done = _fetch_clotho_split(root, split, place, say, progress)
            say(f"{SPLITS[split]}: complete, {done} clips")


def fetch_esc50(root: Path, say: Say, progress: bool = True) -> None:
    """Download and unpack ESC-50, unless it is complete: 0.65 GB to download, 0.9 GB on disk.

    Raises:
        DatasetError: the archive lacks clips.
        DownloadError: it cannot be had or unpacked, or the disk is full.
    """
    with _workplace(root) as place:
        if not _is_complete_esc50(root):
            archive = download(ESC50_URL, "ESC-50-master.zip", None, place, progress)
            say(f"unpacking {archive.name}")
            staged = unpack(archive, place / "unpacked")
            if not _is_complete_esc50(staged):
                archive.unlink()
                raise DatasetError(
                    f"{ESC50_URL} does not hold {ESC50_CLIPS} clips and their table; it is "
                    "removed; try again"
                )
            # The table last: without it, nothing looks complete.
            for child in sorted(open_esc50(staged).root.iterdir(), key=lambda p: p.name == "meta"):
                _move(child, root / child.name)
        say(f"esc-50: complete, {ESC50_CLIPS} clips")


def audiocaps_guide(root: Path) -> str:
    """What to run for AudioCaps, whose audio must come from YouTube, and where to put it."""
    return f"""\
AudioCaps cannot be downloaded from one place: its audio is cut from YouTube videos, some of which
are gone. About 45 GB as 32 kHz FLAC. One of these ways, then the last step:

1. Cut it yourself with aac-datasets (needs ffmpeg; days, and YouTube may ask for cookies):

     mkdir -p {root}
     python -m venv aac && aac/bin/pip install aac-datasets yt-dlp
     aac/bin/aac-datasets-download --root {root} audiocaps \\
         --subsets train val test --ytdlp_path aac/bin/yt-dlp

   Result: {root}/AUDIOCAPS/train.csv and audio_32000Hz/train/ID_START.flac, likewise val and test.

2. Take the copy of Mei et al., with which the paper was made (49274, 494 and 957 clips); its links
   are in the README of https://github.com/XinhaoMei/ACT. Put it here:

     {root}/csv_files/train.csv, val.csv, test.csv
     {root}/waveforms/train/Y*.wav, val/Y*.wav, test/Y*.wav

3. If you have audio called Y*.wav or ID_START.flac without tables: put train.csv, val.csv and
   test.csv of https://github.com/cdjkim/audiocaps (folder dataset) beside it, in {root}.

Last: otomatch data check audiocaps {root}
"""


@contextmanager
def _workplace(root: Path) -> Iterator[Path]:
    """A folder for downloads that one process uses at a time; kept if something fails."""
    place = root / DOWNLOADS
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / ".lock"):
        yield place
    shutil.rmtree(place, ignore_errors=True)


def _clotho_split(root: Path, split: str) -> int | None:
    """Number of clips of a complete split, in whatever layout; None if any is missing."""
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
        raise DatasetError(f"{archive.name} lacks clips that its table names: {lacks}")
    # The tables last: without them, nothing looks complete.
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
    """Rename; into a folder that is there already, file by file."""
    if source.is_dir() and target.is_dir():
        for child in sorted(source.iterdir()):
            _move(child, target / child.name)
    else:
        os.replace(source, target)
