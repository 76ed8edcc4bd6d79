"""``nearfar index``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

__all__ = ["index"]


def index(
    embeddings: Path,
    *,
    out: Path,
    backend: Literal["exact", "faiss"] = "exact",
    metric: Literal["cosine", "euclidean", "sqeuclidean", "dot"] = "cosine",
    overwrite: bool = False,
) -> None:
    """Build an index from a Parquet file of embeddings.

    Args:
        embeddings: the file, made by embed or by anybody.
        out: the index folder to make.
        backend: both give the same distances.
        metric: cosine is 1 - cos.
        overwrite: replace an index that is there.
    """
    import nearfar
    from nearfar.progress import stdout

    built = nearfar.index(embeddings, out=out, backend=backend, metric=metric, overwrite=overwrite)
    stdout.print(f"{out}: {built.count} vectors of {built.dim} numbers, {metric}", markup=False, soft_wrap=True)
