"""``nearfar match``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

__all__ = ["match"]


def match(
    index: Path,
    query: str,
    *,
    run: str | None = None,
    cut: str | None = None,
    vote: Literal["nearest", "majority"] = "nearest",
    k: Annotated[int, Parameter(name=["-k", "--k"])] = 10,
    json: bool = False,
) -> None:
    """Answer with a label, a distance and a confidence, or with unknown beyond the cut-point.

    Args:
        index: an index folder that calibrate was run on.
        query: an image file, a folder of images, an id in the index, or a Parquet file of embeddings.
        run: the run that made the embeddings; needed for images.
        cut: a target that was calibrated for, such as recall=0.9, or a distance; by default the first target.
        vote: the label of the nearest, or of the majority of the k nearest within the cut-point.
        k: neighbours that vote.
        json: print JSON instead of a table.
    """
    import nearfar
    from nearfar.progress import say, stdout

    matches = nearfar.match(index, query, run=run, cut=cut, vote=vote, k=k)
    if json:
        stdout.print(matches.to_json(), markup=False, soft_wrap=True)
    else:
        stdout.print(matches.table())
    for name, reason in matches.skipped:
        say(f"skipped {name}: {reason}")
