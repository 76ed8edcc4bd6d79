"""``nearfar label-errors``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

__all__ = ["label_errors"]


def label_errors(
    source: Path,
    *,
    k: Annotated[int, Parameter(name=["-k", "--k"])] = 10,
    least: float = 0.5,
    count: int = 100,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """List the items whose neighbours have another label.

    Args:
        source: an index folder, or a Parquet file of embeddings with labels.
        k: neighbours that vote.
        least: how much larger the share of votes for the other label must be.
        count: how many at most.
        out: write the rows as CSV.
        json: print JSON instead of a table.
    """
    import nearfar
    from nearfar.cli.listing import show

    show(nearfar.label_errors(source, k=k, least=least, count=count, out=out), json=json, out=out)
