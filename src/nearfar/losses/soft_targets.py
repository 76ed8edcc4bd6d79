r"""Soft targets: two views should find the *same* similarities to other samples, not only each other.

Zheng et al., "ReSSL: Relational Self-Supervised Learning with Weak Augmentation", NeurIPS 2021,
https://arxiv.org/abs/2107.09282, eq. 2 to 4; Wei et al., "CO2: Consistent Contrast for Unsupervised Visual
Representation Learning", ICLR 2021, https://arxiv.org/abs/2010.02217, eq. 2 to 4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.losses._checks import (
    Reduction,
    check_embeddings,
    check_positive,
    check_reduction,
    in_float32,
    reduce,
    unit,
)
from nearfar.losses._shared import share

__all__ = ["co2", "ressl"]


@in_float32
def ressl(
    student: Tensor,
    teacher: Tensor,
    queue: Tensor,
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
    reduction: Reduction = "mean",
    across_ranks: bool = True,
) -> Tensor:
    r"""ReSSL (eq. 4): cross-entropy between the teacher's and the student's similarities to a queue.

    .. math:: \ell_i = -\sum_k p_{ik} \log q_{ik}, \quad p_i = \mathrm{softmax}_k(t_i \cdot c_k / \tau_t), \quad
        q_i = \mathrm{softmax}_k(s_i \cdot c_k / \tau_s)

    on normalised rows. No gradient flows into teacher and queue. It has no positives or negatives. Memory is N * K.

    Args:
        student: (N, D) float embeddings of the strongly augmented views; need not be normalised.
        teacher: (N, D) embeddings of the weakly augmented views, row i of the same item.
        queue: (K, D) the samples c that both are compared with; not gathered.
        student_temperature: tau_s > 0; 0.1 is the paper's.
        teacher_temperature: tau_t > 0; 0.04 is the paper's, lower than tau_s so that the target is sharper.
        reduction: "mean" over the N rows, "sum", or "none" for (N,).
        across_ranks: whether the mean is over all ranks' rows, where ranks have different N.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". With K = 1 it is 0.

    Raises:
        InputError: shapes, types or temperatures are wrong, or (on the CPU) a value is not finite.
    """
    check_embeddings("ressl", student=student, teacher=teacher)
    check_embeddings("ressl", same_rows=False, student=student, queue=queue)
    check_positive("ressl", student_temperature=student_temperature, teacher_temperature=teacher_temperature)
    check_reduction("ressl", reduction)
    c = unit(queue.detach()).to(student.dtype)
    target = (unit(teacher.detach()).to(student.dtype) @ c.T / teacher_temperature).softmax(1)
    log_q = (unit(student) @ c.T / student_temperature).log_softmax(1)
    return reduce(-(target * log_q).sum(1), reduction, across_ranks=across_ranks)


@in_float32
def co2(
    queries: Tensor,
    keys: Tensor,
    *,
    queue: Tensor | None = None,
    temperature: float = 0.05,
    include_positive: bool = False,
    reduction: Reduction = "mean",
    across_ranks: bool = True,
) -> Tensor:
    r"""CO2's consistency term (eq. 4): query and key should find the same similarities to the negatives.

    .. math:: \ell_i = \tfrac12 \mathrm{KL}(P_i \Vert Q_i) + \tfrac12 \mathrm{KL}(Q_i \Vert P_i), \quad
        Q_i = \mathrm{softmax}_k(q_i \cdot n_k / \tau), \quad P_i = \mathrm{softmax}_k(k_i \cdot n_k / \tau)

    on normalised rows. Add it, weighted, to `info_nce`. The negatives n are the queue, or, without one, the other rows:
    for Q the other keys, for P the other queries. Memory is N * K.

    Args:
        queries: (N, D) float; need not be normalised.
        keys: (N, D), row i belonging to query i; gradient flows into them too, detach those of a momentum encoder.
        queue: (K, D) negatives without gradient, not gathered; None for the batch's own rows.
        temperature: tau > 0; 0.05 is lightly's.
        include_positive: whether :math:`q_i \cdot k_i` is one of the entries of both distributions, as in lightly.
        reduction: "mean" over the N rows, "sum", or "none" for (N,).
        across_ranks: whether all ranks' rows are negatives (without a queue); ranks may have different N.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". A row without negatives gives 0.

    Raises:
        InputError: shapes, types or the temperature are wrong, or (on the CPU) a value is not finite.
    """
    check_embeddings("co2", queries=queries, keys=keys)
    check_positive("co2", temperature=temperature)
    check_reduction("co2", reduction)
    q, k = unit(queries), unit(keys).to(queries.dtype)
    if queue is None:
        log_q, log_p = _others(q, k, temperature, across_ranks), _others(k, q, temperature, across_ranks)
    else:
        check_embeddings("co2", same_rows=False, queries=queries, queue=queue)
        c = unit(queue.detach()).to(q.dtype).T
        log_q, log_p = q @ c / temperature, k @ c / temperature
    if include_positive:
        positive = (q * k).sum(1, keepdim=True) / temperature
        log_q, log_p = torch.cat([positive, log_q], 1), torch.cat([positive, log_p], 1)
    if log_q.shape[1] == 0:
        return reduce((q * 0).sum(1), reduction, across_ranks=across_ranks)
    log_q, log_p = log_q.log_softmax(1), log_p.log_softmax(1)
    # KL(P|Q) + KL(Q|P) = sum (P - Q)(log P - log Q)
    values = ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(1) / 2
    return reduce(values, reduction, across_ranks=across_ranks)


def _others(anchors: Tensor, candidates: Tensor, temperature: float, across_ranks: bool) -> Tensor:
    """Logits (N, N_global - 1) of every anchor with all candidates but the one of its own row."""
    shared = share(candidates, across_ranks)
    total = len(shared.rows)
    total = len(shared.rows)
    own = torch.arange(shared.start, shared.stop, device=anchors.device)[:, None]
    column = torch.arange(total - 1, device=anchors.device)[None]
    return (anchors @ shared.rows.T / temperature).gather(1, column + (column >= own))
