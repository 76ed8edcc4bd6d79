"""Running the application: uvicorn with a time limit for headers, and an end that waits for what is at work."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from nearfar.errors import ConfigError
from nearfar.progress import say
from nearfar.serving.settings import Limits

__all__ = ["Server"]

HEADER_BYTES = 256 * 1024
"""Room for an id of 10,000 characters in a URL, where each may take twelve."""
KEEP_ALIVE_SECONDS = 75


class _Patient(H11Protocol):
    """Closes connections whose headers do not arrive in time: uvicorn itself would wait for ever."""

    seconds = 30.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        self._watch()
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._forget()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.seconds, self.transport.close)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Server(uvicorn.Server):
    """One process that serves an application until SIGTERM or Ctrl-C.

    Args:
        app: the application.
        host: where to listen.
        port: 0 = any free one.
        limits: its times and numbers of connections are used here.
        greeting: said with the address once it listens.
    """

    def __init__(self, app: ASGIApp, *, host: str, port: int, limits: Limits, greeting: str = "serving") -> None:
        protocol = type("_Protocol", (_Patient,), {"seconds": limits.seconds})
        config = uvicorn.Config(
            app, host=host, port=port, http=protocol, ws="none", lifespan="on", log_level="warning", access_log=False,
            limit_concurrency=limits.connections, timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(limits.seconds) + 1, h11_max_incomplete_event_size=HEADER_BYTES,
            server_header=False, date_header=True, proxy_headers=False,
        )  # fmt: skip
        super().__init__(config)
        self.greeting = greeting

    async def startup(self, sockets: Any = None) -> None:
        """Listen, and say where."""
        await super().startup(sockets)
        if self.started:
            say(f"{self.greeting} on {self.address}; Ctrl-C ends it")

    @property
    def address(self) -> str:
        """Where it listens, as a URL."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def serve_until_told(self) -> None:
        """Serve until SIGTERM or Ctrl-C, then finish requests at work, save, and return.

        Raises:
            ConfigError: when it cannot listen there.
        """
        # uvicorn raises the signal again once all is saved; by then it has done its work.
        before = {one: signal.signal(one, lambda *_: None) for one in (signal.SIGTERM, signal.SIGINT)}
        try:
            self.run()
        except SystemExit:
            where = f"{self.config.host} port {self.config.port}"
            raise ConfigError(f"serve: cannot listen on {where}; is it taken? choose another --port") from None
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
