"""``/docs``: the service's own description, drawn by a small page that loads nothing from elsewhere."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import Response

__all__ = ["PAGE_POLICY", "PUBLIC", "docs_routes"]

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a page of the service may load: only from itself."""

PUBLIC = ("/docs", "/docs/", "/openapi.json")
"""Paths that need no key: they hold no data."""


def docs_routes() -> APIRouter:
    """Return ``/docs`` and what it loads."""
    router = APIRouter()

    @router.get("/docs")
    async def page() -> Response:
        return _asset("docs.html", "text/html")

    @router.get("/docs/docs.js")
    async def script() -> Response:
        return _asset("docs.js", "text/javascript")

    @router.get("/docs/docs.css")
    async def style() -> Response:
        return _asset("docs.css", "text/css")

    return router


def _asset(name: str, media_type: str) -> Response:
    content = files("nearfar.serving").joinpath("assets", name).read_bytes()
    return Response(content, media_type=media_type, headers={"content-security-policy": PAGE_POLICY})
