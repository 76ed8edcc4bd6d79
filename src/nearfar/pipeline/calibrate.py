"""Calibrating: from labelled items to the distance up to which an answer may be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nearfar.data.embeddings import read_embeddings, read_info
from nearfar.errors import DataError, require
from nearfar.evaluation.cutpoints import Answers, CutPoint, Target, curves
from nearfar.evaluation.cutpoints import calibrate as choose
from nearfar.evaluation.distance_calibration import Calibration, confidence_curve
from nearfar.indexing import Index, open_index
from nearfar.pipeline.data import open_test_data
from nearfar.pipeline.features import features, open_subject
from nearfar.searching.evidence import Queries, match_answers, pair_answers
from nearfar.searching.stored import keep_calibration

__all__ = ["calibrate", "read_queries"]


def calibrate(
    index: str | Path,
    labelled: Any,
    *,
    run: str | Path | None = None,
    target: Sequence[str] = ("precision=0.99",),
    over: Literal["matches", "pairs"] = "matches",
    resamples: int = 500,
    seed: int = 0,
    pictures: str | Path | None = None,
) -> Calibration:
    """Find how near is near enough, and store it with the index.

    Args:
        index: an index folder with labels.
        labelled: a Parquet file of embeddings with labels, made by the index's encoder: items that were not trained on.
            An item that is in the index under the same id is never an answer to itself, so the indexed file will do.
            With ``run``, labelled items of any sort, as for `nearfar.pretrain`: their test split where there is one.
        run: the run that made the embeddings of the index, where ``labelled`` is no file of embeddings.
        target: cut-points to find: precision=P, recall=R, f1, far=A (false-accept rate) or false-matches=M (false ones
            a query); the first is what `nearfar.match` uses by default.
        over: ``"matches"`` counts answers, the nearest item of each labelled one; ``"pairs"`` counts all pairs of a
            labelled item and an indexed one.
        resamples: of the bootstrap over classes, for the 95 % intervals.
        seed: of all draws.
        pictures: a folder for the ROC curve, the precision-recall curve and the histogram of distances, as PNG.

    Returns:
        The calibration; ``calibration.text()`` prints it.

    Raises:
        InputError: when a target is unknown, or no cut reaches it.
        DataError: when the labelled items have no class of the index.
        RunError: when there is no index, or the items are of another encoder.
    """
    targets = [Target.of(text) for text in target]
    opened = open_index(index)
    queries = read_queries(labelled, run=run)
    answers = match_answers(opened, queries) if over == "matches" else pair_answers(opened, queries, seed=seed)
    cuts = tuple(choose(answers, one, resamples=resamples, seed=seed) for one in targets)
    distances, confidences = confidence_curve(answers)
    found = Calibration(
        metric=opened.metric,
        fingerprint=opened.fingerprint,
        over=over,
        cuts=cuts,
        distances=tuple(distances.tolist()),
        confidences=tuple(confidences.tolist()),
        sentence=_sentence(opened, queries, answers, over, resamples, seed),
    )
    keep_calibration(opened, found)
    if pictures is not None:
        _draw(Path(pictures), pair_answers(opened, queries, most=200_000, seed=seed), answers, cuts[0], opened.metric)
    return found


def read_queries(labelled: Any, *, run: str | Path | None = None, who: str = "calibrate") -> Queries:
    """Read labelled embeddings, or embed labelled items; items of unknown label are left out.

    Raises:
        DataError: when they cannot be read or have no labels.
        RunError: when there is no such run.
    """
    if run is not None:
        return _embedded(labelled, run, who)
    must, fix = "a Parquet file of embeddings", "add --run with what embedded the index to use other data"
    require(str(labelled).endswith(".parquet"), who, "LABELLED", must, labelled, fix, error=DataError)
    read = read_embeddings(labelled)
    return Queries.labelled(read.ids, read.vectors, read.labels, read_info(labelled).fingerprint, who=who)


def _embedded(data: Any, run: str | Path, who: str) -> Queries:
    subject = open_subject(run)
    source = open_test_data(subject.modality, data, subject.inputs.reading(who, {}), split=None)
    fix = subject.modality.labels_fix
    require(source.labels is not None, who, "labels of the items", "given", "none", fix, error=DataError)
    assert source.labels is not None
    rows, vectors = features(subject, source, description=who)
    names = source.class_names
    labels = [None if n < 0 else names[n] if names else n for n in source.labels[rows].tolist()]
    return Queries.labelled([source.ids[row] for row in rows], vectors, labels, subject.fingerprint, who=who)


def _sentence(index: Index, queries: Queries, answers: Answers, over: str, resamples: int, seed: int) -> str:
    what = (
        "each answered by its nearest item, itself excluded; false ones: the nearest items of other labels"
        if over == "matches"
        else f"paired with the index's items ({len(answers.distances):,} pairs, each kind weighted up to all of them)"
    )
    classes = len(answers.queries)
    return (
        f"{len(queries.ids):,} labelled items of {classes} classes against an index of {index.count:,}, {what}; "
        f"95 % intervals by bootstrap over classes ({resamples} resamples, seed {seed})"
    )


def _draw(folder: Path, pairs: Answers, answers: Answers, cut: CutPoint, metric: str) -> None:
    from nearfar.report import Line, distance_histogram, precision_recall, roc, write_figure

    folder.mkdir(parents=True, exist_ok=True)
    _, rates = curves(pairs)
    ends = [np.concatenate([[0.0], rates[name]]) for name in ("far", "recall")]
    write_figure(roc([Line("pairs", *ends)]), folder / "roc.png", title="ROC curve of pairs")
    _, rates = curves(answers)
    known = np.isfinite(rates["precision"])
    lines = [Line("answers", rates["recall"][known], rates["precision"][known])]
    write_figure(precision_recall(lines), folder / "precision-recall.png", title="Precision and recall of answers")
    same, different = pairs.distances[pairs.right], pairs.distances[~pairs.right]
    if len(different):
        drawn = distance_histogram(same, different, cut=cut.cut, x_label=f"{metric} distance")
        write_figure(drawn, folder / "distances.png", title="Distances of same and different pairs")
