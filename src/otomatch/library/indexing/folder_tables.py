"""Captions and labels from the tables of folders: captions.csv, or a table of labels."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from otomatch.datasets import open_dataset
from otomatch.datasets.folder import CAPTIONS_TABLE
from otomatch.datasets.label_table import LABEL_TABLES, labels_by_name
from otomatch.errors import DatasetError

TABLE_NAMES = frozenset({CAPTIONS_TABLE, *(Path(table).parts[0] for table in LABEL_TABLES)})
"""Names of files and folders that show that a folder may have a table."""


@dataclass(frozen=True, slots=True)
class Descriptions:
    """Captions and labels of sound files, by resolved path."""

    captions: dict[Path, str] = field(default_factory=dict)
    labels: dict[Path, str] = field(default_factory=dict)

    def update(self, others: "Descriptions") -> None:
        """Add others, which replace those of the same files."""
        self.captions.update(others.captions)
        self.labels.update(others.labels)


def read_tables(folder: Path) -> Descriptions:
    """Return what the tables in a folder itself say; empty if it has none.

    Raises:
        DatasetError: A table is malformed.
        OSError: A table cannot be read.
    """
    if (folder / CAPTIONS_TABLE).is_file():
        clips = open_dataset(folder).clips
        return Descriptions(
            {clip.path.resolve(): clip.captions[0] for clip in clips if clip.captions},
            {clip.path.resolve(): clip.label for clip in clips if clip.label},
        )
    if any((folder / table).is_file() for table in LABEL_TABLES):
        labels = labels_by_name(folder)
        paths = [path for base in (folder, folder / "audio") for path in base.glob("*")]
        return Descriptions(
            labels={path.resolve(): labels[path.name] for path in paths if path.name in labels}
        )
    return Descriptions()


def add_nested_tables(
    descriptions: Descriptions, folders: Iterable[Path]
) -> Iterator[tuple[Path, Exception]]:
    """Add what the tables of nested folders say; the table nearest to a file wins.

    Yields:
        Folders whose table cannot be used, with the error.
    """
    for folder in sorted(folders, key=lambda folder: len(folder.parts)):
        try:
            descriptions.update(read_tables(folder))
        except (DatasetError, OSError) as error:  # does not affect the other folders
            yield folder, error
