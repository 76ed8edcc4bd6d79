"""``nearfar select``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

__all__ = ["select"]


def select(
    source: Path,
    *,
    count: int,
    how: Literal["core-set", "uncertain"] = "core-set",
    ignore_labels: bool = False,
    k: Annotated[int, Parameter(name=["-k", "--k"])] = 10,
    seed: int = 0,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Choose what to label next: items that cover the data, or items that the labels so far leave in doubt.

    Args:
        source: an index folder, or a Parquet file of embeddings; items with a label count as labelled.
        count: how many to choose.
        how: core-set, or uncertain.
        ignore_labels: choose among all items, as if none had a label.
        k: neighbours that are asked by uncertain.
        seed: of the first choice, where nothing is labelled.
        out: write the rows as CSV.
        json: print JSON instead of a table.
    """
    import nearfar
    from nearfar.cli.listing import show

    found = nearfar.select(source, count=count, how=how, ignore_labels=ignore_labels, k=k, seed=seed, out=out)
    show(found, json=json, out=out)
