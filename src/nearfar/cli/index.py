"""``nearfar index``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

__all__ = ["index"]


def index(
    embeddings: Path,
    *,
    out: Path,
    backend: Literal["exact", "faiss", "lance", "milvus", "pgvector"] = "exact",
    metric: Literal["cosine", "euclidean", "sqeuclidean", "dot"] = "cosine",
    server: str | None = None,
    recall: float = 0.95,
    thumbnails: Path | None = None,
    optimise: bool = True,
    overwrite: bool = False,
) -> None:
    """Build an index from a Parquet file of embeddings.

    Args:
        embeddings: the file, made by embed or by anybody.
        out: the index folder to make.
        backend: all give the same distances; what lance, milvus and pgvector hold lasts, and the same command goes on
            where one that was stopped left off.
        metric: cosine is 1 - cos.
        server: of milvus or pgvector, for example postgresql://localhost/photos; of lance, for example s3://bucket/x.
        recall: the share of the 10 nearest that an approximate search must find.
        thumbnails: the data that were embedded: a small picture of each item is kept with it.
        optimise: choose and tune the structure that makes searches fast.
        overwrite: replace an index that is there.
    """
    import nearfar
    from nearfar.progress import stdout

    built = nearfar.index(
        embeddings,
        out=out,
        backend=backend,
        metric=metric,
        server=server,
        recall=recall,
        thumbnails=thumbnails,
        optimise=optimise,
        overwrite=overwrite,
    )
    stdout.print(f"{out}: {built.count} vectors of {built.dim} numbers, {metric}", markup=False, soft_wrap=True)
