r"""Relational distillation: the student's embeddings lie to each other as the teacher's do; dimensions may differ.

Park, Kim, Lu, Cho, "Relational Knowledge Distillation", CVPR 2019, https://arxiv.org/abs/1904.05068; Tung, Mori,
"Similarity-Preserving Knowledge Distillation", ICCV 2019, https://arxiv.org/abs/1907.09682
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nearfar.distributed import gather, gather_sizes, is_distributed, rank
from nearfar.errors import require
from nearfar.losses._checks import Reduction, check_embeddings, in_float32, reduce
from nearfar.losses._rows import by_blocks, reduce_sums, total_over_ranks
from nearfar.losses.distances import DISTANCES, safe_sqrt

__all__ = ["rkd_angle", "rkd_distance", "similarity_preserving"]


class _Both(NamedTuple):
    student: Tensor
    teacher: Tensor
    all_students: Tensor
    all_teachers: Tensor
    own: Tensor


def _both(who: str, student: Tensor, teacher: Tensor, across_ranks: bool) -> _Both:
    check_embeddings(who, student=student)
    check_embeddings(who, teacher=teacher)
    require(len(student) == len(teacher), who, "teacher", f"of as many rows as student ({len(student)})", len(teacher))
    teacher = teacher.detach().to(student.dtype)
    own = torch.arange(len(student), device=student.device)
    if not (across_ranks and is_distributed()):
        return _Both(student, teacher, student, teacher, own)
    sizes = gather_sizes(len(student), student.device)
    start = sum(sizes[: rank()])
    return _Both(student, teacher, gather(student, sizes), gather(teacher, sizes), own + start)


@in_float32
def rkd_distance(
    student: Tensor, teacher: Tensor, *, reduction: Reduction = "mean", across_ranks: bool = True
) -> Tensor:
    r"""Distances between rows, divided by their mean, shall be the teacher's.

    .. math:: L = \operatorname{mean}_{i \neq j} h(d^S_{ij} / \mu^S, d^T_{ij} / \mu^T), \qquad
        h(a, b) = \begin{cases} (a - b)^2 / 2 & |a - b| \le 1 \\ |a - b| - 1/2 \end{cases}

    Section 3.2.1 of Park et al., where mu is the mean over all pairs. The authors' code averages over the N zeros of
    the diagonal as well, which gives (N - 1) / N of this number. The paper weights it with 1, beside 2 for `rkd_angle`.

    Args:
        student: (N, D) float.
        teacher: (N, E) float.
        reduction: "mean" over ordered pairs, "sum", or "none" for (N,), each row's mean.
        across_ranks: whether pairs are over all ranks' rows.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". 0 for a single row.

    Raises:
        InputError: shapes or types are wrong.
    """
    batch = _both("rkd_distance", student, teacher, across_ranks)
    count = len(batch.all_students)
    euclidean = DISTANCES["euclidean"].matrix

    def spread(rows: slice, s: Tensor, t: Tensor, everyone: Tensor, teachers: Tensor) -> tuple[Tensor, ...]:
        return (torch.stack([euclidean(s, everyone).sum(1), euclidean(t, teachers).sum(1)], 1),)

    sliced, whole = [batch.student, batch.teacher], [batch.all_students, batch.all_teachers]
    (sums,) = by_blocks(spread, sliced, whole, count)
    scale = total_over_ranks(sums.sum(0), across_ranks) / max(1, count * (count - 1))
    # All rows equal: distances are 0 and stay so.
    mean_s, mean_t = scale.clamp(min=torch.finfo(student.dtype).tiny)

    def block(rows: slice, s: Tensor, t: Tensor, everyone: Tensor, teachers: Tensor) -> tuple[Tensor, ...]:
        a, b = euclidean(s, everyone) / mean_s, euclidean(t, teachers) / mean_t
        values = F.smooth_l1_loss(a, b, reduction="none").scatter(1, batch.own[rows, None], 0)
        return (values.sum(1),)

    (values,) = by_blocks(block, sliced, whole, count)
    return reduce_sums("rkd_distance", values, torch.full_like(values, count - 1), reduction, across_ranks)


@in_float32
def rkd_angle(student: Tensor, teacher: Tensor, *, reduction: Reduction = "mean", across_ranks: bool = True) -> Tensor:
    r"""The angle that two rows make at a third shall be the teacher's.

    .. math:: L = \operatorname{mean}_{i \neq j \neq k \neq i} h(\cos \angle^S_{ijk}, \cos \angle^T_{ijk}), \qquad
        \cos \angle_{ijk} = \frac{x_i - x_j}{\lVert x_i - x_j \rVert} \cdot \frac{x_k - x_j}{\lVert x_k - x_j \rVert}

    Section 3.2.2 of Park et al., with the h of `rkd_distance`. The authors' code averages over degenerate triplets as
    well, which gives (N - 1)(N - 2) / N^2 of this number. Time grows with N^3 D; memory with N (N + D), block by block.

    Args:
        student: (N, D) float.
        teacher: (N, E) float.
        reduction: "mean" over ordered triplets of different rows, "sum", or "none" for (N,), the mean at each corner j.
        across_ranks: whether triplets are over all ranks' rows.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". 0 for fewer than three rows; an angle at two
        equal rows counts as 90 degrees.

    Raises:
        InputError: shapes or types are wrong.
    """
    batch = _both("rkd_angle", student, teacher, across_ranks)
    count = len(batch.all_students)

    def cosines(corner: Tensor, everyone: Tensor) -> Tensor:
        ray = everyone[None] - corner[:, None]
        length = safe_sqrt(ray.square().sum(2, keepdim=True))
        ray = ray / torch.where(length > 0, length, 1)
        return ray @ ray.transpose(1, 2)

    def block(rows: slice, s: Tensor, t: Tensor, everyone: Tensor, teachers: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            target = cosines(t, teachers)
        values = F.smooth_l1_loss(cosines(s, everyone), target, reduction="none")
        # A ray from a corner to itself is 0, so of the degenerate triplets only i = k is left.
        return (values.sum((1, 2)) - values.diagonal(dim1=1, dim2=2).sum(1),)

    widest = count * (count + max(student.shape[1], teacher.shape[1]))
    (values,) = by_blocks(block, [batch.student, batch.teacher], [batch.all_students, batch.all_teachers], widest)
    counts = torch.full_like(values, max(0, (count - 1) * (count - 2)))
    return reduce_sums("rkd_angle", values, counts, reduction, across_ranks)


@in_float32
def similarity_preserving(
    student: Tensor, teacher: Tensor, *, reduction: Reduction = "mean", across_ranks: bool = True
) -> Tensor:
    r"""Rows of the batch's matrix of dot products, each of length 1, shall be the teacher's.

    .. math:: L = \frac{1}{N^2} \lVert G^S - G^T \rVert_F^2, \qquad
        G_{i \cdot} = \frac{(Z Z^\top)_{i \cdot}}{\lVert (Z Z^\top)_{i \cdot} \rVert}

    Eq. 2 to 4 of Tung and Mori.

    Args:
        student: (N, D) float.
        teacher: (N, E) float.
        reduction: "mean" for the equation, "sum" for N times it, or "none" for (N,), each row's share times N.
        across_ranks: whether the batch is that of all ranks.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none".

    Raises:
        InputError: shapes or types are wrong.
    """
    batch = _both("similarity_preserving", student, teacher, across_ranks)
    count = len(batch.all_students)

    def block(rows: slice, s: Tensor, t: Tensor, everyone: Tensor, teachers: Tensor) -> tuple[Tensor, ...]:
        difference = F.normalize(s @ everyone.T, dim=1) - F.normalize(t @ teachers.T, dim=1)
        return (difference.square().sum(1) / count,)

    sliced, whole = [batch.student, batch.teacher], [batch.all_students, batch.all_teachers]
    (values,) = by_blocks(block, sliced, whole, count)
    return reduce(values, reduction, across_ranks=across_ranks)
