"""What goes over the wire: the models that the service checks and its description is made from."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "AddItems",
    "Added",
    "Failure",
    "Found",
    "GetItems",
    "Hit",
    "Info",
    "Item",
    "Items",
    "Query",
    "RemoveItems",
    "Removed",
    "SearchIds",
    "SearchVectors",
    "State",
    "failures",
]

K = Annotated[int, Field(ge=1, le=100_000, description="How many neighbours.", examples=[10])]
Id = Annotated[str, Field(max_length=100_000, description="The id of an item.", examples=["shoes/17.jpg"])]
Number = Annotated[float, Field(allow_inf_nan=False)]
Vector = Annotated[list[Number], Field(description="As long as the index's vectors.", examples=[[0.1, 0.2, 0.3]])]
Label = Annotated[
    str | Annotated[int, Field(ge=-(2**63), lt=2**63)] | None, Field(description="Text or a whole number.")
]
Fingerprint = Annotated[
    str | None, Field(max_length=200, description="Of the encoder of the vectors; another than the index's is refused.")
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Failure(_Model):
    """One sentence: who, what, must be, got, and the fix."""

    error: str


class State(_Model):
    """Whether the service is well."""

    status: str


class Info(_Model):
    """What is served."""

    backend: str
    metric: str = Field(description="Of all distances: cosine is 1 - cos.")
    dim: int
    count: int
    fingerprint: str | None = Field(description="Of the encoder whose vectors these are.")
    encoder: str | None = Field(description="The run that turns queries into vectors, if one was given.")
    kind: str | None = Field(description="What the encoder takes: image, text, audio.")
    limits: dict[str, float]


class SearchVectors(_Model):
    """Search by one vector or more."""

    vectors: list[Vector] = Field(min_length=1, description="Queries.")
    k: K = 10
    fingerprint: Fingerprint = None


class SearchIds(_Model):
    """Search by items of the index, each without itself."""

    ids: list[Id] = Field(min_length=1)
    k: K = 10


class Hit(_Model):
    """One neighbour."""

    id: str
    label: str | int | None
    distance: float


class Query(_Model):
    """The neighbours of one query, nearest first."""

    query: str = Field(description="The query's id, or its number.")
    hits: list[Hit]


class Found(_Model):
    """The answer to a search."""

    metric: str
    results: list[Query]


class Item(_Model):
    """An item of the index."""

    id: Id
    vector: Vector
    label: Label = None


class AddItems(_Model):
    """Items to add: all are added or none."""

    items: list[Item] = Field(min_length=1)
    fingerprint: Fingerprint = None


class Added(_Model):
    """What was added is on disk."""

    added: list[str]
    count: int = Field(description="Items in the index now.")


class GetItems(_Model):
    """Items asked for."""

    ids: list[Id] = Field(min_length=1)


class Items(_Model):
    """Items of the index, in the order asked for."""

    items: list[Item]


class RemoveItems(_Model):
    """Items to remove: all go or none."""

    ids: list[Id] = Field(min_length=1)


class Removed(_Model):
    """The removal is on disk."""

    removed: int
    count: int = Field(description="Items in the index now.")


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of the refusals of a route."""
    words = {
        400: "Not HTTP as it should be", 401: "No or a wrong API key", 403: "From another site", 404: "Unknown",
        408: "The body came too slowly", 409: "Does not fit the index", 413: "Too large", 415: "Of another type",
        422: "Wrong input", 429: "Too often", 503: "Busy or shutting down", 504: "Took too long",
        507: "The disk takes no more",
    }  # fmt: skip
    usual = (400, 401, 403, 408, 413, 422, 429, 503, 504)
    return {code: {"model": Failure, "description": words[code]} for code in sorted({*usual, *statuses})}
