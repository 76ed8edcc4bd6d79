"""The verb: an index or a file of embeddings to a page with a map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.errors import RunError, extra
from nearfar.exploring.collection import Collection
from nearfar.exploring.layout import NOTES, Method, layout, method_for
from nearfar.exploring.view import Plane, View
from nearfar.files import write_atomic
from nearfar.indexing import Id, open_index
from nearfar.serving.media import Content, media_type
from nearfar.serving.settings import Limits, read_key
from nearfar.serving.store import Store

if TYPE_CHECKING:
    from nearfar.serving.encoding import Encoder
    from nearfar.serving.media import Media

__all__ = ["explore", "kept_thumbnails"]


def explore(
    source: str | Path,
    *,
    beside: str | Path | None = None,
    run: str | Path | None = None,
    data: Any = None,
    method: Method = "auto",
    seed: int = 0,
    html: str | Path | None = None,
    overwrite: bool = False,
    host: str = "127.0.0.1",
    port: int = 8000,
    key_file: str | Path | None = None,
    limits: Limits | None = None,
) -> Path | None:
    """Show embeddings as a map in the browser: search, lasso, neighbours, duplicates, doubtful labels, export.

    Nothing is loaded from a network. Without ``html`` the page is served until SIGTERM or Ctrl-C, beside the routes of
    `nearfar.serve` that change nothing.

    Args:
        source: an index folder, or a Parquet file of embeddings; its other columns can be coloured by.
        beside: another encoder's embeddings of the same items, shown at the side.
        run: the run that made the embeddings, to search by a file.
        data: what was embedded, to show the items.
        method: of the map; ``auto`` is PaCMAP where it is installed, else principal components.
        seed: of the map.
        html: write one self-contained file instead, for up to 5,000 items.
        overwrite: replace that file.
        host: the address to listen on; one that others can reach needs an API key.
        port: 0 = any free one.
        key_file: a file with the API key; else the variable ``NEARFAR_API_KEY``.
        limits: sizes, times and rates of requests.

    Returns:
        The path of the file, if one was asked for.

    Raises:
        DataError: when the embeddings cannot be read, are too many, or not of the same items.
        RunError: when the index cannot be opened, or the file exists.
        MissingExtraError: when a service is asked for and FastAPI is not installed.
    """
    path = None if html is None else Path(html)
    if path is not None and path.exists() and not overwrite:
        raise RunError(f"{path}: already exists; choose another --html, or add --overwrite")
    limits = limits or Limits(rate=1_000)
    key = read_key(host, None if key_file is None else Path(key_file)) if path is None else None
    if path is None:
        for module in ("fastapi", "uvicorn", "prometheus_client"):
            extra(module, "explore", "explore")
    encoder, media = _open(run, data, limits)
    collections = [_collection(Path(one)) for one in (source, beside) if one is not None]
    store = Store(collections[0].index)
    planes = _planes(collections, store, method, seed)
    view = View(
        planes,
        media,
        kept_thumbnails(store),
        upload=_upload(encoder),
        text=encoder is not None and encoder.kind == "text",
    )
    if path is not None:
        from nearfar.exploring.file import html as page

        write_atomic(path, page(view))
        return path
    _serve(view, store, encoder, limits, host, port, key)
    return None


def _serve(
    view: View, store: Store, encoder: Encoder | None, limits: Limits, host: str, port: int, key: str | None
) -> None:
    from nearfar.exploring.routes import PUBLIC, explore_routes
    from nearfar.serving.app import create_app
    from nearfar.serving.server import Server
    from nearfar.serving.service import Service

    service = Service(store, encoder=encoder, media=view.media, limits=limits)
    app = create_app(service, key=key, writable=False, more=[explore_routes(service, view)], public=PUBLIC)
    greeting = f"exploring {view.collection.name}"
    Server(app, host=host, port=port, limits=limits, greeting=greeting).serve_until_told()


def _open(run: str | Path | None, data: Any, limits: Limits) -> tuple[Encoder | None, Media | None]:
    if run is None and data is None:
        return None, None
    from nearfar.serving.run_encoder import encoder_of, media_of, open_run

    subject = None if run is None else open_run(run)
    encoder = None if subject is None else encoder_of(subject, limits)
    return encoder, None if data is None else media_of(data, subject)


def kept_thumbnails(store: Store) -> Callable[[str], Content | None]:
    """Return a function from an id as text to the thumbnail that the index keeps of it, if any."""

    def thumbnail(name: str) -> Content | None:
        known: Id | None = name if name in store.index else int(name) if name.lstrip("-").isdecimal() else None
        if known is None or known not in store.index:
            return None
        picture = store.get([known], thumbnails=True).thumbnails[0]
        return None if picture is None else Content(media_type(picture), picture)

    return thumbnail


def _upload(encoder: Encoder | None) -> str | None:
    return None if encoder is None or encoder.kind == "text" else encoder.kind


def _collection(path: Path) -> Collection:
    return Collection.of_index(path.resolve().name, open_index(path)) if path.is_dir() else Collection.of_parquet(path)


def _planes(collections: Sequence[Collection], store: Store, method: Method, seed: int) -> list[Plane]:
    planes = []
    for number, one in enumerate(collections):
        xy = layout(one.vectors, one.metric, method=method, seed=seed)
        if number:
            order = [one.row[name] for name in collections[0].ids if name in one.row]
            xy = xy[order]
        note = NOTES[method_for(len(one), method)]
        planes.append(Plane(one.name, note, one, xy, store.search if number == 0 else one.index.search))
    return planes
