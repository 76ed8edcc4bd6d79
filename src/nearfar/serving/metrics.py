"""What Prometheus reads: requests, their times, sizes of batches, the size of the index."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nearfar.errors import extra

__all__ = ["Metrics", "Watched"]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The numbers of one service, in a registry of its own.

    Args:
        count: returns the number of vectors in the index.
    """

    def __init__(self, count: Callable[[], int]) -> None:
        prometheus: Any = extra("prometheus_client", "serve", "serve")
        self._text = prometheus.generate_latest
        self.media_type: str = prometheus.CONTENT_TYPE_LATEST
        self.registry = prometheus.CollectorRegistry()
        new = {"registry": self.registry}
        self.requests = prometheus.Counter(
            "nearfar_requests_total", "Answers by route, method and status.", ["route", "method", "status"], **new
        )
        self.seconds = prometheus.Histogram(
            "nearfar_request_seconds", "Time from the first byte of a request to the last of its answer.", ["route"],
            buckets=SECONDS, **new,
        )  # fmt: skip
        self.batches = prometheus.Histogram(
            "nearfar_batch_items", "Items in one call of the encoder or the index.", ["work"], buckets=SIZES, **new
        )
        self.at_work = prometheus.Gauge("nearfar_requests_at_work", "Requests being answered.", **new)
        size = prometheus.Gauge("nearfar_index_vectors", "Vectors in the index.", **new)
        size.set_function(count)
        prometheus.ProcessCollector(registry=self.registry)
        prometheus.PlatformCollector(registry=self.registry)

    def batch_of(self, work: str) -> Callable[[int], None]:
        """Return a function that notes the size of a batch."""
        observe: Callable[[float], None] = self.batches.labels(work).observe
        return observe

    def text(self) -> bytes:
        """Return everything in Prometheus's format."""
        content: bytes = self._text(self.registry)
        return content


class Watched:
    """Counts and times every request; the outermost layer, so that refusals are seen as well."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of the ASGI protocol."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = "none"

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        start = time.perf_counter()
        self.metrics.at_work.inc()
        try:
            await self.app(scope, receive, note)
        finally:
            self.metrics.at_work.dec()
            route = getattr(scope.get("route"), "path", "other")  # the pattern, never what a client made up
            method = scope["method"] if scope["method"] in {"GET", "POST", "HEAD", "OPTIONS"} else "other"
            self.metrics.requests.labels(route, method, status).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - start)
