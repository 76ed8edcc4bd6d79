"""What the index keeps: adding, looking up, removing. An answer means that it is on disk."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from nearfar.indexing import Records
from nearfar.searching import check_fingerprint
from nearfar.serving.encoding import Encoder
from nearfar.serving.refusal import Refused
from nearfar.serving.routes.parts import as_vectors, binary_body, body_of
from nearfar.serving.schemas import Added, AddItems, GetItems, Items, Removed, RemoveItems, failures
from nearfar.serving.service import Service

__all__ = ["item_routes"]

ItemId = Annotated[str, Query(max_length=10_000, description="The id of the item.")]
ItemLabel = Annotated[str | None, Query(max_length=10_000, description="Its label, as text.")]


def item_routes(service: Service, *, writable: bool) -> APIRouter:
    """Return the routes under ``/v1/items``; those that change something only where that is wanted."""
    router = APIRouter(prefix="/v1/items", tags=["items"])

    @router.post("/get", response_model=Items, responses=failures(404), summary="Look items up")
    async def get(body: GetItems) -> Response:
        service.check_ids(body.ids)
        found = await service.in_thread(service.store.get, body.ids)
        rows = zip(found.ids, found.vectors.tolist(), found.labels, found.metadata, strict=True)
        names = ("id", "vector", "label", "metadata")
        return JSONResponse({"items": [dict(zip(names, row, strict=True)) for row in rows]})

    if writable:
        _changing(router, service)
    _showing(router, service)
    return router


def _changing(router: APIRouter, service: Service) -> None:
    @router.post("", response_model=Added, responses=failures(409, 507), summary="Add items by vector")
    async def add(body: AddItems) -> Response:
        check_fingerprint(service.store.index, body.fingerprint)
        ids = [item.id for item in body.items]
        service.check_ids(ids)
        vectors = as_vectors(service, [item.vector for item in body.items])
        labels, metadata = [item.label for item in body.items], [item.metadata or {} for item in body.items]
        records = Records(ids, vectors, labels, metadata, [None] * len(ids))
        await service.in_thread(partial(service.store.add, replace=body.replace), records)
        return JSONResponse({"added": ids, "count": service.store.count})

    @router.post("/remove", response_model=Removed, responses=failures(404, 507), summary="Remove items")
    async def remove(body: RemoveItems) -> Response:
        service.check_ids(body.ids)
        await service.in_thread(service.store.remove, body.ids)
        return JSONResponse({"removed": len(set(body.ids)), "count": service.store.count})

    if service.encoder is not None and service.encoder.kind != "text":
        _adding_content(router, service, service.encoder)


def _adding_content(router: APIRouter, service: Service, encoder: Encoder) -> None:
    @router.post(
        f"/{encoder.kind}", response_model=Added, responses=failures(409, 415, 507),
        openapi_extra=binary_body(encoder), summary=f"Add one {encoder.kind}",
        description="The body is the file itself.",
    )  # fmt: skip
    async def add_content(
        request: Request,
        id: ItemId,  # noqa: A002 - of the wire
        label: ItemLabel = None,
        replace: bool = False,
    ) -> Response:
        service.check_ids([id])
        content = await body_of(request)
        vectors = await service.embed(content)
        picture = await service.in_thread(encoder.thumbnail, content)
        records = Records([id], vectors, [label], [{}], [picture])
        await service.in_thread(partial(service.store.add, replace=replace), records)
        return JSONResponse({"added": [id], "count": service.store.count})


def _showing(router: APIRouter, service: Service) -> None:
    @router.get(
        "/thumbnail", responses=failures(404), response_class=Response, summary="See a small picture of an item"
    )
    async def thumbnail(id: ItemId) -> Response:  # noqa: A002 - of the wire
        content = await service.in_thread(service.thumbnail, service.id_of(id))
        if content is None:
            raise Refused(404, "thumbnail: there is none of this id")
        return Response(content.data, media_type=content.media_type)
