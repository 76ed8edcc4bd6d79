"""Indexing: from a file of embeddings to a folder that answers searches."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from nearfar.data.embeddings import count_rows, iterate_embeddings, read_info
from nearfar.errors import DataError, RunError, require
from nearfar.indexing import Index, create
from nearfar.progress import track

__all__ = ["index"]


def index(
    embeddings: str | Path,
    *,
    out: str | Path,
    backend: Literal["exact", "faiss"] = "exact",
    metric: Literal["cosine", "euclidean", "sqeuclidean", "dot"] = "cosine",
    overwrite: bool = False,
) -> Index:
    """Build an index from a Parquet file of embeddings, made by `nearfar.embed` or by anybody.

    Args:
        embeddings: the file.
        out: the index folder to make.
        backend: ``exact`` or ``faiss``; both give the same distances and read each other's folders.
        metric: ``cosine`` is 1 - cos.
        overwrite: replace an index that is there.

    Returns:
        The index, saved.

    Raises:
        DataError: when the file holds no embeddings.
        RunError: when ``out`` is taken.
    """
    path = Path(out)
    if path.exists() and not overwrite:
        raise RunError(f"{path}: already exists; choose another --out, or add --overwrite")
    info = read_info(embeddings)
    built = create(info.dim, metric=metric, backend=backend, fingerprint=info.fingerprint)
    total = -(-count_rows(embeddings) // 65_536)
    for part in track(iterate_embeddings(embeddings), "index", total=total):
        built.add(part.ids, part.vectors, part.labels)
    require(built.count > 0, str(embeddings), "file", "of one row or more", "an empty one", error=DataError)
    built.save(path)
    return built
