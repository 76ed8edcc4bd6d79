"""Scoring an index with labelled items: rankings, pairs, cut-points, unknown classes, and how long a query takes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import numpy as np

from nearfar.errors import DataError, require
from nearfar.evaluation import Result, Score, bootstrap_mean, equal_error_rate, roc_auc, roc_points
from nearfar.evaluation.cutpoints import MEASURES, Answers, rates_at
from nearfar.evaluation.distance_calibration import Calibration
from nearfar.evaluation.ranking_scores import ranking_scores, tar_at_far
from nearfar.indexing import Index
from nearfar.searching.evidence import BATCH, Queries, index_labels, match_answers, pair_answers
from nearfar.searching.query import check_fingerprint

__all__ = ["score_index"]

DEEPEST = 2_000
"""Neighbours looked at for a ranking at most."""

FARS = (0.1, 0.01, 0.001, 0.0001)


def score_index(
    index: Index,
    queries: Queries,
    *,
    calibration: Calibration | None = None,
    ks: Sequence[int] = (1, 5, 10),
    timed: int = 200,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[Result, ...]:
    """Score an index by labelled queries; an item of the index under a query's id is never its answer.

    Args:
        index: an opened index with labels.
        queries: the labelled items.
        calibration: its cut-points are scored too.
        ks: for recall@k, precision@k and ndcg@k.
        timed: queries asked one by one for the time a query takes; 0 for none.
        resamples: of the bootstrap over queries.
        seed: of all draws.

    Raises:
        RunError: when the vectors are of another encoder than the index's.
        DataError: when the index is empty or has no class of the queries.
    """
    check_fingerprint(index, queries.fingerprint)
    answers = match_answers(index, queries)
    pairs = pair_answers(index, queries, seed=seed)
    results = [
        _ranking(index, queries, tuple(ks), resamples, seed),
        _pairs(pairs, seed),
        _open_set(answers),
    ]
    if calibration is not None:
        results += _cuts(answers, calibration)
    if timed:
        results.append(_latency(index, queries, timed))
    return tuple(results)


def _ranking(index: Index, queries: Queries, ks: tuple[int, ...], resamples: int, seed: int) -> Result:
    held = Counter(index_labels(index))
    inside = [name in index for name in queries.ids]
    right = np.array([held[label] - int(own) for label, own in zip(queries.labels, inside, strict=True)])
    asked = np.flatnonzero(right > 0)
    require(len(asked) > 0, "evaluate", "queries", "of classes of the index", "none", error=DataError)
    depth = min(index.count, DEEPEST, max(int(right.max()), *ks) + 1)
    hits = np.zeros((len(asked), depth), dtype=bool)
    for start in range(0, len(asked), BATCH):
        rows = asked[start : start + BATCH]
        found = index.search(queries.vectors[rows], depth)
        for place, row in enumerate(rows):
            others = [
                label is not None and label == queries.labels[row]
                for name, label in zip(found.ids[place], found.labels[place], strict=True)
                if name != queries.ids[row]
            ]
            hits[start + place, : len(others)] = others
    names, values = ranking_scores(hits, right[asked], ks)
    low, high = bootstrap_mean(values, resamples=resamples, seed=seed)
    left_out = len(right) - len(asked)
    note = f"{left_out} queries of classes that the index has not left out" if left_out else ""
    scores = tuple(
        Score(name, float(values[:, c].mean()), low=float(low[c]), high=float(high[c]), n=len(asked), note=note)
        for c, name in enumerate(names)
    )
    sentence = (
        f"each query ranks the index by {index.metric} distance, itself excluded, {depth - 1} deep at most; "
        f"95 % interval by bootstrap over queries ({resamples} resamples, seed {seed})"
    )
    return Result("ranking", sentence, {"ks": list(ks), "depth": depth, "seed": seed}, scores)


def _pairs(pairs: Answers, seed: int) -> Result:
    n = len(pairs.distances)
    sentence = f"pairs of a query and an item of the index, same or different class, {n:,} drawn and weighted"
    if pairs.right.all():
        return Result("pairs", sentence + "; only one class, so nothing to tell apart", {}, ())
    near = -pairs.distances.astype(np.float64)
    far, tar = roc_points(near, pairs.right, pairs.weights)  # type: ignore[arg-type]
    scores = [
        Score("roc-auc", roc_auc(near, pairs.right, pairs.weights), n=n),  # type: ignore[arg-type]
        Score("eer", equal_error_rate(near, pairs.right, pairs.weights), n=n),  # type: ignore[arg-type]
    ]
    different = int((~pairs.right).sum())
    scores += [
        Score(f"tar@far={limit:g}", tar_at_far(far, tar, limit), n=n) for limit in FARS if different * limit >= 1
    ]
    return Result("pairs", sentence, {"seed": seed}, tuple(scores))


def _open_set(answers: Answers) -> Result:
    """Score how well the nearest distance tells queries of known classes from those of unknown ones."""
    sentence = (
        "unknown classes: each query's nearest item, against the nearest item of another class, which is what it would "
        "find were its own class missing; share of pairs of the two in which the known one is nearer"
    )
    false = answers.false_distances
    if false is None or not len(false):
        return Result("open set", sentence + "; only one class, so nothing to tell apart", {}, ())
    near = -np.concatenate([answers.distances, false])
    known = np.arange(len(near)) < len(answers.distances)
    score = Score("open-set-auc", roc_auc(near, known), n=len(answers.distances))
    return Result("open set", sentence, {}, (score,))


def _cuts(answers: Answers, calibration: Calibration) -> list[Result]:
    results = []
    for point in calibration.cuts:
        rates = rates_at(answers, point.cut)
        values = dict(zip(MEASURES, rates, strict=True))
        scores = tuple(
            Score(f"{name} at {point.target}", value, n=len(answers.distances))
            for name, value in values.items()
            if np.isfinite(value)
        )
        sentence = f"nearest answers up to the cut-point {point.cut:.6g}, calibrated for {point.target}"
        results.append(Result(f"cut-point {point.target}", sentence, {"cut": point.cut}, scores))
    return results


def _latency(index: Index, queries: Queries, timed: int) -> Result:
    rows = [row % len(queries.vectors) for row in range(timed)]
    for row in rows[:5]:
        index.search(queries.vectors[row : row + 1], 10)
    spent = []
    for row in rows:
        begun = time.perf_counter()
        index.search(queries.vectors[row : row + 1], 10)
        spent.append(1000 * (time.perf_counter() - begun))
    scores = tuple(Score(f"latency p{p} [ms]", float(np.percentile(spent, p)), n=timed) for p in (50, 95, 99))
    sentence = f"wall-clock of one query for 10 neighbours, asked {timed} times one by one on this machine"
    return Result("latency", sentence, {"timed": timed}, scores)
