"""The verb: an index folder and a run to a running service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nearfar.errors import extra
from nearfar.indexing import open_index
from nearfar.serving.settings import Limits, read_key
from nearfar.serving.store import Store

__all__ = ["serve"]


def serve(
    index: str | Path,
    *,
    run: str | Path | None = None,
    data: Any = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    key_file: str | Path | None = None,
    read_only: bool = False,
    limits: Limits | None = None,
) -> None:
    """Serve an index over HTTP until SIGTERM or Ctrl-C: search by image, vector or id, add, remove.

    A write that was acknowledged is on disk, whatever happens next. The description is at ``/openapi.json``, a page for
    people at ``/docs``, numbers for Prometheus at ``/metrics``.

    Args:
        index: an index folder.
        run: the run that made the embeddings, to search and add by content.
        data: what was embedded, to show thumbnails.
        host: the address to listen on; one that others can reach needs an API key.
        port: 0 = any free one.
        key_file: a file with the API key; else the variable ``NEARFAR_API_KEY``.
        read_only: neither add nor remove.
        limits: sizes, times and rates; see `nearfar.serving.Limits`.

    Raises:
        RunError: when there is no index, the encoder is not its own, or another service is at it.
        ConfigError: when a key is missing or the port is taken.
        MissingExtraError: when FastAPI and uvicorn are not installed.
    """
    for module in ("fastapi", "uvicorn", "prometheus_client"):
        extra(module, "serve", "serve")
    from nearfar.serving.app import create_app
    from nearfar.serving.run_encoder import encoder_of, media_of, open_run
    from nearfar.serving.server import Server
    from nearfar.serving.service import Service

    limits = limits or Limits()
    key = read_key(host, None if key_file is None else Path(key_file))
    opened = open_index(index)
    subject = None if run is None else open_run(run)
    encoder = None if subject is None else encoder_of(subject, limits)
    media = None if data is None else media_of(data, subject)
    store = Store(opened, Path(index), read_only=read_only)
    try:
        service = Service(store, encoder=encoder, media=media, limits=limits)
        app = create_app(service, key=key, writable=not read_only)
        Server(app, host=host, port=port, limits=limits, greeting=f"serving {index}").serve_until_told()
    finally:
        try:
            store.close()
        finally:
            opened.close()
