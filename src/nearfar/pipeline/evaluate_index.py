"""Evaluating an index: how well it answers labelled items, and how fast."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nearfar.errors import RunError
from nearfar.evaluation import Report
from nearfar.files import write_atomic
from nearfar.indexing import open_index
from nearfar.pipeline.calibrate import read_queries
from nearfar.searching.scoring import score_index
from nearfar.searching.stored import kept_calibration

__all__ = ["evaluate_index"]


def evaluate_index(
    index: str | Path,
    labelled: Any,
    *,
    run: str | Path | None = None,
    ks: Sequence[int] = (1, 5, 10),
    timed: int = 200,
    out: str | Path | None = None,
    seed: int = 0,
) -> Report:
    """Score an index by labelled embeddings.

    recall@k, precision@k, NDCG@k, MAP@R, R-precision and MRR of rankings; ROC-AUC, EER and TAR@FAR of pairs; precision,
    recall, F1, false-accept rate and false matches a query at each calibrated cut-point; how well unknown classes are
    told; the time a query takes.

    Args:
        index: an index folder with labels.
        labelled: a Parquet file of embeddings with labels; an item under an id of the index is never its own answer.
            With ``run``, labelled items of any sort: their test split where there is one.
        run: the run that made the embeddings of the index, where ``labelled`` is no file of embeddings.
        ks: for recall@k, precision@k and ndcg@k.
        timed: queries asked one by one for the time; 0 for none.
        out: write the report there, as JSON.
        seed: of all draws.

    Returns:
        The report; ``report.text()`` prints it, ``report["recall@1"].value`` is one number.

    Raises:
        DataError: when the labelled items have no class of the index.
        RunError: when there is no index, the items are of another encoder, or ``out`` cannot be written.
    """
    if out is not None and not Path(out).parent.is_dir():
        raise RunError(f"{out}: must be in an existing folder, got none of that name; make it, or choose another --out")
    opened = open_index(index)
    queries = read_queries(labelled, run=run, who="evaluate")
    results = score_index(opened, queries, calibration=kept_calibration(opened), ks=ks, timed=timed, seed=seed)
    report = Report(str(index), f"index of {opened.count:,} items ({opened.backend})", f"queries: {labelled}", results)
    if out is not None:
        write_atomic(Path(out), report.to_json())
    return report
