"""``nearfar calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

__all__ = ["calibrate"]


def calibrate(
    index: Path,
    labelled: str,
    *,
    run: str | None = None,
    target: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = ("precision=0.99",),
    over: Literal["matches", "pairs"] = "matches",
    resamples: int = 500,
    seed: int = 0,
    pictures: Path | None = None,
) -> None:
    """Find how near is near enough for a target, with intervals, and store it with the index.

    Args:
        index: an index folder with labels.
        labelled: a Parquet file of embeddings with labels, of items that the encoder was not trained on; with --run
            labelled items of any sort, of which the test split is taken where there is one.
        run: the run that made the embeddings of the index, where LABELLED is no file of embeddings.
        target: precision=0.99, recall=0.9, f1, far=0.001 (false-accept rate) or false-matches=0.01 (a query); the
            first is what match uses.
        over: count matches (the nearest item of each labelled one) or all pairs.
        resamples: of the bootstrap over classes.
        seed: of all draws.
        pictures: a folder for the ROC curve, the precision-recall curve and the histogram of distances.
    """
    import nearfar
    from nearfar.progress import say, stdout

    found = nearfar.calibrate(
        index, labelled, run=run, target=target, over=over, resamples=resamples, seed=seed, pictures=pictures
    )
    stdout.print(found.text(), markup=False, soft_wrap=True, end="")
    if pictures is not None:
        say(f"pictures written to {pictures}")
