"""The routes under ``/explore``: the page, and what it asks for. Items go by their numbers, so no id is in a path."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, RedirectResponse, Response

from nearfar.errors import require
from nearfar.exploring.page import script, service_page, style
from nearfar.exploring.view import View
from nearfar.serving.docs_page import PAGE_POLICY
from nearfar.serving.refusal import Refused
from nearfar.serving.routes.parts import body_of
from nearfar.serving.service import Asked, Service

__all__ = ["PUBLIC", "explore_routes"]

PUBLIC = ("/", "/explore", "/explore/explore.js", "/explore/explore.css")
"""Paths that need no key: they hold no data."""

Row = Annotated[int, Field(ge=0, lt=2**31)]
Count = Annotated[int, Field(ge=1, le=200)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Rows(_Model):
    """Numbers of items."""

    rows: list[Row] = Field(max_length=1_000_000)


class Near(_Model):
    """Whose neighbours, how many, on which map."""

    row: Row
    k: Count = 24
    map: Annotated[int, Field(ge=0, le=1)] = 0


class Text(_Model):
    """A part of an id, or a text to search by."""

    text: str = Field(min_length=1, max_length=10_000)
    k: Count = 24


def explore_routes(service: Service, view: View) -> APIRouter:
    """Return the routes of a view."""
    router = APIRouter()
    _pages(router, view)
    _data(router, service, view)
    _questions(router, service, view)
    _findings(router, service, view)
    return router


def _pages(router: APIRouter, view: View) -> None:
    policy = {"content-security-policy": PAGE_POLICY}

    @router.get("/")
    async def home() -> Response:
        return RedirectResponse("/explore")

    @router.get("/explore")
    async def page() -> Response:
        return Response(service_page(view.collection.name), media_type="text/html", headers=policy)

    @router.get("/explore/explore.js")
    async def scripts() -> Response:
        return Response(script("remote.js"), media_type="text/javascript", headers=policy)

    @router.get("/explore/explore.css")
    async def styles() -> Response:
        return Response(style(), media_type="text/css", headers=policy)


def _data(router: APIRouter, service: Service, view: View) -> None:
    @router.get("/explore/data")
    async def data() -> Response:
        return JSONResponse(view.described())

    @router.get("/explore/map/{which}")
    async def coordinates(which: int) -> Response:
        if not 0 <= which < len(view.planes):
            raise Refused(404, "map: there is none of this number")
        xy = view.planes[which].coordinates
        return _binary(np.ascontiguousarray(xy.T, dtype="<f4").tobytes())

    @router.get("/explore/column/{which}")
    async def column(which: int) -> Response:
        if not 0 <= which < len(view.collection.columns):
            raise Refused(404, "column: there is none of this number")
        return _binary(view.collection.columns[which].packed())

    @router.get("/explore/thumbnail/{row}")
    async def thumbnail(row: int) -> Response:
        return await _media(service, view, row, "thumbnail")

    @router.get("/explore/content/{row}")
    async def content(row: int) -> Response:
        return await _media(service, view, row, "content")

    @router.post("/explore/rows")
    async def rows(body: Rows) -> Response:
        service.check_rows(len(body.rows))
        view.check_rows(body.rows)
        return JSONResponse({"rows": [view.one(row) for row in body.rows]})


def _questions(router: APIRouter, service: Service, view: View) -> None:
    @router.post("/explore/neighbours")
    async def neighbours(body: Near) -> Response:
        return JSONResponse({"hits": await service.in_thread(view.neighbours, body.row, body.k, body.map)})

    @router.post("/explore/find")
    async def find(body: Text) -> Response:
        return JSONResponse({"rows": await service.in_thread(view.find, body.text)})

    if service.encoder is not None and service.encoder.kind == "text":

        @router.post("/explore/text")
        async def text(body: Text) -> Response:
            vectors = await service.embed(body.text.encode("utf-8", "replace"))
            return JSONResponse({"hits": view.hits(await service.search(Asked(vectors, body.k)))})

    elif service.encoder is not None:

        @router.post("/explore/upload")
        async def upload(request: Request, k: Annotated[int, Query(ge=1, le=200)] = 24) -> Response:
            vectors = await service.embed(await body_of(request))
            return JSONResponse({"hits": view.hits(await service.search(Asked(vectors, k)))})


def _findings(router: APIRouter, service: Service, view: View) -> None:
    @router.get("/explore/duplicates")
    async def duplicates(cut: Annotated[float | None, Query(ge=0, le=1e30, allow_inf_nan=False)] = None) -> Response:
        require(view.collection.metric != "dot", "duplicates", "metric", "a distance", "dot")
        return JSONResponse(await service.in_thread(view.duplicates, cut))

    @router.get("/explore/doubts")
    async def doubts() -> Response:
        return JSONResponse(await service.in_thread(view.doubts))

    @router.post("/explore/csv")
    async def csv(body: Rows) -> Response:
        return Response(await service.in_thread(view.csv, body.rows), media_type="text/csv; charset=utf-8")


async def _media(service: Service, view: View, row: int, what: str) -> Response:
    if not 0 <= row < len(view.collection):
        raise Refused(404, f"{what}: there is none of this number")
    found = await service.in_thread(view.thumbnail if what == "thumbnail" else view.content, row)
    if found is None:
        raise Refused(404, f"{what}: this item has none")
    return Response(found.data, media_type=found.media_type, headers={"cache-control": "private, max-age=3600"})


def _binary(content: bytes) -> Response:
    return Response(content, media_type="application/octet-stream", headers={"cache-control": "no-store"})
