"""The shape of a set of embeddings: alignment and uniformity, and whether it has collapsed.

    alignment      E ‖f(x) - f(y)‖^α over positive pairs                       Wang and Isola, eq. 2
    uniformity     log E exp(-t ‖f(x) - f(y)‖²) over all pairs                 Wang and Isola, eq. 3
    feature std    mean over features of the std of f                          Chen and He, section 4.1
    rankme         exp(-Σ p_k log p_k), p_k = σ_k / Σ σ + 1e-7                 Garrido et al., eq. 1

Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere",
ICML 2020, https://arxiv.org/abs/2005.10242. Chen and He, "Exploring Simple Siamese Representation Learning", CVPR 2021,
https://arxiv.org/abs/2011.10566. Garrido, Balestriero, Najman, LeCun, "RankMe", ICML 2023,
https://arxiv.org/abs/2210.02885. f is normalised in the first three; the last takes the embeddings as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nearfar.errors import require
from nearfar.evaluation.protocol import Floats, Labelled, Labels, Protocol, Score, unit_rows
from nearfar.ranking import chunks

__all__ = ["Geometry", "alignment", "class_alignment", "effective_rank", "feature_std", "uniformity"]


def alignment(x_PD: Floats, y_PD: Floats, *, alpha: float = 2.0) -> float:
    """Return the mean of ‖x - y‖^α over P positive pairs of normalised embeddings: 0 when all agree.

    Args:
        x_PD: (P, D) float32, normalised here; for example one view of each item.
        y_PD: (P, D) float32, the other view.
        alpha: 2 as in the paper's experiments.

    Raises:
        InputError: when the shapes differ.
    """
    require(x_PD.shape == y_PD.shape, "alignment", "y", f"of shape {x_PD.shape}", y_PD.shape)
    distances = np.linalg.norm(unit_rows(x_PD).astype(np.float64) - unit_rows(y_PD), axis=1)
    return float(np.mean(distances**alpha))


def class_alignment(x_ND: Floats, labels_N: Labels) -> float:
    """Return the alignment (α = 2) over all pairs of different rows of one class, without making the pairs.

    The squared distances of all ordered pairs of n rows sum to 2 n Σ‖x‖² - 2 ‖Σx‖².

    Raises:
        InputError: when no class has two rows.
    """
    rows = unit_rows(x_ND).astype(np.float64)
    _, codes, sizes = np.unique(labels_N, return_inverse=True, return_counts=True)
    pairs = float((sizes * (sizes - 1.0)).sum())
    require(pairs > 0, "class_alignment", "rows", "two or more in some class", "one in each")
    sums = np.zeros((len(sizes), rows.shape[1]))
    np.add.at(sums, codes, rows)
    squares = np.bincount(codes, np.square(rows).sum(axis=1), minlength=len(sizes))
    return float((2 * sizes * squares - 2 * np.square(sums).sum(axis=1)).sum() / pairs)


def uniformity(x_ND: Floats, *, t: float = 2.0) -> float:
    """Return log of the mean of exp(-t ‖x - y‖²) over all pairs of different rows, normalised; lower is more even.

    0 when all rows agree; about -4 (t = 2) on the uniform sphere of many dimensions.

    Args:
        x_ND: (N, D) float32, N >= 2; made in chunks, N²/2 exponentials in all.
        t: 2 as in the paper.

    Raises:
        InputError: when there are fewer than two rows.
    """
    require(len(x_ND) >= 2, "uniformity", "rows", "two or more", len(x_ND))
    rows = unit_rows(x_ND)
    squares = np.square(rows).sum(axis=1)
    total = 0.0
    for part in chunks(len(rows), len(rows)):
        later = rows[part.start :]
        distances = squares[part, None] + squares[None, part.start :] - 2 * (rows[part] @ later.T)
        kernel = np.exp(-t * np.maximum(distances, 0))
        size = len(distances)
        total += float(kernel[:, size:].sum(dtype=np.float64))
        total += float(np.triu(kernel[:, :size], 1).sum(dtype=np.float64))
    return float(np.log(total / (len(rows) * (len(rows) - 1) / 2)))


def feature_std(x_ND: Floats) -> float:
    """Return the mean over features of the standard deviation of the normalised rows.

    1/√D when the rows are spread evenly over the sphere, 0 when they have collapsed to one point.
    """
    return float(unit_rows(x_ND).std(axis=0, dtype=np.float64).mean())


def effective_rank(x_ND: Floats) -> float:
    """Return RankMe: the exponential of the entropy of the singular values; 1 to min(N, D), 0 for zeros alone."""
    singular = np.linalg.svd(x_ND.astype(np.float64), compute_uv=False)
    if not singular.any():
        return 0.0
    p = singular / singular.sum() + 1e-7
    return float(np.exp(-(p * np.log(p)).sum()))


@dataclass(frozen=True)
class Geometry(Protocol):
    """Alignment, uniformity and collapse of the test rows.

    Attributes:
        max_rows: uniformity and rankme use at most so many rows, drawn without replacement.
        t: of the uniformity.
        seed: of the draw.
    """

    max_rows: int = 10_000
    t: float = 2.0
    seed: int = 0

    name: ClassVar[str] = "geometry"

    def __post_init__(self) -> None:
        require(self.max_rows >= 2, "Geometry", "max_rows", ">= 2", self.max_rows)
        require(self.t > 0, "Geometry", "t", "> 0", self.t)

    def describe(self) -> str:
        """Say what each number is over."""
        return (
            "test rows, normalised (but for rankme): alignment = mean ‖x - y‖² over all pairs of one class; uniformity "
            f"= log mean exp(-{self.t:g} ‖x - y‖²) over all pairs; feature-std = mean standard deviation of the "
            "features; rankme = exp of the entropy of the singular values; the second and the last on at most "
            f"{self.max_rows:,} rows (seed {self.seed}); no interval"
        )

    def scores(self, train: Labelled, test: Labelled) -> Iterator[Score]:
        """Yield ``alignment`` (if a class has two rows), ``uniformity``, ``feature-std`` and ``rankme``.

        All but alignment use every row, also those of unknown label; ``train`` is unused.
        """
        require(len(test) >= 2, "geometry", "test rows", "two or more", len(test))
        x, y = test.embeddings, test.labels
        known, dim = y >= 0, x.shape[1]
        if known.any() and np.unique(y[known], return_counts=True)[1].max() >= 2:
            yield Score("alignment", class_alignment(x[known], y[known]), n=int(known.sum()))
        few = x
        if len(x) > self.max_rows:
            few = x[np.sort(np.random.default_rng([self.seed, len(x)]).permutation(len(x))[: self.max_rows])]
        yield Score("uniformity", uniformity(few, t=self.t), n=len(few))
        even = f"{1 / np.sqrt(dim):.4f} when spread evenly, 0 when collapsed"
        yield Score("feature-std", feature_std(x), n=len(x), note=even)
        yield Score("rankme", effective_rank(few), n=len(few), note=f"at most {min(few.shape)}")
