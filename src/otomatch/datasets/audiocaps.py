"""AudioCaps: 10 s clips of YouTube videos; one caption per training clip, five per other clip.

The tables are the authors' (``audiocap_id,youtube_id,start_time,caption``) or those of Mei et al.
(``file_name,caption`` and ``file_name,caption_1..caption_5``), which the paper's released code
uses. The audio may be anywhere below the root, as ``Y{youtube_id}.wav`` (Mei et al.) or
``{youtube_id}_{start_time}.flac`` (aac-datasets). If several files have the same name, the one in a
folder named after the split is used. Clips that YouTube no longer has are skipped and listed.

Source: C. D. Kim et al., AudioCaps: Generating Captions for Audios in The Wild, NAACL 2019.
"""

from collections.abc import Mapping

from otomatch.datasets.caption_table import Naming
from otomatch.datasets.splits import SplitLayout

# The root itself; Mei et al. and the paper's code; the authors' repository; aac-datasets.
_FOLDERS = (
    *("", "csv_files", "dataset", "csv_files_v1"),
    *("AUDIOCAPS", "AUDIOCAPS/csv_files_v1"),
)


def _namings(split: str) -> tuple[Naming, ...]:
    def of_video(fields: Mapping[str, str]) -> tuple[str, ...]:
        video, start = fields["youtube_id"], fields["start_time"]
        cut = f"{split}/{video}_{start}"
        return f"{split}/Y{video}.wav", f"{cut}.flac", f"{cut}.wav"

    def of_file(fields: Mapping[str, str]) -> tuple[str, ...]:
        return (f"{split}/{fields['file_name']}",)

    return Naming(("youtube_id", "start_time"), of_video), Naming(("file_name",), of_file)


AUDIOCAPS = SplitLayout(
    name="audiocaps",
    folders=_FOLDERS,
    tables={split: (f"{split}.csv",) for split in ("train", "val", "test")},
    namings=_namings,
)
