"""Routes that search: by a description, by an uploaded sound, by a sound of the library."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from otomatch.web import dependencies as deps
from otomatch.web.api_errors import ApiError, documented, sentences
from otomatch.web.schemas import SearchResponse
from otomatch.web.searches import SearchOptions
from otomatch.web.uploads import FIELD, Upload

router = APIRouter(prefix="/api", tags=["search"])

_TEXT = "Description of the sounds to find."


@router.get("/search", summary="Search by a description", responses=documented())
async def search(
    request: Request,
    services: deps.AppServices,
    options: deps.Options,
    q: Annotated[deps.Description, Query(description=_TEXT)],
) -> SearchResponse:
    """Find the sounds that match a description best, each once, with its best window."""
    text = q.strip()
    return await services.model.run(
        request, services.searches.text, text, options, key=("text", text, options)
    )


class SearchForm(BaseModel):
    """Fields of the form of a search by a sound, apart from the sound itself."""

    model_config = ConfigDict(populate_by_name=True)

    q: deps.OptionalText | None = Field(
        None, description=f"{_TEXT} If given, sounds must match both it and the uploaded sound."
    )
    without: deps.OptionalText | None = Field(None, alias="not", description=deps.WITHOUT)
    folder: deps.FolderPath | None = Field(None, description=deps.FOLDER)
    min_duration: deps.Seconds | None = Field(None, description=deps.MIN_DURATION)
    max_duration: deps.Seconds | None = Field(None, description=deps.MAX_DURATION)
    k: deps.HitCount = Field(20, description=deps.K)

    def options(self) -> SearchOptions:
        """Return the search options in the form."""
        return SearchOptions(
            deps.none_if_blank(self.without),
            deps.none_if_blank(self.folder),
            self.min_duration,
            self.max_duration,
            self.k,
        )


def _multipart() -> dict[str, Any]:
    schema = SearchForm.model_json_schema()
    about = "Sound file in a common format, such as WAV, FLAC, MP3, OGG, M4A or WebM."
    sound = {"type": "string", "format": "binary", "description": about}
    for name, field in schema["properties"].items():
        # A form cannot contain null; the field is left out instead.
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
async def search_by_sound(request: Request, services: deps.AppServices) -> SearchResponse:
    """Find the sounds most similar to an uploaded one, which is not kept.

    With a description, the sounds must match both.
    """

    async def use(upload: Upload) -> SearchResponse:
        try:
            form = SearchForm.model_validate(dict(upload.fields))
        except ValidationError as error:
            raise ApiError(400, sentences(error.errors())) from None
        options, text = form.options(), deps.none_if_blank(form.q)
        # The first access loads the model.
        rate = await services.table.run(
            request, lambda: services.library.model.audio_encoder.sample_rate
        )
        waveform = await services.decoding.run(request, services.decoder.decode, upload, rate)
        return await services.model.run(
            request, services.searches.audio, upload.name, waveform, rate, text, options
        )

    found: SearchResponse = await services.receiver.receive(request, use)
    return found


_START = "Start of the window to search by, in seconds; by default the whole sound."


@router.get("/sounds/{id}/similar", summary="Find similar sounds", responses=documented(404))
async def similar(
    request: Request,
    services: deps.AppServices,
    sound: deps.PathSound,
    options: deps.Options,
    start: Annotated[deps.Seconds | None, Query(description=_START)] = None,
) -> SearchResponse:
    """Find the sounds most similar to a sound of the library, without the sound itself."""
    key = ("similar", sound.id, start, options)
    return await services.model.run(
        request, services.searches.similar, sound, start, options, key=key
    )
