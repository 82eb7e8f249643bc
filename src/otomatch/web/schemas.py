"""Typed responses of the API, from which the OpenAPI document is generated.

The class names are the component names in that document, so renaming one changes the API.
"""

from typing import Literal

from pydantic import BaseModel, Field


class Health(BaseModel):
    """State of the server and totals of its library."""

    status: Literal["ok"] = "ok"
    version: str = Field(description="Version of otomatch.")
    library: str = Field(description="Name of the library.")
    sounds: int = Field(description="Number of sound files.")
    windows: int = Field(description="Number of searchable windows in all files.")
    seconds: float = Field(description="Total length of all files, in seconds.")
    model: str = Field(description="Name of the model that the library was indexed with.")


class Query(BaseModel):
    """Query as the server understood it."""

    text: str | None = Field(description="Description searched for.")
    like: str | None = Field(description="Name of the sound searched by.")
    without: str | None = Field(description="Description of what the hits should not sound like.")


class SoundHit(BaseModel):
    """Sound that matches a query, with its best window."""

    id: str = Field(description="Identifier of the sound in all API paths.")
    name: str = Field(description="File name.")
    folder: str = Field(description="Folder of the file, starting with the indexed folder's name.")
    path: str = Field(description="Absolute path of the file.")
    start: float = Field(description="Start of the best window, in seconds.")
    end: float = Field(description="End of the best window, in seconds.")
    duration: float = Field(description="Length of the whole file, in seconds.")
    relevance: float = Field(ge=0, le=1, description="Relevance, comparable between queries.")
    distance: float = Field(description="Learned distance to the query; smaller is better.")
    label: str | None = Field(description="Class of the sound, if known.")
    caption: str | None = Field(description="Description of the sound, if known.")
    tags: str | None = Field(description="Text of the tags embedded in the file, if any.")
    named: bool = Field(description="True if words of the query occur in the name, folder or tags.")


class SearchResponse(BaseModel):
    """Hits of a query, best first."""

    query: Query
    hits: list[SoundHit]
    seconds: float = Field(description="Duration of the search, in seconds.")
    total: int = Field(description="Number of sound files in the library.")


class Folder(BaseModel):
    """Folder that contains sounds, directly or in subfolders."""

    path: str = Field(description="Absolute path, as the ``folder`` filter takes it.")
    name: str = Field(description="Path starting with the indexed folder's name.")
    sounds: int = Field(description="Number of sound files in the folder and its subfolders.")


class Folders(BaseModel):
    """All folders that contain sounds."""

    folders: list[Folder]


class MapPoint(BaseModel):
    """Sound on the map."""

    id: str
    name: str
    x: float = Field(ge=0, le=1)
    y: float = Field(ge=0, le=1)
    cluster: int = Field(description="Identifier of the cluster that the sound belongs to.")


class MapCluster(BaseModel):
    """Group of similar sounds."""

    id: int
    label: str = Field(description="Words that distinguish its sounds from the others.")
    size: int = Field(description="Number of sounds in the cluster.")


class SoundMap(BaseModel):
    """Two-dimensional map of the library; similar sounds are close together."""

    state: Literal["ready", "computing", "empty", "failed"] = Field(
        description="State of the map. While it is computing, the points are those of the previous "
        "map, if there was one."
    )
    points: list[MapPoint]
    clusters: list[MapCluster]
