"""Settings of a folder of scenes, and the file that keeps them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from otomatch.datasets.folder import CAPTIONS_TABLE
from otomatch.errors import DatasetError, InvalidInputError, at_least

SETTINGS_FILE = "scenes.json"
"""File with the settings of a folder of scenes."""

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """Settings that determine the bytes of a folder of scenes.

    Attributes:
        source: Hash of the names, labels and stamps of the sounds, and of the allowed pairs.
        clips: Number of scenes; None for every combination of classes once.
        seconds: Length of each scene in seconds, 1 to 600.
        seed: Random seed, 0 or more.
        captions_per_clip: Number of captions per scene, 1 to 12; the usual evaluation needs 5.

    Raises:
        InvalidInputError: A setting is out of range.
    """

    source: str
    clips: int | None = 3000
    seconds: float = 5.0
    seed: int = 0
    captions_per_clip: int = 5

    def __post_init__(self) -> None:
        if self.clips is not None:
            at_least("the number of clips", self.clips, 1)
        if not 1.0 <= self.seconds <= 600.0:
            raise InvalidInputError(f"the length of a scene is {self.seconds} s; expected 1 to 600")
        at_least("the seed", self.seed, 0)
        if not 1 <= self.captions_per_clip <= 12:
            raise InvalidInputError(
                f"the number of captions per clip is {self.captions_per_clip}; expected 1 to 12"
            )

    def to_json(self) -> str:
        """Return the content of the settings file."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=2) + "\n"


def is_complete(out: Path, settings: SceneSettings) -> bool:
    """Return True if a folder of scenes is complete, False if it is absent, empty or interrupted.

    Raises:
        DatasetError: The folder holds something else, or scenes with other settings.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    file = out / SETTINGS_FILE
    if not file.is_file():
        raise DatasetError(f"{out} exists and is not a folder of scenes; choose another folder")
    if file.read_text(encoding="utf-8") != settings.to_json():
        raise DatasetError(
            f"{out} has scenes composed of other sounds or with other settings (see its "
            f"{SETTINGS_FILE}); remove it or choose another folder"
        )
    return (out / CAPTIONS_TABLE).is_file()
