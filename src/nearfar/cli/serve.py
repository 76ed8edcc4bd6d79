"""``nearfar serve``."""

from __future__ import annotations

from pathlib import Path

__all__ = ["serve"]


def serve(
    index: Path,
    *,
    run: str | None = None,
    data: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    key_file: Path | None = None,
    read_only: bool = False,
    body_mib: float = 16,
    megapixels: float = 50,
    seconds: float = 30,
    rate: float = 100,
    connections: int = 256,
) -> None:
    """Serve an index over HTTP: search by image, vector or id, add and remove, until Ctrl-C.

    Args:
        index: an index folder.
        run: the run that made the embeddings, to search and add by image.
        data: what was embedded, to show thumbnails.
        host: the address to listen on; one that others can reach needs an API key.
        port: 0 = any free one.
        key_file: a file with the API key; else the variable NEARFAR_API_KEY.
        read_only: neither add nor remove.
        body_mib: the largest body of a request.
        megapixels: the largest picture.
        seconds: for a body to arrive and for an answer to be made.
        rate: requests a second and client; 0 = any number.
        connections: open at one time.
    """
    import nearfar
    from nearfar.serving import Limits

    limits = Limits(body_mib=body_mib, megapixels=megapixels, seconds=seconds, rate=rate, connections=connections)
    nearfar.serve(
        index, run=run, data=data, host=host, port=port, key_file=key_file, read_only=read_only, limits=limits
    )
