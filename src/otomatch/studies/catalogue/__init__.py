"""The catalogue of studies, one file each.

To add a study, write a file with a `Study` and list it in `STUDIES`.
"""

from otomatch.studies.catalogue import batch, epsilon, losses, metric, noise, scale, transfer
from otomatch.studies.catalogue.definition import Arm, GridInputs, Reference, Study, View

_FILES = (losses, metric, epsilon, noise, batch, scale, transfer)

STUDIES: dict[str, Study] = {file.STUDY.name: file.STUDY for file in _FILES}
"""All studies by name."""

__all__ = ["STUDIES", "Arm", "GridInputs", "Reference", "Study", "View"]
