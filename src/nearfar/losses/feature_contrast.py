r"""Feature contrast: every feature agrees with itself in the other view, and with no other feature.

Estepa, Sarasua, Nagarajan, Radeva, "All4One: Symbiotic Neighbour Contrastive Learning via Self-Attention and Redundancy
Reduction", ICCV 2023, https://arxiv.org/abs/2303.09417, the feature contrast objective.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.losses._checks import check_embeddings, in_float32
from nearfar.losses._moments import off_diagonal, total

__all__ = ["feature_contrast"]

# Under a root or in a divisor: far below any value that means something, so that the gradient at 0 is finite.
_TINY = 1e-12


@in_float32
def feature_contrast(z1: Tensor, z2: Tensor, t1: Tensor, t2: Tensor, *, across_ranks: bool = True) -> Tensor:
    r"""Feature contrast between the views of a network and the views of its teacher.

    .. math::
        L = \frac12 \sqrt{\frac{1}{2D} \sum_i \bigl[ (1 - A_{ii})^2 + (1 - B_{ii})^2 \bigr]}
        + \frac12 \sqrt{\frac{1}{2D(D - 1)} \sum_{i \neq j} \bigl[ A_{ij}^2 + B_{ij}^2 \bigr]}, \qquad
        A = \hat T_1^T \hat Z_2, \quad B = \hat T_2^T \hat Z_1

    The columns of Z^ and T^ are those of Z and T divided by their length over the batch; they are *not* centred, unlike
    in Barlow Twins. As the published code, without its factors (10 and 0.5), which are the method's.

    Args:
        z1: (N, D) float projections of the first views.
        z2: (N, D) projections of the second views, row i belonging to row i of ``z1``.
        t1: (N, D) the teacher's projections of the first views.
        t2: (N, D) the teacher's projections of the second views.
        across_ranks: whether A and B are those of all ranks' rows.

    Returns:
        A float32 scalar (float64 for float64 input). A feature that is 0 on all rows counts as agreeing with none.

    Raises:
        InputError: shapes, types or values are wrong.
    """
    check_embeddings("feature_contrast", z1=z1, z2=z2, t1=t1, t2=t2)
    dim = z1.shape[1]
    a, b, c, d = (_unit_columns(x, across_ranks) for x in (t1, z2, t2, z1))
    both = [total(a.T @ b, across_ranks), total(c.T @ d, across_ranks)]
    on = torch.stack([(1 - x.diagonal()).square().sum() for x in both]).sum() / (2 * dim)
    off = torch.stack([off_diagonal(x).square().sum() for x in both]).sum() / max(1, 2 * dim * (dim - 1))
    loss: Tensor = ((on + _TINY).sqrt() + (off + _TINY).sqrt()) / 2
    return loss


def _unit_columns(z: Tensor, across_ranks: bool) -> Tensor:
    squares = total(z.square().sum(0), across_ranks)
    return z * squares.clamp(min=_TINY**2).rsqrt()
