r"""W-MSE: views agree after the batch has been whitened, which keeps it from collapsing.

Ermolov, Siarohin, Sangineto, Sebe, "Whitening for Self-Supervised Representation Learning", ICML 2021,
https://arxiv.org/abs/2007.06346.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import check_embeddings, in_float32, unit
from nearfar.losses._shared import share

__all__ = ["w_mse"]


@in_float32
def w_mse(
    *views: Tensor,
    block_size: int | None = None,
    eps: float = 0.0,
    order: Tensor | None = None,
    across_ranks: bool = True,
) -> Tensor:
    r"""W-MSE over N items in d >= 2 views.

    .. math:: L = \frac{2}{N d (d - 1)} \sum_{k < l} \sum_i \left\lVert \bar v^k_i - \bar v^l_i \right\rVert^2,
        \qquad v = W (z - \mu)

    W is the inverse of the Cholesky factor of the block's covariance (unbiased), each view and each block of rows being
    whitened by itself; v- is v divided by its norm. The constraint of eq. 1 (identity covariance) then holds exactly.
    It equals the mean over pairs of views of 2 - 2 cos.

    Args:
        *views: (N, D) float projections, one tensor per view, row i of each belonging to item i.
        block_size: rows whitened together; N is split into ``N // block_size`` blocks of (nearly) equal size, so that
            none is smaller. None: all rows. It must exceed D, else the covariance is singular; the paper takes 2 D.
        eps: shrinkage in [0, 1): the covariance becomes (1 - eps) C + eps I. 0 in the published code; above 0 also
            degenerate batches (equal rows, a constant dimension) are finite.
        order: (R, N) integer, rows are permutations of 0..N-1; the loss is averaged over R such orders before the
            blocks are cut. None: the rows as they come, which in a shuffled batch are in random order already. Over
            ranks: of the global batch, and the same on every rank.
        across_ranks: whether the blocks are cut from all ranks' rows, in rank order.

    Returns:
        A float32 scalar (float64 for float64 input).

    Raises:
        InputError: shapes, types, values or settings are wrong, or a block's covariance is singular.
    """
    require(len(views) >= 2, "w_mse", "views", "two or more", len(views))
    check_embeddings("w_mse", same_rows=True, **{f"views[{i}]": z for i, z in enumerate(views)})
    require(0 <= eps < 1, "w_mse", "eps", "in [0, 1)", eps)
    everyone = [share(z, across_ranks).rows for z in views]
    rows, dim = everyone[0].shape
    size = rows if block_size is None else block_size
    require(2 <= size <= rows, "w_mse", "block_size", f"in 2..N ({rows})", size, "use larger batches")
    require(size > dim or eps > 0, "w_mse", "block_size", f"> D ({dim})", size, "use larger blocks or eps > 0")
    orders = torch.arange(rows, device=views[0].device)[None] if order is None else order
    _check_order(orders, rows)
    return torch.stack([_one_order([z[each] for z in everyone], rows // size, eps) for each in orders]).mean()


def _one_order(views: list[Tensor], blocks: int, eps: float) -> Tensor:
    white = [torch.cat([_whiten(block, eps) for block in z.tensor_split(blocks)]) for z in views]
    # Unit vectors: the mean of 2 - 2 cos over all pairs of views, from the norm of the sum over views.
    units = torch.stack([unit(v) for v in white])
    ones = units.square().sum(2).sum(0)
    cosines = (units.sum(0).square().sum(1) - ones) / 2
    return 2 - 2 * cosines.mean() / (len(views) * (len(views) - 1) / 2)


def _whiten(z: Tensor, eps: float) -> Tensor:
    z = z - z.mean(0)
    c = (1 - eps) * (z.T @ z) / (len(z) - 1) + eps * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    factor, failed = torch.linalg.cholesky_ex(c)
    spread = factor.detach().diagonal().aminmax()
    singular = bool((failed > 0) | (spread.min < 1e-6 * spread.max))
    require(not singular, "w_mse", "a block's covariance", "positive definite", "singular", "use eps > 0, say 1e-3")
    white: Tensor = torch.linalg.solve_triangular(factor, z.T, upper=False).T
    return white


def _check_order(order: Tensor, rows: int) -> None:
    must = f"(R, N) integer permutations of 0..{rows - 1}"
    ok = order.ndim == 2 and order.shape[1] == rows and not order.is_floating_point()
    require(ok, "w_mse", "order", must, f"{order.dtype} of shape {tuple(order.shape)}")
    same = bool((order.sort(1).values == torch.arange(rows, device=order.device)).all())
    require(same, "w_mse", "order", must, "something else")
