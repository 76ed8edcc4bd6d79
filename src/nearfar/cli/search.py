"""``nearfar search``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

__all__ = ["search"]


def search(
    index: Path,
    query: str,
    *,
    k: Annotated[int, Parameter(name=["-k", "--k"])] = 10,
    where: str | None = None,
    within: float | None = None,
    run: str | None = None,
    json: bool = False,
    sheet: Path | None = None,
    images: Path | None = None,
) -> None:
    """Find the nearest items of an index.

    Args:
        index: an index folder.
        query: the id of an item in the index, or what is searched for: an image file, a folder, a table, a text.
        k: how many neighbours.
        where: only items whose metadata pass, for example: price < 10 and brand in ('x', 'y').
        within: only items at most this far.
        run: the run that made the embeddings; needed unless the query is an id.
        json: print JSON instead of a table.
        sheet: write a PNG of queries and neighbours; needs --images.
        images: the data that were indexed.
    """
    import nearfar
    from nearfar.progress import say, stdout

    results = nearfar.search(index, query, k=k, where=where, within=within, encoder=run, sheet=sheet, images=images)
    if json:
        stdout.print(results.to_json(), markup=False, soft_wrap=True)
    else:
        stdout.print(results.table())
    for name, reason in results.skipped:
        say(f"skipped {name}: {reason}")
    if sheet is not None:
        say(f"written to {sheet}")
