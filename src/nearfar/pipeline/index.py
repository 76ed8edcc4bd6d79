"""Indexing: from a file of embeddings to a folder that answers searches."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from nearfar.data.embeddings import count_rows, read_info
from nearfar.data.items import iterate_items, metadata_columns
from nearfar.data.source import ItemError
from nearfar.errors import DataError, RunError, require
from nearfar.indexing import BACKENDS, Index, create, open_unfinished
from nearfar.progress import say, track

__all__ = ["index"]

BATCH = 8192
"""Rows written at once: what a kill can cost."""

SIDE, QUALITY = 128, 85
"""Of thumbnails: pixels and JPEG quality."""

Thumbnails = Callable[[Sequence[Any]], list[bytes | None]]


def index(
    embeddings: str | Path,
    *,
    out: str | Path,
    backend: Literal["exact", "faiss", "lance", "milvus", "pgvector"] = "exact",
    metric: Literal["cosine", "euclidean", "sqeuclidean", "dot"] = "cosine",
    server: str | None = None,
    recall: float = 0.95,
    thumbnails: Any = None,
    optimise: bool = True,
    overwrite: bool = False,
) -> Index:
    """Build an index from a Parquet file of embeddings, made by `nearfar.embed` or by anybody.

    Columns beside id, embedding and label become metadata, which searches can filter by; a binary column ``thumbnail``
    is kept as such. With ``lance``, ``milvus`` and ``pgvector`` the file is read and written in constant memory, and
    the same call goes on where one that was stopped left off.

    Args:
        embeddings: the file.
        out: the index folder to make.
        backend: ``exact`` and ``faiss`` live in memory and read each other's folders; what is written to ``lance`` (a
            table in the folder), ``milvus`` and ``pgvector`` (databases) lasts at once. All give the same distances.
        metric: ``cosine`` is 1 - cos.
        server: of milvus and pgvector, for example ``postgresql://localhost/photos``; of lance, for example
            ``s3://bucket/photos``.
        recall: the share of the 10 nearest that an approximate search must find.
        thumbnails: the data that were embedded: a small picture of each item is kept with it.
        optimise: choose and tune the structure that makes searches fast, which takes the memory of a search.
        overwrite: replace an index that is there.

    Returns:
        The index, saved.

    Raises:
        DataError: when the file holds no embeddings, or the data for thumbnails cannot be opened.
        RunError: when ``out`` is taken, or an unfinished index there is of another file.
    """
    path, lasting = Path(out), BACKENDS.get(backend).lasting
    info, total = read_info(embeddings), count_rows(embeddings)
    require(total > 0, str(embeddings), "file", "of one row or more", "an empty one", error=DataError)
    for name in metadata_columns(embeddings)[1]:
        say(f"{embeddings}: column {name!r} is binary and is left out")
    source = {"file": Path(embeddings).name, "rows": total, "bytes": Path(embeddings).stat().st_size, "metric": metric}
    built = None if overwrite or not lasting else open_unfinished(path, source)
    if built is None:
        if path.exists() and not overwrite:
            raise RunError(f"{path}: already exists; choose another --out, or add --overwrite")
        if lasting and path.exists():
            _clear(path)
        place: dict[str, Any] = {"path": path, "building": source} if lasting else {}
        if server is not None:
            place["server"] = server
        built = create(info.dim, metric=metric, backend=backend, fingerprint=info.fingerprint, recall=recall, **place)
    pictures = _thumbnails(thumbnails) if thumbnails is not None else None
    _fill(built, Path(embeddings), total, pictures)
    if optimise:
        say(built.optimise())
    built.finish()
    built.save(path)
    return built


def _fill(built: Index, embeddings: Path, total: int, pictures: Thumbnails | None) -> None:
    with built.bulk():
        done = built.count
        batches = iterate_items(embeddings, BATCH, start=done)
        for items in track(batches, "index", total=total - done, step=BATCH):
            shown = items.thumbnails if pictures is None else pictures(items.rows.ids)
            built.add(items.rows.ids, items.rows.vectors, items.rows.labels, items.metadata, shown)


def _clear(path: Path) -> None:
    """Remove an index, and nothing but an index."""
    import shutil

    from nearfar.indexing import open_index

    old = open_index(path)
    old.destroy()
    shutil.rmtree(path)


def _thumbnails(data: Any) -> Thumbnails:
    """Return a function from ids to small JPEGs of the items that were embedded."""
    from PIL import Image

    from nearfar.modalities import choose

    modality = choose("auto", data)
    source = modality.open_splits(data, {})[""]
    inputs = modality.fit(source, {})
    place = {str(name): row for row, name in enumerate(source.ids)}

    def one(name: Any) -> bytes | None:
        if str(name) not in place:
            return None
        try:
            shown = Image.fromarray(inputs.thumbnail(source.read(place[str(name)]))).convert("RGB")
        except ItemError:
            return None
        shown.thumbnail((SIDE, SIDE))
        buffer = io.BytesIO()
        shown.save(buffer, format="JPEG", quality=QUALITY)
        return buffer.getvalue()

    return lambda names: [one(name) for name in names]
