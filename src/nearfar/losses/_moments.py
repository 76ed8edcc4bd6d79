"""Sums over the rows of the global batch, which the losses on batch statistics stand on."""

from __future__ import annotations

from torch import Tensor

from nearfar.distributed import gather_sizes, sum_over_ranks
from nearfar.errors import require

__all__ = ["centred", "check_weights", "covariance", "off_diagonal", "row_count", "total"]


def row_count(who: str, z: Tensor, across_ranks: bool, *, least: int = 1) -> int:
    """Return the number of rows of the global batch and require at least ``least``.

    Raises:
        InputError: when there are fewer.
    """
    rows = sum(gather_sizes(len(z), z.device)) if across_ranks else len(z)
    where = "rows over all ranks" if across_ranks else "rows"
    require(rows >= least, who, where, f">= {least}", rows, "drop the last, smaller batch (drop_last=True)")
    return rows


def total(x: Tensor, across_ranks: bool) -> Tensor:
    """Sum ``x`` over ranks, with gradient; the identity where ``across_ranks`` is false."""
    return sum_over_ranks(x) if across_ranks else x


def centred(z: Tensor, rows: int, across_ranks: bool) -> Tensor:
    """Return (N, D) this rank's rows minus the mean row of the global batch."""
    return z - total(z.sum(0), across_ranks) / rows


def covariance(z: Tensor, divisor: int, across_ranks: bool) -> Tensor:
    """Return (D, D) the sum over the global batch of z_i z_i^T, divided by ``divisor``; ``z`` is already centred."""
    return total(z.T @ z, across_ranks) / divisor


def off_diagonal(matrix: Tensor) -> Tensor:
    """Return a square matrix with zeros on its diagonal."""
    return matrix - matrix.diagonal().diag()


def check_weights(who: str, **weights: float) -> None:
    """Require finite weights >= 0.

    Raises:
        InputError: naming the first that is not.
    """
    for name, weight in weights.items():
        require(0 <= weight < float("inf"), who, name, "finite and >= 0", weight)
