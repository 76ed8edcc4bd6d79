r"""N-pairs and the mega-batch margin: N anchors, each with its positive; the others' positives are its negatives."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nearfar.distributed import gather, gather_sizes, is_distributed, rank
from nearfar.errors import require
from nearfar.losses._checks import Reduction, check_embeddings, check_labels, in_float32, reduce, unit
from nearfar.losses._rows import by_blocks, log1p_exp, masked_logsumexp

__all__ = ["mega_batch_margin", "n_pairs"]


class _Candidates(NamedTuple):
    positives: Tensor
    own: Tensor
    labels: Tensor | None
    classes: Tensor | None

    def negatives(self, rows: slice) -> Tensor:
        own = self.own[rows, None]
        others = torch.ones(len(own), len(self.positives), dtype=torch.bool, device=own.device)
        others.scatter_(1, own, False)
        if self.labels is None or self.classes is None:
            return others
        return others & (self.labels[rows, None] != self.classes[None])


def _candidates(who: str, positive: Tensor, labels: Tensor | None, across_ranks: bool) -> _Candidates:
    own = torch.arange(len(positive), device=positive.device)
    if labels is not None:
        check_labels(who, labels, len(positive))
    if not (across_ranks and is_distributed()):
        return _Candidates(positive, own, labels, labels)
    sizes = gather_sizes(len(positive), positive.device)
    classes = None if labels is None else gather(labels, sizes)
    return _Candidates(gather(positive, sizes), own + sum(sizes[: rank()]), labels, classes)


@in_float32
def n_pairs(
    anchor: Tensor,
    positive: Tensor,
    labels: Tensor | None = None,
    *,
    regularization: float = 0.0,
    reduction: Reduction = "mean",
    across_ranks: bool = True,
) -> Tensor:
    r"""N-pair-mc loss: the dot product with one's own positive against those with all others'.

    .. math:: L_i = \log \Bigl(1 + \sum_{j \neq i} \exp(f_i \cdot f_j^+ - f_i \cdot f_i^+)\Bigr)
        + \tfrac{\lambda}{2} (\lVert f_i \rVert^2 + \lVert f_i^+ \rVert^2)

    Sohn, "Improved Deep Metric Learning with Multi-class N-pair Loss Objective", NeurIPS 2016,
    https://papers.nips.cc/paper/6200-improved-deep-metric-learning-with-multi-class-n-pair-loss-objective.
    Vectors are not normalised: the paper bounds their length by the last term instead.

    Args:
        anchor: (N, D) float.
        positive: (N, D), row i of the class of row i of ``anchor``.
        labels: (N,) integer; positives of the anchor's own class are then no negatives. None: all classes differ, as
            the paper draws its batches.
        regularization: lambda >= 0; the paper leaves it open.
        reduction: "mean" over anchors, "sum", or "none" for (N,).
        across_ranks: whether all ranks' positives are negatives.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". An anchor without negatives gives 0 (plus
        the regularisation).

    Raises:
        InputError: shapes, types or a number are wrong.
    """
    check_embeddings("n_pairs", anchor=anchor, positive=positive)
    require(regularization >= 0, "n_pairs", "regularization", ">= 0", regularization)
    batch = _candidates("n_pairs", positive, labels, across_ranks)

    def block(rows: slice, a: Tensor, p: Tensor, everyone: Tensor) -> tuple[Tensor, ...]:
        rest = masked_logsumexp(a @ everyone.T, batch.negatives(rows))
        return (log1p_exp(rest - (a * p).sum(1)),)

    (values,) = by_blocks(block, [anchor, positive], [batch.positives], len(batch.positives))
    if regularization:
        values = values + regularization / 2 * (anchor.square().sum(1) + positive.square().sum(1))
    return reduce(values, reduction, across_ranks=across_ranks)


@in_float32
def mega_batch_margin(
    anchor: Tensor,
    positive: Tensor,
    labels: Tensor | None = None,
    *,
    positive_margin: float = 0.8,
    negative_margin: float = 0.3,
    reduction: Reduction = "mean",
    across_ranks: bool = True,
) -> Tensor:
    r"""Margins on the cosine with one's own positive and with the hardest of all others' positives.

    .. math:: L_i = \max(0, m^+ - \cos(a_i, p_i)) + \max(0, \max_{j \neq i} \cos(a_i, p_j) - m^-)

    The hardest negative of a very large batch is the idea of Wieting, Gimpel, "ParaNMT-50M", ACL 2018,
    https://arxiv.org/abs/1711.05732 (mega-batching), who compare it with the positive under one margin.
    The two margins and their values are those of MegaBatchMarginLoss in sentence-transformers, whose number this is.
    For the paper's own form call `nearfar.losses.triplet` with ``distance="cosine"`` on mined triplets.

    Args:
        anchor: (N, D) float; need not be normalised.
        positive: (N, D), row i belonging to row i of ``anchor``.
        labels: (N,) integer; positives of the anchor's own class are then no negatives.
        positive_margin: the cosine that a positive must reach.
        negative_margin: the cosine that no negative may exceed.
        reduction: "mean" over anchors, "sum", or "none" for (N,).
        across_ranks: whether all ranks' positives are negatives.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". Without negatives the second term is 0.

    Raises:
        InputError: shapes, types or a margin are wrong.
    """
    who = "mega_batch_margin"
    check_embeddings(who, anchor=anchor, positive=positive)
    for name, margin in (("positive_margin", positive_margin), ("negative_margin", negative_margin)):
        require(-1 <= margin <= 1, who, name, "a cosine, in [-1, 1]", margin)
    a, p = unit(anchor), unit(positive)
    batch = _candidates(who, p, labels, across_ranks)

    def block(rows: slice, a: Tensor, everyone: Tensor) -> tuple[Tensor, ...]:
        # -1 is the lowest cosine: without negatives the margin is kept.
        return ((a @ everyone.T).masked_fill(~batch.negatives(rows), -1).amax(1),)

    (hardest,) = by_blocks(block, [a], [batch.positives], len(batch.positives))
    values = (positive_margin - (a * p).sum(1)).clamp(min=0) + (hardest - negative_margin).clamp(min=0)
    return reduce(values, reduction, across_ranks=across_ranks)
