"""Asking the index: by vector, by the id of an item, and by what the encoder takes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from nearfar.indexing import read_where
from nearfar.searching import check_fingerprint, without_itself
from nearfar.serving.encoding import Encoder
from nearfar.serving.routes.parts import HowMany, answer, as_vectors, binary_body, body_of
from nearfar.serving.schemas import Found, K, Model, SearchIds, SearchVectors, Where, Within, failures
from nearfar.serving.service import Asked, Service

__all__ = ["search_routes"]

WhereText = Annotated[
    str | None, Query(max_length=10_000, description="A filter, for example: brand = 'x' and price < 10")
]
WithinNumber = Annotated[float | None, Query(allow_inf_nan=False, description="Only items at most this far.")]


class SearchText(Model):
    """Search by a text."""

    text: Annotated[str, Field(min_length=1, max_length=100_000, examples=["a red shoe"])]
    k: K = 10
    where: Where = None
    within: Within = None
    metadata: bool = False


def search_routes(service: Service) -> APIRouter:
    """Return the routes under ``/v1/search``; those by content only where there is an encoder."""
    router = APIRouter(prefix="/v1/search", tags=["search"])

    @router.post("/vector", response_model=Found, responses=failures(409), summary="Search by vector")
    async def by_vector(body: SearchVectors) -> Response:
        check_fingerprint(service.store.index, body.fingerprint)
        service.check_rows(len(body.vectors))
        vectors = as_vectors(service, body.vectors)
        found = await service.search(Asked(vectors, body.k, body.where, body.within))
        return await answer(service, list(range(len(vectors))), found, metadata=body.metadata)

    @router.post("/id", response_model=Found, responses=failures(404), summary="Search by the id of an item")
    async def by_id(body: SearchIds) -> Response:
        service.check_ids(body.ids)
        service.check_k(len(body.ids), body.k)
        records = await service.in_thread(service.store.get, body.ids)
        found = await service.search(Asked(records.vectors, body.k + 1, body.where, body.within), checked=True)
        return await answer(service, body.ids, without_itself(found, body.ids, body.k), metadata=body.metadata)

    if service.encoder is not None and service.encoder.kind == "text":
        _by_text(router, service)
    elif service.encoder is not None:
        _by_content(router, service, service.encoder)
    return router


def _by_text(router: APIRouter, service: Service) -> None:
    @router.post("/text", response_model=Found, responses=failures(), summary="Search by text")
    async def by_text(body: SearchText) -> Response:
        vectors = await service.embed(body.text.encode("utf-8", "replace"))
        found = await service.search(Asked(vectors, body.k, body.where, body.within))
        return await answer(service, ["text"], found, metadata=body.metadata)


def _by_content(router: APIRouter, service: Service, encoder: Encoder) -> None:
    @router.post(
        f"/{encoder.kind}", response_model=Found, responses=failures(415), openapi_extra=binary_body(encoder),
        summary=f"Search by {encoder.kind}", description="The body is the file itself.",
    )  # fmt: skip
    async def by_content(
        request: Request, k: HowMany = 10, where: WhereText = None, within: WithinNumber = None, metadata: bool = False
    ) -> Response:
        passing = None if where is None else read_where(where)
        vectors = await service.embed(await body_of(request))
        found = await service.search(Asked(vectors, k, passing, within))
        return await answer(service, [encoder.kind], found, metadata=metadata)
