"""What the API answers, typed; the OpenAPI document is made from it."""

from typing import Literal

from pydantic import BaseModel, Field


class Health(BaseModel):
    """The server and its library."""

    status: Literal["ok"] = "ok"
    version: str = Field(description="Of otomatch.")
    library: str = Field(description="Name of the library.")
    sounds: int = Field(description="Sound files in it.")
    windows: int = Field(description="Stretches of them that can be found.")
    seconds: float = Field(description="Length of all sounds together.")
    model: str = Field(description="Name of the model it was made with.")


class Query(BaseModel):
    """What was asked for."""

    text: str | None = Field(description="Description.")
    like: str | None = Field(description="Name of the sound that was given or chosen.")
    without: str | None = Field(description="What the sounds are not to be like.")


class SoundHit(BaseModel):
    """A sound that answers a query, at its best stretch."""

    id: str = Field(description="Stands for the sound in all addresses.")
    name: str = Field(description="Name of the file.")
    folder: str = Field(description="Its folder, from the indexed folder's name on.")
    path: str = Field(description="Where the file lies.")
    start: float = Field(description="Seconds, where the best stretch begins.")
    end: float = Field(description="Seconds, where it ends.")
    duration: float = Field(description="Seconds, the whole file.")
    relevance: float = Field(ge=0, le=1, description="Comparable between queries.")
    distance: float = Field(description="Learned distance to the query; 0 is the best.")
    label: str | None = Field(description="Its class, if known.")
    caption: str | None = Field(description="A description, if known.")
    tags: str | None = Field(description="What the tags inside the file say, if anything.")
    named: bool = Field(description="Whether its name, folders or tags hold words of the query.")


class SearchResponse(BaseModel):
    """Hits, best first."""

    query: Query
    hits: list[SoundHit]
    seconds: float = Field(description="Time that the search took.")
    total: int = Field(description="Sound files in the library.")


class Folder(BaseModel):
    """A folder with sounds in it, or below it."""

    path: str = Field(description="What the filter ``folder`` takes.")
    name: str = Field(description="The path from the indexed folder's name on.")
    sounds: int = Field(description="Sound files in it and below it.")


class Folders(BaseModel):
    """All folders with sounds."""

    folders: list[Folder]


class MapPoint(BaseModel):
    """A sound on the map."""

    id: str
    name: str
    x: float = Field(ge=0, le=1)
    y: float = Field(ge=0, le=1)
    cluster: int = Field(description="Number of its cluster.")


class MapCluster(BaseModel):
    """Sounds that are alike."""

    id: int
    label: str = Field(description="Words that set its sounds apart from the others.")
    size: int = Field(description="Number of its sounds.")


class SoundMap(BaseModel):
    """The library in two dimensions: what sounds alike lies together."""

    state: Literal["ready", "computing", "empty", "failed"] = Field(
        description="While computing, the points are those of the library as it was, if any."
    )
    points: list[MapPoint]
    clusters: list[MapCluster]
