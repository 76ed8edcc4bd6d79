"""``nearfar dedupe``."""

from __future__ import annotations

from pathlib import Path

__all__ = ["dedupe"]


def dedupe(source: Path, *, distance: float | None = None, out: Path | None = None, json: bool = False) -> None:
    """Group near-duplicates, and say which item of each group to keep.

    Args:
        source: an index folder, or a Parquet file of embeddings.
        distance: items linked by steps of at most this 1 - cos are one group; by default a tenth of the median distance
            to the nearest other item.
        out: write all items as CSV: id, group, keep, distance, label.
        json: print JSON instead of a table.
    """
    import nearfar
    from nearfar.cli.listing import show

    show(nearfar.dedupe(source, distance=distance, out=out), json=json, out=out)
