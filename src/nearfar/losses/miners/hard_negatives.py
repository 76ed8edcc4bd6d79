r"""Hard negatives over a whole data set: near neighbours of a query that are none of its positives.

Neighbours come from a search, in the form every index returns them: for each query, ids and scores from the nearest on.
Limits of rank, score and margin leave out what is so near that it is likely a positive nobody labelled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from nearfar.errors import require

__all__ = ["find_hard_negatives", "hard_negatives"]

Scores = Literal["distance", "similarity"]
Sampling = Literal["nearest", "random"]


@torch.no_grad()
def hard_negatives(
    ids: Any,
    scores: Any,
    *,
    scores_are: Scores,
    positives: Any | None = None,
    query_labels: Any | None = None,
    labels: Any | None = None,
    count: int = 1,
    first_rank: int = 0,
    last_rank: int | None = None,
    nearest: float | None = None,
    farthest: float | None = None,
    positive_scores: Any | None = None,
    margin: float | None = None,
    relative_margin: float | None = None,
    sampling: Sampling = "nearest",
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Choose each query's hard negatives among its neighbours.

    Which rows are no negatives is said by ``positives`` or by labels, one of the two. With distances d (a similarity
    counts as -s), a neighbour n of a query with positive p must fulfil every limit given:

    - rank (from 0) in [first_rank, last_rank)
    - ``nearest`` <= d_n <= ``farthest``: for similarities s_n is at most ``nearest`` and at least ``farthest``
    - ``margin``: d_n >= d_p + margin; for similarities s_n <= s_p - margin
    - ``relative_margin``: d_n >= d_p (1 + relative_margin); for similarities s_n <= s_p (1 - relative_margin)

    The margins on the positive's score are those of Moreira et al., "NV-Retriever", 2024,
    https://arxiv.org/abs/2407.15831.

    Args:
        ids: (Q, K) integer rows of the data set, the nearest first; -1 for none.
        scores: (Q, K) their distances or similarities.
        scores_are: which of the two, so that "near" cannot be mistaken.
        positives: (Q, P) integer rows that are no negatives, the query's own among them; -1 for none.
        query_labels: (Q,) integer classes of the queries.
        labels: (M,) integer classes of the data set's rows; rows of the query's class are no negatives.
        count: how many negatives per query.
        first_rank: leave out the nearest so many neighbours, positives counted as well.
        last_rank: leave out neighbours from this rank on; None: none.
        nearest: leave out what is nearer, in units of the scores.
        farthest: leave out what is farther, in units of the scores.
        positive_scores: (Q,) the score of each query's positive, for the margins.
        margin: >= 0.
        relative_margin: in [0, 1) for similarities, >= 0 for distances.
        sampling: the "nearest" that fit, or ``count`` of them at "random".
        generator: source of chance for "random".

    Returns:
        (Q, count) int64 rows of the data set, the nearest first; -1 where too few fit.

    Raises:
        InputError: shapes, types or a setting are wrong.
    """
    who = "hard_negatives"
    ids, scores = torch.as_tensor(ids), torch.as_tensor(scores)
    shape = tuple(ids.shape)
    require(ids.ndim == 2 and not ids.is_floating_point(), who, "ids", "integer of shape (Q, K)", (shape, ids.dtype))
    require(tuple(scores.shape) == shape, who, "scores", f"of the shape of ids {shape}", tuple(scores.shape))
    require(scores_are in get_args(Scores), who, "scores_are", "'distance' or 'similarity'", repr(scores_are))
    require(sampling in get_args(Sampling), who, "sampling", "'nearest' or 'random'", repr(sampling))
    require(count >= 1, who, "count", ">= 1", count)
    last = shape[1] if last_rank is None else last_rank
    require(0 <= first_rank < last or shape[1] == 0, who, "first_rank", f"in [0, last_rank = {last})", first_rank)
    sign = 1 if scores_are == "distance" else -1
    distances = sign * scores.double()

    rank = torch.arange(shape[1], device=ids.device)
    fits = (ids >= 0) & (rank >= first_rank) & (rank < last) & ~scores.isnan()
    fits &= ~_known(ids, positives, query_labels, labels)
    if nearest is not None:
        fits &= distances >= sign * nearest
    if farthest is not None:
        fits &= distances <= sign * farthest
    if margin is not None or relative_margin is not None:
        fits &= distances >= _limit(positive_scores, shape[0], sign, margin, relative_margin)[:, None]
    order = rank.expand(shape).double()
    if sampling == "random":
        order = torch.rand(shape, generator=generator, device=ids.device, dtype=torch.float64)
    chosen = order.masked_fill(~fits, torch.inf).sort(1).indices[:, :count]
    # The nearest first, also among those drawn at random; what does not fit goes last.
    chosen = chosen.masked_fill(~fits.gather(1, chosen), shape[1]).sort(1).values
    padded = torch.cat([ids.long(), ids.new_full((shape[0], 1), -1, dtype=torch.int64)], 1)
    result = padded.gather(1, chosen)
    return torch.nn.functional.pad(result, (0, count - result.shape[1]), value=-1)


@torch.no_grad()
def find_hard_negatives(
    queries: Tensor,
    search: Callable[[Tensor, int], tuple[Any, Any]],
    *,
    neighbours: int = 100,
    batch_size: int = 1024,
    positives: Any | None = None,
    query_labels: Any | None = None,
    positive_scores: Any | None = None,
    **limits: Any,
) -> Tensor:
    """Search and choose, a batch of queries at a time.

    Args:
        queries: (Q, D) embeddings.
        search: function of (B, D) queries and k -> (B, k) ids and (B, k) scores, an index's for example.
        neighbours: k, how many to look at; more where many are positives.
        batch_size: B.
        positives: as in `hard_negatives`.
        query_labels: as in `hard_negatives`.
        positive_scores: as in `hard_negatives`.
        **limits: the other arguments of `hard_negatives`; ``scores_are`` is required.

    Returns:
        (Q, count) int64 rows of the data set, the nearest first; -1 where too few fit.

    Raises:
        InputError: as in `hard_negatives`.
    """
    who = "find_hard_negatives"
    require(queries.ndim == 2 and len(queries) >= 1, who, "queries", "of shape (Q, D)", tuple(queries.shape))
    require(neighbours >= 1, who, "neighbours", ">= 1", neighbours)
    require(batch_size >= 1, who, "batch_size", ">= 1", batch_size)
    per_query = {"positives": positives, "query_labels": query_labels, "positive_scores": positive_scores}
    for name, value in per_query.items():
        fits = value is None or len(value) == len(queries)
        require(fits, who, name, f"one per query ({len(queries)})", None if value is None else len(value))
    results = []
    for start in range(0, len(queries), batch_size):
        part = slice(start, start + batch_size)
        ids, scores = search(queries[part], neighbours)
        mine: dict[str, Any] = {name: None if value is None else value[part] for name, value in per_query.items()}
        results.append(hard_negatives(ids, scores, **mine, **limits))
    return torch.cat(results)


def _known(ids: Tensor, positives: Any | None, query_labels: Any | None, labels: Any | None) -> Tensor:
    """Return (Q, K) which neighbours are positives."""
    who, rows = "hard_negatives", len(ids)
    by_labels = query_labels is not None and labels is not None
    require((positives is not None) != by_labels, who, "positives", "given, or else query_labels and labels", "not so")
    if positives is not None:
        known = torch.as_tensor(positives, device=ids.device)
        require(known.ndim == 2 and len(known) == rows, who, "positives", f"of shape ({rows}, P)", tuple(known.shape))
        found = torch.zeros_like(ids, dtype=torch.bool)
        for column in known.unbind(1):
            found |= ids == column[:, None]
        return found
    own, classes = torch.as_tensor(query_labels, device=ids.device), torch.as_tensor(labels, device=ids.device)
    require(tuple(own.shape) == (rows,), who, "query_labels", f"of shape ({rows},)", tuple(own.shape))
    require(classes.ndim == 1, who, "labels", "of shape (M,)", tuple(classes.shape))
    rows_needed = int(ids.max()) + 1 if ids.numel() else 0
    fits = rows_needed <= len(classes)
    require(fits, who, "labels", f"one per row of the data set, at least {rows_needed}", len(classes))
    if not len(classes):
        return torch.zeros_like(ids, dtype=torch.bool)
    return classes[ids.clamp(min=0)] == own[:, None]


def _limit(
    positive_scores: Any | None, rows: int, sign: int, margin: float | None, relative_margin: float | None
) -> Tensor:
    """Return (Q,) the distance that a negative must have at least."""
    who = "hard_negatives"
    require(positive_scores is not None, who, "positive_scores", "given for a margin", positive_scores)
    scores = torch.as_tensor(positive_scores).double()
    require(tuple(scores.shape) == (rows,), who, "positive_scores", f"of shape ({rows},)", tuple(scores.shape))
    require(margin is None or margin >= 0, who, "margin", ">= 0", margin)
    limit = sign * scores + (margin or 0)
    if relative_margin is not None:
        fits = 0 <= relative_margin < (torch.inf if sign > 0 else 1)
        require(fits, who, "relative_margin", ">= 0, and < 1 for similarities", relative_margin)
        limit = torch.maximum(limit, sign * scores * (1 + sign * relative_margin))
    return limit
