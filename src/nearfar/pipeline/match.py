"""Matching: which label a new item has, or that it is unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from nearfar.data.embeddings import read_embeddings, read_info
from nearfar.errors import ConfigError, require
from nearfar.indexing import open_index
from nearfar.pipeline.search import search
from nearfar.searching.match import Matches, match_hits
from nearfar.searching.query import search_vectors
from nearfar.searching.stored import kept_calibration

__all__ = ["match"]


def match(
    index: str | Path,
    query: Any,
    *,
    run: str | Path | None = None,
    cut: str | float | None = None,
    vote: Literal["nearest", "majority"] = "nearest",
    k: int = 10,
) -> Matches:
    """Answer with a label, a distance and a confidence, or with "unknown" beyond the cut-point.

    Args:
        index: an index folder that `nearfar.calibrate` was run on.
        query: an image file, a folder of images, the id of an item in the index, or a Parquet file of embeddings.
        run: the run that made the embeddings; needed for images.
        cut: a target that was calibrated for, such as ``"recall=0.9"``, or a distance; the first target if not given.
        vote: answer with the label of the nearest, or of the ``majority`` of the k nearest within the cut-point.
        k: neighbours that vote.

    Returns:
        The answers: ``matches.to_json()``, ``matches.table()``, or ``matches.matches`` themselves.

    Raises:
        ConfigError: when the index was not calibrated and ``cut`` is no distance.
        InputError: when there is no such cut-point.
        RunError: when there is no index, or the encoder is not the one that made it.
        DataError: when the query is none of these.
    """
    require(vote in ("nearest", "majority"), "match", "vote", "nearest or majority", repr(vote), error=ConfigError)
    opened = open_index(index)
    calibration = kept_calibration(opened)
    limit, how = _number(cut), "a distance that was given"
    if limit is None:
        fix = f"run: nearfar calibrate {index} LABELLED --target precision=0.99, or give a distance as --cut"
        require(calibration is not None, "match", "the index", "calibrated", "one without cut-points", fix,
                error=ConfigError)  # fmt: skip
        assert calibration is not None
        point = calibration.cut(str(cut) if cut is not None else None)
        limit, how = point.cut, f"calibrated for {point.target}"
    depth = 1 if vote == "nearest" else k
    if isinstance(query, str | Path) and str(query).endswith(".parquet") and Path(query).is_file():
        read = read_embeddings(query)
        print_of = read_info(query).fingerprint
        found = search_vectors(opened, read.vectors, depth, queries=[str(name) for name in read.ids],
                               fingerprint=print_of)  # fmt: skip
    else:
        found = search(index, query, k=depth, encoder=run)
    matches = match_hits(found, limit, calibration=calibration, vote=vote)
    words = f"{vote} of {depth}" if vote == "majority" else "the nearest"
    how = f"{words}, up to {opened.metric} distance {limit:.6g}, {how}"
    return Matches(limit, opened.metric, how, tuple(matches), found.skipped)


def _number(cut: str | float | None) -> float | None:
    if cut is None or isinstance(cut, float | int):
        return None if cut is None else float(cut)
    try:
        return float(cut)
    except ValueError:
        return None
