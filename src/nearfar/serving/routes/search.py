"""Asking the index: by vector, by the id of an item, and by what the encoder takes."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from nearfar.searching import check_fingerprint, without_itself
from nearfar.serving.encoding import Encoder
from nearfar.serving.routes.parts import HowMany, answer, as_vectors, binary_body, body_of
from nearfar.serving.schemas import Found, K, SearchIds, SearchVectors, _Model, failures
from nearfar.serving.service import Service

__all__ = ["search_routes"]


class SearchText(_Model):
    """Search by a text."""

    text: Annotated[str, Field(min_length=1, max_length=100_000, examples=["a red shoe"])]
    k: K = 10


def search_routes(service: Service) -> APIRouter:
    """Return the routes under ``/v1/search``; those by content only where there is an encoder."""
    router = APIRouter(prefix="/v1/search", tags=["search"])

    @router.post("/vector", response_model=Found, responses=failures(409), summary="Search by vector")
    async def by_vector(body: SearchVectors) -> Response:
        check_fingerprint(service.store.index, body.fingerprint)
        service.check_rows(len(body.vectors))
        vectors = as_vectors(service, body.vectors)
        found = await service.search(vectors, body.k)
        return answer(service.store.index.metric, [str(row) for row in range(len(vectors))], found)

    @router.post("/id", response_model=Found, responses=failures(404), summary="Search by the id of an item")
    async def by_id(body: SearchIds) -> Response:
        service.check_ids(body.ids)
        records = await service.in_thread(service.store.get, body.ids)
        found = await service.search(records.vectors, body.k + 1)
        return answer(service.store.index.metric, body.ids, without_itself(found, body.ids, body.k))

    if service.encoder is not None and service.encoder.kind == "text":
        _by_text(router, service)
    elif service.encoder is not None:
        _by_content(router, service, service.encoder)
    return router


def _by_text(router: APIRouter, service: Service) -> None:
    @router.post("/text", response_model=Found, responses=failures(), summary="Search by text")
    async def by_text(body: SearchText) -> Response:
        vectors = await service.embed(body.text.encode("utf-8", "replace"))
        return answer(service.store.index.metric, ["text"], await service.search(vectors, body.k))


def _by_content(router: APIRouter, service: Service, encoder: Encoder) -> None:
    @router.post(
        f"/{encoder.kind}", response_model=Found, responses=failures(415), openapi_extra=binary_body(encoder),
        summary=f"Search by {encoder.kind}", description="The body is the file itself.",
    )  # fmt: skip
    async def by_content(request: Request, k: HowMany = 10) -> Response:
        vectors: np.ndarray = await service.embed(await body_of(request))
        return answer(service.store.index.metric, [encoder.kind], await service.search(vectors, k))
