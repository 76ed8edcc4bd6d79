"""How it is going: alive, ready, numbers, and what is served."""

from __future__ import annotations

import dataclasses

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from nearfar.serving.schemas import Failure, Info, State, failures
from nearfar.serving.service import Service

__all__ = ["status_routes"]


def status_routes(service: Service) -> APIRouter:
    """Return ``/healthz``, ``/readyz``, ``/metrics`` and ``/v1/info``."""
    router = APIRouter(tags=["status"])

    @router.get("/healthz", response_model=State, summary="Is the process alive?")
    async def health() -> Response:
        return JSONResponse({"status": "alive"})

    @router.get(
        "/readyz", response_model=State, responses={503: {"model": Failure}}, summary="Can it take requests?"
    )  # fmt: skip
    async def readiness() -> Response:
        if not service.ready:
            return JSONResponse({"error": "not ready: starting or shutting down"}, status_code=503)
        return JSONResponse({"status": "ready"})

    @router.get("/metrics", response_class=Response, responses=failures(), summary="Numbers for Prometheus")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=service.metrics.media_type)

    @router.get("/v1/info", response_model=Info, responses=failures(), summary="What is served")
    async def info() -> Response:
        index, encoder = service.store.index, service.encoder
        content = {
            "backend": index.backend,
            "metric": index.metric,
            "dim": index.dim,
            "count": service.store.count,
            "fingerprint": index.fingerprint,
            "encoder": None if encoder is None else encoder.name,
            "kind": None if encoder is None else encoder.kind,
            "limits": dataclasses.asdict(service.limits),
        }
        return JSONResponse(content)

    return router
