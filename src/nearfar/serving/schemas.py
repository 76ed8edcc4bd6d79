"""What goes over the wire: the models that the service checks and its description is made from."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "AddItems",
    "Added",
    "Failure",
    "Fingerprint",
    "Found",
    "GetItems",
    "Hit",
    "Info",
    "Item",
    "Items",
    "K",
    "Label",
    "Model",
    "Query",
    "RemoveItems",
    "Removed",
    "SearchIds",
    "SearchVectors",
    "State",
    "Vector",
    "Where",
    "Within",
    "failures",
]

K = Annotated[int, Field(ge=1, le=100_000, description="How many neighbours.", examples=[10])]
Whole = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]
Name = Annotated[str, Field(max_length=100_000)]
Id = Annotated[Name | Whole, Field(description="The id of an item.", examples=["shoes/17.jpg"])]
Where = Annotated[
    dict[str, Any] | None,
    Field(
        description='A filter on metadata, id and label, for example {"price": {"<": 10}, "brand": "x"}.',
        examples=[None],
    ),
]
Within = Annotated[float | None, Field(allow_inf_nan=False, description="Only items at most this far.")]
Metadata = Annotated[dict[str, Any], Field(description="JSON values by name.", examples=[{"brand": "x"}])]
Number = Annotated[float, Field(allow_inf_nan=False)]
Vector = Annotated[list[Number], Field(description="As long as the index's vectors.", examples=[[0.1, 0.2, 0.3]])]
Label = Annotated[Name | Whole | None, Field(description="Text or a whole number.")]
Fingerprint = Annotated[
    str | None, Field(max_length=200, description="Of the encoder of the vectors; another than the index's is refused.")
]


class Model(BaseModel):
    """Refuses what it does not know."""

    model_config = ConfigDict(extra="forbid")


class Failure(Model):
    """One sentence: who, what, must be, got, and the fix."""

    error: str


class State(Model):
    """Whether the service is well."""

    status: str


class Info(Model):
    """What is served."""

    backend: str
    metric: str = Field(description="Of all distances: cosine is 1 - cos.")
    dim: int
    count: int
    fingerprint: str | None = Field(description="Of the encoder whose vectors these are.")
    encoder: str | None = Field(description="The run that turns queries into vectors, if one was given.")
    kind: str | None = Field(description="What the encoder takes: image, text, audio.")
    limits: dict[str, float]


class SearchVectors(Model):
    """Search by one vector or more."""

    vectors: list[Vector] = Field(min_length=1, description="Queries.")
    k: K = 10
    where: Where = None
    within: Within = None
    metadata: bool = Field(False, description="Answer with the metadata of the neighbours.")
    fingerprint: Fingerprint = None


class SearchIds(Model):
    """Search by items of the index, each without itself."""

    ids: list[Id] = Field(min_length=1)
    k: K = 10
    where: Where = None
    within: Within = None
    metadata: bool = Field(False, description="Answer with the metadata of the neighbours.")


class Hit(Model):
    """One neighbour."""

    id: Id
    label: str | int | None
    distance: float
    metadata: Metadata | None = None


class Query(Model):
    """The neighbours of one query, nearest first."""

    query: Id = Field(description="The query's id, or its number.")
    hits: list[Hit]


class Found(Model):
    """The answer to a search."""

    metric: str
    results: list[Query]


class Item(Model):
    """An item of the index."""

    id: Id
    vector: Vector
    label: Label = None
    metadata: Metadata | None = None


class AddItems(Model):
    """Items to add: all are added or none."""

    items: list[Item] = Field(min_length=1)
    replace: bool = Field(False, description="Take the place of items with the same ids.")
    fingerprint: Fingerprint = None


class Added(Model):
    """What was added is on disk."""

    added: list[Id]
    count: int = Field(description="Items in the index now.")


class GetItems(Model):
    """Items asked for."""

    ids: list[Id] = Field(min_length=1)


class Items(Model):
    """Items of the index, in the order asked for."""

    items: list[Item]


class RemoveItems(Model):
    """Items to remove: all go or none."""

    ids: list[Id] = Field(min_length=1)


class Removed(Model):
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
