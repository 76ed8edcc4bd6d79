r"""Distillation: a student learns a teacher's logits, scores or embeddings; the teacher gets no gradient."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import Reduction, check_embeddings, check_finite, check_positive, in_float32, reduce
from nearfar.losses.distances import DistanceLike, find_distance

__all__ = ["distill_kl", "distill_mse", "margin_mse"]

Form = Literal["kl", "cross_entropy"]


@in_float32
def distill_kl(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 1.0,
    form: Form = "kl",
    rescale: bool = True,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Divergence of the student's distribution over classes from the teacher's, both softened by a temperature.

    .. math:: L = \tau^2 \sum_y P_T(y) \log \frac{P_T(y)}{P_S(y)}, \qquad P = \mathrm{softmax}(\text{logits} / \tau)

    Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, https://arxiv.org/abs/1503.02531,
    section 2. The cross-entropy, -sum P_T log P_S, differs by the teacher's entropy alone and has the same gradient: it
    is eq. 2 of SimCLRv2, Chen et al., NeurIPS 2020, https://arxiv.org/abs/2006.10029.

    Args:
        student: (N, C) float logits.
        teacher: (N, C) float logits.
        temperature: tau > 0. SimCLRv2: 0.1 for a student like its teacher, 1 for a smaller one.
        form: "kl" or "cross_entropy".
        rescale: multiply by tau^2, which keeps the gradient's size as tau changes; Hinton et al. do.
        reduction: "mean" over rows, "sum", or "none" for (N,).

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none".

    Raises:
        InputError: shapes, types or a setting are wrong.
    """
    check_embeddings("distill_kl", student=student, teacher=teacher)
    check_positive("distill_kl", temperature=temperature)
    require(form in get_args(Form), "distill_kl", "form", "'kl' or 'cross_entropy'", repr(form))
    target = teacher.detach() / temperature
    log_p = (student / temperature).log_softmax(1)
    values = -(target.softmax(1) * log_p).sum(1)
    if form == "kl":
        values = values + (target.softmax(1) * target.log_softmax(1)).sum(1)
    return reduce(values * temperature**2 if rescale else values, reduction)


@in_float32
def distill_mse(student: Tensor, teacher: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    r"""Mean squared difference of the student's and the teacher's embeddings (or logits).

    .. math:: L = \tfrac1D \lVert s - t \rVert^2

    Ba, Caruana, "Do Deep Nets Really Need to be Deep?", NeurIPS 2014, https://arxiv.org/abs/1312.6184 (on logits).

    Args:
        student: (N, D) float.
        teacher: (N, D) float.
        reduction: "mean" over rows, "sum", or "none" for (N,).

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none".

    Raises:
        InputError: shapes or types are wrong.
    """
    check_embeddings("distill_mse", student=student, teacher=teacher)
    return reduce((student - teacher.detach()).square().mean(1), reduction)


@in_float32
def margin_mse(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    teacher_margin: Tensor,
    *,
    distance: DistanceLike = "dot",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Margin-MSE: how much nearer the positive is than the negative shall be what the teacher says.

    .. math:: L = \bigl((a \cdot p - a \cdot n) - (t_{ap} - t_{an})\bigr)^2

    Hofstätter, Althammer, Schröder, Sertkan, Hanbury, "Improving Efficient Neural Ranking Models with
    Cross-Architecture Knowledge Distillation", 2020, https://arxiv.org/abs/2010.02666. The number is that of
    MarginMSELoss in sentence-transformers.

    Args:
        anchor: (N, D) float, the queries.
        positive: (N, D), row i relevant to row i of ``anchor``.
        negative: (N, D), row i less so.
        teacher_margin: (N,) the teacher's score of the positive less that of the negative.
        distance: d; the margin is d(a, n) - d(a, p), for the dot product a.p - a.n.
        reduction: "mean" over triplets, "sum", or "none" for (N,).

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none".

    Raises:
        InputError: shapes, types or a name are wrong.
    """
    who = "margin_mse"
    check_embeddings(who, anchor=anchor, positive=positive, negative=negative)
    shape = tuple(teacher_margin.shape)
    require(shape == (len(anchor),), who, "teacher_margin", f"of shape ({len(anchor)},)", shape)
    require(teacher_margin.is_floating_point(), who, "teacher_margin", "a float tensor", teacher_margin.dtype)
    check_finite(who, teacher_margin=teacher_margin)
    d = find_distance(who, distance)
    margin = d.pairs(anchor, negative) - d.pairs(anchor, positive)
    return reduce((margin - teacher_margin.detach()).square(), reduction)
