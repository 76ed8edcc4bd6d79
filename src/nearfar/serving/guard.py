"""What every request passes first: who asks, how often, how much, how long. Plain ASGI around the application."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nearfar.serving.settings import Limits, is_loopback

__all__ = ["Guard", "Rate"]

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""What orchestrators ask without a key, and as often as they like."""
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
CLIENTS = 10_000
BURST_SECONDS = 10


class Rate:
    """A bucket of tokens a client: ``rate`` come in a second, as many as ten seconds bring can be saved.

    Args:
        rate: requests a second; 0 = any number.
        clock: seconds.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self._clock = rate, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Take a token; return 0, or the seconds until there is one."""
        if self.rate == 0:
            return 0.0
        now, most = self._clock(), max(1.0, self.rate * BURST_SECONDS)
        tokens, then = self._buckets.pop(client, (most, now))
        tokens = min(most, tokens + (now - then) * self.rate)
        enough = tokens >= 1
        self._buckets[client] = (tokens - 1 if enough else tokens, now)
        while len(self._buckets) > CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if enough else (1 - tokens) / self.rate


class Refusal(Exception):  # noqa: N818 - not an error of ours
    """Ends a request with a status and a sentence."""

    def __init__(self, status: int, text: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(text)
        self.status, self.text, self.headers = status, text, headers


class Guard:
    """Checks host, origin, key and rate, takes the body in under its limits, and watches the clock.

    Without a key the service is for this machine alone: the Host header must name it, so that no page of the web can
    reach it under a name of its own (DNS rebinding). A request that a browser sends for another site's page is refused
    in any case.

    Args:
        app: the application.
        limits: what is allowed.
        key: the API key that the header ``X-API-Key`` must have; ``None`` = anybody on this machine.
        public: paths, or beginnings that end in ``/``, that need no key: pages without data.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits, key: str | None, public: tuple[str, ...] = ()) -> None:
        self.app, self.limits, self.key, self.public = app, limits, key, public
        self.rate = Rate(limits.rate)
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of the ASGI protocol."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            headers = {name.lower(): value for name, value in scope["headers"]}
            self._check(scope, headers)
            await self._take(scope, headers, receive, answer)
        except Refusal as refusal:
            await answer.refuse(refusal)

    def _check(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1")
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1").partition("://")[2] != host:
            raise Refusal(403, "origin: must be this service's own page, got another site's")
        if self.key is None and not is_loopback(_without_port(host)):
            raise Refusal(403, "host: must be this machine's own name, because the service has no API key")
        path = scope["path"]
        if path in OPEN_PATHS:
            return
        client = scope["client"][0] if scope.get("client") else "unknown"
        wait = self.rate.wait(client)
        if wait > 0:
            seconds = str(int(wait) + 1).encode()
            raise Refusal(429, f"rate: at most {self.limits.rate:g} requests a second", (b"retry-after", seconds))
        if self.key is not None and not self._is_public(path):
            given = headers.get(b"x-api-key", b"")
            if not hmac.compare_digest(given, self.key.encode()):
                raise Refusal(401, "API key: the header X-API-Key must have it", (b"www-authenticate", b"ApiKey"))

    def _is_public(self, path: str) -> bool:
        return any(path == one or (one.endswith("/") and path.startswith(one) and one != "/") for one in self.public)

    async def _take(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, answer: _Answer) -> None:
        declared = headers.get(b"content-length", b"0")
        expected = int(declared) if declared.isdigit() and len(declared) < 20 else 0
        if expected > self.limits.body_bytes:
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.seconds):
                await self._read(body, receive)
        except TimeoutError:
            self._held -= len(body)
            raise Refusal(408, f"body: must arrive within {self.limits.seconds:g} s") from None
        except BaseException:
            self._held -= len(body)
            raise
        try:
            await self._answer(scope, bytes(body), receive, answer)
        finally:
            self._held -= len(body)

    async def _read(self, body: bytearray, receive: Receive) -> None:
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise Refusal(400, "body: the client left before its end")
            part = message.get("body", b"")
            if len(body) + len(part) > self.limits.body_bytes:
                raise self._too_large()
            if self._held + len(part) > self.limits.held_bytes:
                raise Refusal(503, "too many large requests at once; try again in a while", (b"retry-after", b"1"))
            body += part
            self._held += len(part)
            more = message.get("more_body", False)

    async def _answer(self, scope: Scope, body: bytes, receive: Receive, answer: _Answer) -> None:
        first = True

        async def replay() -> Message:
            nonlocal first
            if first:
                first = False
                return {"type": "http.request", "body": body, "more_body": False}
            return await receive()

        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.limits.seconds) as clock:

                async def send(message: Message) -> None:
                    await answer.send(message)
                    clock.reschedule(loop.time() + self.limits.seconds)

                await self.app(scope, replay, send)
        except TimeoutError:
            if not answer.started:
                raise Refusal(504, f"the answer took more than {self.limits.seconds:g} s; ask for less") from None
            raise

    def _too_large(self) -> Refusal:
        return Refusal(413, f"body: must have at most {self.limits.body_bytes:,} bytes")


class _Answer:
    """Sends, remembers whether anything was sent, and puts the same headers on everything."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            message = {**message, "headers": [*message.get("headers", []), *HEADERS]}
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        content = json.dumps({"error": refusal.text}).encode()
        headers: list[Any] = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
            *refusal.headers,
        ]
        if refusal.status in (408, 413):
            headers.append((b"connection", b"close"))  # what is left of the body is not waited for
        await self.send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": content})


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
