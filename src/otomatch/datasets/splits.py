"""Open data sets that have one table of captions per split."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from otomatch.datasets.base import CaptionDataset
from otomatch.datasets.caption_table import Naming, column_names, read_rows
from otomatch.datasets.clips import assemble
from otomatch.errors import DatasetError


@dataclass(frozen=True)
class SplitLayout:
    """Layout of a data set: where its tables may be, and how they name the audio files.

    Attributes:
        name: Name of the data set.
        folders: Folders below the root that may hold the tables, the most likely first.
        tables: Possible file names of the table of each split.
        namings: Function that returns the possible namings in the table of a split.
    """

    name: str
    folders: tuple[str, ...]
    tables: Mapping[str, tuple[str, ...]]
    namings: Callable[[str], tuple[Naming, ...]]

    def open(self, root: Path) -> CaptionDataset:
        """Open all splits that have a table; rows without audio are skipped and listed.

        Raises:
            DatasetError: No table exists, a table is malformed, or no row can be used.
        """
        tables = self._find(root)
        if not tables:
            names = ", ".join(name for names in self.tables.values() for name in names)
            places = ", ".join(str(root / folder) for folder in self.folders)
            raise DatasetError(
                f"{self.name}: no table of captions; looked for {names} in {places}; check the "
                f"folder, or get the data set with: otomatch data fetch {self.name}"
            )
        rows = [
            row
            for split, table in tables.items()
            for row in read_rows(table, self.namings(split), split)
        ]
        found = ", ".join(str(table.relative_to(root)) for table in tables.values())
        return assemble(self.name, root, rows, f"{root} ({found})")

    def recognises(self, root: Path) -> bool:
        """Return True if the folder has a table that fits this layout."""
        return any(
            set(naming.columns) <= set(column_names(table))
            for split, table in self._find(root).items()
            for naming in self.namings(split)
        )

    def _find(self, root: Path) -> dict[str, Path]:
        tables = {}
        for split, names in self.tables.items():
            places = (root / folder / name for folder in self.folders for name in names)
            table = next((place for place in places if place.is_file()), None)
            if table is not None:
                tables[split] = table
        return tables
