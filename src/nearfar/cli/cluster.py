"""``nearfar cluster``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

__all__ = ["cluster"]


def cluster(
    source: Path,
    *,
    how: Literal["k-means", "hdbscan"] = "k-means",
    clusters: int = 10,
    smallest: int = 5,
    seed: int = 0,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Put every item into a cluster.

    Args:
        source: an index folder, or a Parquet file of embeddings.
        how: k-means with a number of clusters, or hdbscan, which finds the number and leaves noise out.
        clusters: of k-means.
        smallest: items of the smallest cluster of hdbscan.
        seed: of k-means' start.
        out: write a row an item as CSV.
        json: print JSON instead of a table.
    """
    import nearfar
    from nearfar.cli.listing import show

    found = nearfar.cluster(source, how=how, clusters=clusters, smallest=smallest, seed=seed, out=out)
    show(found, json=json, out=out)
