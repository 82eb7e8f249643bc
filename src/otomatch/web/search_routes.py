"""Routes that search: by description, by a sound that is sent, by a sound of the library."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from otomatch.library.records import Sound
from otomatch.web.problems import CONTROLS, Problem, documented, sentences
from otomatch.web.schemas import SearchResponse
from otomatch.web.searches import Filters
from otomatch.web.services import Services
from otomatch.web.uploads import FIELD, Upload

router = APIRouter(prefix="/api", tags=["search"])

_LONGEST = 1000
_PLAIN = f"^[^{CONTROLS}]*$"
_SAYS_SOMETHING = rf"^[^{CONTROLS}]*[^\s{CONTROLS}][^{CONTROLS}]*$"

Text = Annotated[str, Field(max_length=_LONGEST, pattern=_SAYS_SOMETHING)]
Words = Annotated[str, Field(max_length=_LONGEST, pattern=_PLAIN)]
Place = Annotated[str, Field(max_length=4096, pattern=_PLAIN)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=200)]
SoundId = Annotated[str, Path(description="Of the sound, from a hit.", max_length=64)]

_TEXT = "What the sounds are like."
_NOT = "What they are not to be like."
_FOLDER = "Only sounds in this folder or below it; its path from /api/folders."
_MIN, _MAX = "Only sounds of at least so many seconds.", "Only sounds of at most so many seconds."
_K = "Number of hits, at most."


def services(request: Request) -> Services:
    """Those of the application."""
    found: Services = request.app.state.services
    return found


def filters(
    without: Annotated[Words | None, Query(alias="not", description=_NOT)] = None,
    folder: Annotated[Place | None, Query(description=_FOLDER)] = None,
    min_duration: Annotated[Seconds | None, Query(description=_MIN)] = None,
    max_duration: Annotated[Seconds | None, Query(description=_MAX)] = None,
    k: Annotated[Count, Query(description=_K)] = 20,
) -> Filters:
    """What the hits must fulfil, from the address."""
    return Filters(_said(without), _said(folder), min_duration, max_duration, k)


Shared = Annotated[Services, Depends(services)]
Wanted = Annotated[Filters, Depends(filters)]


async def chosen(id: SoundId, request: Request, shared: Shared) -> Sound:  # noqa: A002
    """The sound of the library that the address names."""
    return await shared.table.run(request, shared.searches.sound, id)


Chosen = Annotated[Sound, Depends(chosen)]


@router.get("/search", summary="Search by a description", responses=documented())
async def search(
    request: Request,
    shared: Shared,
    wanted: Wanted,
    q: Annotated[Text, Query(description=_TEXT)],
) -> SearchResponse:
    """Sounds like a description, best first, each once at its best stretch."""
    return await shared.model.run(
        request, shared.searches.text, q.strip(), wanted, key=("text", q.strip(), wanted)
    )


class SearchForm(BaseModel):
    """The fields of a search by a sound, beside the sound itself."""

    model_config = ConfigDict(populate_by_name=True)

    q: Words | None = Field(None, description=f"{_TEXT} Together with the sound, if given.")
    without: Words | None = Field(None, alias="not", description=_NOT)
    folder: Place | None = Field(None, description=_FOLDER)
    min_duration: Seconds | None = Field(None, description=_MIN)
    max_duration: Seconds | None = Field(None, description=_MAX)
    k: Count = Field(20, description=_K)

    def filters(self) -> Filters:
        """What the hits must fulfil."""
        return Filters(
            _said(self.without), _said(self.folder), self.min_duration, self.max_duration, self.k
        )


def _multipart() -> dict[str, Any]:
    schema = SearchForm.model_json_schema()
    about = "A sound of any common format: WAV, FLAC, MP3, OGG, M4A, WebM ..."
    sound = {"type": "string", "format": "binary", "description": about}
    for name, field in schema["properties"].items():
        # A form has no null: the field is absent.
        given = [option for option in field.pop("anyOf", []) if option.get("type") != "null"]
        field.update(*given)
        schema["properties"][name] = {k: v for k, v in field.items() if v is not None}
    schema["properties"] = {FIELD: sound, **schema["properties"]}
    schema["required"] = [FIELD]
    content = {"schema": schema, "encoding": {FIELD: {"contentType": "audio/*"}}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": content}}}


@router.post(
    "/search",
    summary="Search by a sound",
    responses=documented(408, 413, 415, 422),
    openapi_extra=_multipart(),
)
async def search_by_sound(request: Request, shared: Shared) -> SearchResponse:
    """Sounds like one that is sent (and like a description, if there is one); it is not kept."""

    async def use(upload: Upload) -> SearchResponse:
        try:
            form = SearchForm.model_validate(dict(upload.fields))
        except ValidationError as error:
            raise Problem(400, sentences(error.errors())) from None
        wanted = form.filters()
        # The first use loads the model.
        rate = await shared.table.run(
            request, lambda: shared.library.model.audio_encoder.sample_rate
        )
        waveform = await shared.decoding.run(request, shared.decoder.decode, upload, rate)
        return await shared.model.run(
            request, shared.searches.audio, upload.name, waveform, rate, _said(form.q), wanted
        )

    found: SearchResponse = await shared.receiver.receive(request, use)
    return found


@router.get("/sounds/{id}/similar", summary="More like this", responses=documented(404))
async def similar(
    request: Request,
    shared: Shared,
    sound: Chosen,
    wanted: Wanted,
    start: Annotated[
        Seconds | None,
        Query(description="Where the stretch that is meant begins; the whole sound without it."),
    ] = None,
) -> SearchResponse:
    """Sounds like one of the library, without itself."""
    key = ("similar", sound.id, start, wanted)
    return await shared.model.run(request, shared.searches.similar, sound, start, wanted, key=key)


def _said(text: str | None) -> str | None:
    """None for a field that was left blank."""
    return (text or "").strip() or None
