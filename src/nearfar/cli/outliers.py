"""``nearfar outliers``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

__all__ = ["outliers"]


def outliers(
    source: Path,
    *,
    count: int = 100,
    k: Annotated[int, Parameter(name=["-k", "--k"])] = 10,
    how: Literal["distance", "density"] = "distance",
    out: Path | None = None,
    json: bool = False,
) -> None:
    """List the items that lie farthest from all others.

    Args:
        source: an index folder, or a Parquet file of embeddings.
        count: how many.
        k: neighbours looked at.
        how: mean distance to the neighbours, or density compared with theirs.
        out: write the rows as CSV.
        json: print JSON instead of a table.
    """
    import nearfar
    from nearfar.cli.listing import show

    show(nearfar.outliers(source, count=count, k=k, how=how, out=out), json=json, out=out)
