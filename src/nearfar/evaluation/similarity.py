"""Pairs of embeddings: do cosines rank pairs as people did, and does each item find its own partner?

Spearman's correlation on the cosines of all pairs together is what SimCSE, https://arxiv.org/abs/2104.08821, calls
"all" (appendix B) and recommends. nDCG@k is Järvelin and Kekäläinen's, "Cumulated gain-based evaluation of IR
techniques", TOIS 2002, with relevance 0 or 1:

    DCG@k = Σ_{i=1..k} rel_i / log2(i + 1),   nDCG@k = DCG@k / the DCG@k of the best order
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import require
from nearfar.evaluation.intervals import bootstrap_mean
from nearfar.evaluation.protocol import Floats, Score, unit_rows
from nearfar.evaluation.record import Report, Result
from nearfar.ranking import chunks, smallest

__all__ = ["PairRetrieval", "Paired", "Similarity", "cosines", "evaluate_pairs", "partner_values", "spearman"]


@dataclass(frozen=True, eq=False)
class Paired:
    """Two embeddings a row: of the two texts of a pair, or of a picture and its caption.

    Attributes:
        first: (N, D) float32.
        second: (N, D) float32.
        scores: (N,) how alike people found them; ``None`` where nobody was asked.
        same_first: (N,) int64; rows with one number have the same first item, and are partners of one another's.
        same_second: (N,) int64, likewise for the second items.
        split: what the rows are, in a word.
        view: how the items were shown to the encoder.
        names: what the two sides are called.

    Raises:
        InputError: on a wrong shape, or a value that is not finite.
    """

    first: Floats
    second: Floats
    scores: NDArray[np.float64] | None = None
    same_first: NDArray[np.int64] | None = None
    same_second: NDArray[np.int64] | None = None
    split: str = "test"
    view: str = ""
    names: tuple[str, str] = ("first", "second")

    def __post_init__(self) -> None:
        for name, rows in (("first", self.first), ("second", self.second)):
            fits = rows.ndim == 2 and rows.shape == self.first.shape and len(rows) > 0
            require(fits, "pairs", name, f"of shape {self.first.shape}, (N, D)", rows.shape)
            require(bool(np.isfinite(rows).all()), "pairs", name, "finite", "NaN or infinity")
        for what, values in (
            ("scores", self.scores),
            ("same_first", self.same_first),
            ("same_second", self.same_second),
        ):
            ok = values is None or values.shape == (len(self.first),)
            require(ok, "pairs", what, f"of shape ({len(self.first)},)", None if values is None else values.shape)

    def describe(self) -> str:
        """Say what the rows are."""
        text = f"{self.split} split: {len(self.first)} pairs"
        return f"{text}, view: {self.view}" if self.view else text


def cosines(first: Floats, second: Floats) -> NDArray[np.float64]:
    """Return the cosine of every pair of rows, (N,) float64."""
    values: NDArray[np.float64] = (unit_rows(first).astype(np.float64) * unit_rows(second)).sum(axis=1)
    return values


def spearman(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the correlation of two rows' ranks, ties sharing their mean rank; 0 where one of them is constant."""
    a, b = _ranks(np.asarray(x)), _ranks(np.asarray(y))
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0


def _ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    means: NDArray[np.float64] = last - (counts - 1) / 2
    return means[place]


def partner_values(
    queries: Floats, candidates: Floats, same: NDArray[np.int64], ks: Sequence[int]
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return every query's metrics of finding its partners among all candidates, by cosine.

    Args:
        queries: (N, D).
        candidates: (N, D), row i the partner of query i.
        same: (N,) int64; candidate j is a partner of query i where ``same[i] == same[j]``.
        ks: for recall@k (1 if any of the k nearest is a partner) and nDCG@k.

    Returns:
        The metrics' names (M,), and their values (N, M) float64. Equal cosines rank in the order of the rows.
    """
    require(min(ks, default=0) >= 1, "pairs", "ks", "numbers >= 1", tuple(ks))
    x, y = unit_rows(queries), unit_rows(candidates)
    depth = min(len(y), max(ks))
    _, codes, sizes = np.unique(same, return_inverse=True, return_counts=True)
    counts = sizes[codes]
    gains = 1 / np.log2(np.arange(2, depth + 2))
    best = np.concatenate([[0.0], np.cumsum(gains)])
    parts = []
    for part in chunks(len(x), len(y)):
        distances = -(x[part] @ y.T)
        _, columns = smallest(distances, depth)
        hits = same[columns] == same[part][:, None]
        first = np.where(same[None, :] == same[part][:, None], distances, np.inf).min(axis=1, keepdims=True)
        rank = 1 + (distances < first).sum(axis=1)
        recalls = [hits[:, :k].any(axis=1) for k in ks]
        ndcgs = [(hits[:, :k] * gains[:k]).sum(axis=1) / best[np.minimum(counts[part], min(k, depth))] for k in ks]
        parts.append(np.stack([*recalls, *ndcgs, 1 / rank], axis=1))
    names = (*(f"recall@{k}" for k in ks), *(f"ndcg@{k}" for k in ks), "mrr")
    return names, np.concatenate(parts).astype(np.float64)


@dataclass(frozen=True)
class Similarity:
    """Spearman's correlation between cosines and people's scores, over all pairs together.

    Attributes:
        resamples: of the bootstrap over pairs.
        seed: of the bootstrap.
    """

    resamples: int = 1000
    seed: int = 0

    name = "sts"

    def describe(self) -> str:
        """Say what is correlated with what."""
        return (
            "Spearman's correlation between the cosines of the pairs and people's scores, all pairs together; 95 % "
            f"interval by bootstrap over pairs ({self.resamples} resamples, seed {self.seed})"
        )

    def scores(self, pairs: Paired) -> Iterator[Score]:
        """Yield ``spearman``.

        Raises:
            InputError: when there are no scores.
        """
        require(
            pairs.scores is not None, "sts", "scores", "given", "none", "name their column with --input-options.score"
        )
        assert pairs.scores is not None
        found = cosines(pairs.first, pairs.second)
        rng = np.random.default_rng(self.seed)
        draws = [rng.integers(len(found), size=len(found)) for _ in range(self.resamples)]
        spread = [spearman(found[rows], pairs.scores[rows]) for rows in draws]
        low, high = np.quantile(spread, [0.025, 0.975])
        yield Score("spearman", spearman(found, pairs.scores), low=float(low), high=float(high), n=len(found))


@dataclass(frozen=True)
class PairRetrieval:
    """Each item looks for its partner among all partners, in both directions.

    Attributes:
        ks: for recall@k and nDCG@k.
        resamples: of the bootstrap over queries.
        seed: of the bootstrap.
    """

    ks: tuple[int, ...] = (1, 5, 10)
    resamples: int = 1000
    seed: int = 0

    name = "pairs"

    def describe(self) -> str:
        """Say who queries whom, and what counts as found."""
        return (
            "every item queries all items of the other side, by cosine; found is its own partner or an item equal to "
            f"it; 95 % interval by bootstrap over queries ({self.resamples} resamples, seed {self.seed})"
        )

    def scores(self, pairs: Paired) -> Iterator[Score]:
        """Yield recall@k, nDCG@k and MRR of either direction."""
        one, two = pairs.names
        rows = np.arange(len(pairs.first))
        ways = (
            (f"{one} to {two}", pairs.first, pairs.second, pairs.same_second),
            (f"{two} to {one}", pairs.second, pairs.first, pairs.same_first),
        )
        for title, queries, candidates, same in ways:
            names, values = partner_values(queries, candidates, rows if same is None else same, self.ks)
            low, high = bootstrap_mean(values, resamples=self.resamples, seed=self.seed)
            for place, name in enumerate(names):
                yield Score(
                    f"{title}, {name}", float(values[:, place].mean()), low=float(low[place]), high=float(high[place]),
                    n=len(values),
                )  # fmt: skip


def evaluate_pairs(
    pairs: Paired, protocols: Sequence[Similarity | PairRetrieval], *, subject: str = "encoder"
) -> Report:
    """Score pairs by every protocol asked for; nothing is learnt from them."""
    results = []
    for protocol in protocols:
        settings = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(protocol).items()}
        results.append(Result(protocol.name, protocol.describe(), settings, tuple(protocol.scores(pairs))))
    return Report(subject, "nothing is learnt", f"scored on {pairs.describe()}", tuple(results))
