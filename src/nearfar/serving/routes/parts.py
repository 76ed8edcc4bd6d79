"""What several routes share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import Query, Request
from numpy.typing import NDArray
from starlette.responses import JSONResponse

from nearfar.indexing import Id, Neighbours
from nearfar.serving.encoding import Encoder
from nearfar.serving.refusal import Refused
from nearfar.serving.service import Service

__all__ = ["HowMany", "answer", "as_vectors", "binary_body", "body_of"]

HowMany = Annotated[int, Query(ge=1, le=100_000, description="How many neighbours.")]


def as_vectors(service: Service, rows: Sequence[Sequence[float]]) -> NDArray[np.float32]:
    """Return (N, D) float32.

    Raises:
        Refused: 422 when a row is of another length than the index's vectors.
    """
    dim = service.store.index.dim
    wrong = next((row for row in rows if len(row) != dim), None)
    if wrong is not None:
        raise Refused(422, f"vector: must have {dim} numbers, as the index's have, got {len(wrong)}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused by the index
        return np.asarray(rows, dtype=np.float64).astype(np.float32)


async def answer(service: Service, queries: Sequence[Id], found: Neighbours, *, metadata: bool = False) -> JSONResponse:
    """Return what a search found, if wanted with the metadata of every neighbour."""
    known: dict[Id, dict[str, Any]] = {}
    if metadata:
        known = await service.in_thread(service.metadata_of, {name for names in found.ids for name in names})
    results = []
    for query, names, labels, distances in zip(queries, found.ids, found.labels, found.distances.tolist(), strict=True):
        hits: list[dict[str, Any]] = [
            {"id": name, "label": label, "distance": distance}
            for name, label, distance in zip(names, labels, distances, strict=False)
        ]
        if metadata:
            hits = [{**hit, "metadata": known.get(hit["id"])} for hit in hits]
        results.append({"query": query, "hits": hits})
    return JSONResponse({"metric": service.store.index.metric, "results": results})


def binary_body(encoder: Encoder) -> dict[str, Any]:
    """Return the OpenAPI description of a body that is the item itself."""
    schema = {"schema": {"type": "string", "format": "binary"}}
    return {"requestBody": {"required": True, "content": dict.fromkeys(encoder.media_types, schema)}}


async def body_of(request: Request) -> bytes:
    """Return the body.

    Raises:
        Refused: 415 when it is a form, 422 when it is empty.
    """
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise Refused(415, "body: must be the file itself, got a form; with curl: --data-binary @FILE")
    content = await request.body()
    if not content:
        raise Refused(422, "body: must be a file, got nothing; with curl: --data-binary @FILE")
    return content
