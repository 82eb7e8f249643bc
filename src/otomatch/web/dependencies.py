"""Parameters that several routes share, as FastAPI dependencies and annotated types."""

from typing import Annotated

from fastapi import Depends, Path, Query, Request
from pydantic import Field

from otomatch.library.records import Sound
from otomatch.web.api_errors import CONTROLS
from otomatch.web.searches import SearchOptions
from otomatch.web.services import Services

MAX_TEXT = 1000
"""Maximum length of a description, in characters."""

_NO_CONTROLS = f"^[^{CONTROLS}]*$"
_NOT_BLANK = rf"^[^{CONTROLS}]*[^\s{CONTROLS}][^{CONTROLS}]*$"

Description = Annotated[str, Field(max_length=MAX_TEXT, pattern=_NOT_BLANK)]
OptionalText = Annotated[str, Field(max_length=MAX_TEXT, pattern=_NO_CONTROLS)]
FolderPath = Annotated[str, Field(max_length=4096, pattern=_NO_CONTROLS)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
HitCount = Annotated[int, Field(ge=1, le=200)]
SoundId = Annotated[str, Path(description="Identifier of the sound, from a hit.", max_length=64)]

WITHOUT = "Description of what the hits should not sound like."
FOLDER = "Folder of the hits, directly or in subfolders; a path from /api/folders."
MIN_DURATION = "Minimum length of a hit, in seconds."
MAX_DURATION = "Maximum length of a hit, in seconds."
K = "Maximum number of hits."


def get_services(request: Request) -> Services:
    """Return the app's services."""
    found: Services = request.app.state.services
    return found


def search_options(
    without: Annotated[OptionalText | None, Query(alias="not", description=WITHOUT)] = None,
    folder: Annotated[FolderPath | None, Query(description=FOLDER)] = None,
    min_duration: Annotated[Seconds | None, Query(description=MIN_DURATION)] = None,
    max_duration: Annotated[Seconds | None, Query(description=MAX_DURATION)] = None,
    k: Annotated[HitCount, Query(description=K)] = 20,
) -> SearchOptions:
    """Return the search options in the query string."""
    return SearchOptions(
        none_if_blank(without), none_if_blank(folder), min_duration, max_duration, k
    )


AppServices = Annotated[Services, Depends(get_services)]
Options = Annotated[SearchOptions, Depends(search_options)]


async def sound_of_path(id: SoundId, request: Request, services: AppServices) -> Sound:  # noqa: A002
    """Return the sound of the library whose id is in the path."""
    return await services.table.run(request, services.searches.sound, id)


PathSound = Annotated[Sound, Depends(sound_of_path)]


def none_if_blank(text: str | None) -> str | None:
    """Return the text without surrounding spaces; None if it is blank."""
    return (text or "").strip() or None
