"""The application: routes, one sentence for every error, and the guard around them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from nearfar._version import __version__
from nearfar.errors import NearfarError
from nearfar.serving.docs_page import PUBLIC, docs_routes
from nearfar.serving.guard import Guard
from nearfar.serving.metrics import Watched
from nearfar.serving.refusal import status_of
from nearfar.serving.routes import item_routes, match_routes, search_routes, status_routes
from nearfar.serving.service import Service

__all__ = ["create_app"]

DESCRIPTION = (
    "Similarity search over one index. Every refusal is one sentence under `error`. "
    "With an API key, send it in the header `X-API-Key`."
)


def create_app(
    service: Service,
    *,
    key: str | None = None,
    writable: bool = True,
    more: Sequence[APIRouter] = (),
    public: tuple[str, ...] = (),
) -> FastAPI:
    """Put a service together as an ASGI application.

    Args:
        service: the index with its encoder; started and stopped with the application.
        key: the API key; ``None`` = only this machine is served.
        writable: whether items can be added and removed.
        more: further routes, as those of the explorer.
        public: paths of ``more`` that need no key, because they hold no data.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="nearfar", version=__version__, description=DESCRIPTION, docs_url=None, redoc_url=None, lifespan=lifespan
    )
    for router in (
        status_routes(service),
        search_routes(service),
        match_routes(service),
        item_routes(service, writable=writable),
    ):
        app.include_router(router)
    for router in (docs_routes(), *more):
        app.include_router(router, include_in_schema=False)
    app.add_exception_handler(NearfarError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unforeseen)
    app.add_middleware(Guard, limits=service.limits, key=key, public=(*PUBLIC, *public))
    app.add_middleware(Watched, metrics=service.metrics)
    if key is not None:
        _describe_key(app)
    return app


def _said(status: int, text: str, headers: Any = None) -> JSONResponse:
    return JSONResponse({"error": text.encode("utf-8", "replace").decode()}, status_code=status, headers=headers)


async def _ours(_: Request, error: Exception) -> Response:
    assert isinstance(error, NearfarError)
    return _said(status_of(error), str(error))


async def _invalid(_: Request, error: Exception) -> Response:
    """Say what is wrong first, and where; what was given is not repeated, because it may be anything."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])[:200] or str(first["loc"][0])
    return _said(422, f"{where}: {str(first['msg'])[:300]}")


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _said(error.status_code, str(error.detail), error.headers)


async def _unforeseen(_: Request, error: Exception) -> Response:
    return _said(500, f"{type(error).__name__}: this should have been a clear sentence; the service's log has more")


def _describe_key(app: FastAPI) -> None:
    """Say in the description that a key is needed."""
    described = app.openapi()
    described.setdefault("components", {})["securitySchemes"] = {
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    }
    described["security"] = [{"key": []}]
