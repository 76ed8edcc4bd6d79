r"""Losses on rankings: average precision by histogram (FastAP) or by sigmoids (SmoothAP), and the histogram loss."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import Reduction, check_positive, in_float32, reduce, unit
from nearfar.losses._rows import dot, gathered, pack, per_anchor, total_over_ranks

__all__ = ["fast_ap", "histogram", "smooth_ap"]


@in_float32
def fast_ap(
    z: Tensor, labels: Tensor, *, bins: int = 10, reduction: Reduction = "mean", across_ranks: bool = True
) -> Tensor:
    r"""FastAP: one minus the average precision of every anchor's ranking, from soft histograms of distances.

    .. math:: L_a = 1 - \frac{1}{N_a^+} \sum_{l = 0}^{L} \frac{H_l^+ h_l^+}{H_l}

    h+ is the histogram of the anchor's squared distances to its positives over [0, 4], every distance shared linearly
    between its two nearest nodes; H+ is its running sum, H that of all rows.

    Cakir, He, Xia, Kulis, Sclaroff, "Deep Metric Learning to Rank", CVPR 2019,
    https://openaccess.thecvf.com/content_CVPR_2019/papers/Cakir_Deep_Metric_Learning_to_Rank_CVPR_2019_paper.pdf.

    Args:
        z: (N, D) float; normalised here.
        labels: (N,) integer.
        bins: L >= 1, the histogram has L + 1 nodes; 10 is the paper's.
        reduction: "mean" over the anchors with a positive, "sum", or "none" for (N,).
        across_ranks: whether the ranking is over all ranks' rows.

    Returns:
        A float32 scalar in [0, 1] (float64 for float64 input), or (N,) for "none". 0 where no anchor has a positive.

    Raises:
        InputError: shapes, types or the number of bins are wrong.
    """
    require(bins >= 1, "fast_ap", "bins", ">= 1", bins)
    batch = gathered("fast_ap", z, labels, across_ranks, prepare=unit)

    def row(s: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        place = (2 - 2 * s) / 4 * bins
        near = soft_histogram(place, positive, bins)
        running, everyone = near.cumsum(1), (near + soft_histogram(place, negative, bins)).cumsum(1)
        filled = everyone > 0
        terms = torch.where(filled, running * near / torch.where(filled, everyone, 1), 0)
        count = positive.sum(1)
        return 1 - terms.sum(1) / count.clamp(min=1), count > 0

    values, valid = per_anchor(row, dot, batch)
    return reduce(values, reduction, valid=valid, across_ranks=across_ranks)


@in_float32
def smooth_ap(
    z: Tensor,
    labels: Tensor,
    *,
    temperature: float = 0.01,
    with_query: bool = False,
    reduction: Reduction = "mean",
    across_ranks: bool = True,
) -> Tensor:
    r"""SmoothAP: one minus the average precision of every anchor's ranking, with sigmoids in place of comparisons.

    .. math:: L_a = 1 - \frac{1}{|P|} \sum_{i \in P}
        \frac{1 + \sum_{j \in P, j \neq i} \sigma((s_j - s_i) / \tau)}
             {1 + \sum_{j \in P \cup N, j \neq i} \sigma((s_j - s_i) / \tau)}

    s are cosines with the anchor, P its positives, N its negatives. Brown, Xie, Kalogeiton, Zisserman, "Smooth-AP:
    Smoothing the Path Towards Large-Scale Image Retrieval", ECCV 2020, https://arxiv.org/abs/2007.12163. Time grows
    with the number of positive pairs times N; classes may differ in size.

    Args:
        z: (N, D) float; need not be normalised.
        labels: (N,) integer.
        temperature: tau > 0; 0.01 is the paper's.
        with_query: rank the anchor itself among its positives, as the authors' code and pytorch-metric-learning do;
            retrieval, and the paper's text, leave it out.
        reduction: "mean" over the anchors with a positive, "sum", or "none" for (N,).
        across_ranks: whether the ranking is over all ranks' rows.

    Returns:
        A float32 scalar in [0, 1] (float64 for float64 input), or (N,) for "none". 0 where no anchor has a positive.

    Raises:
        InputError: shapes, types or the temperature are wrong.
    """
    check_positive("smooth_ap", temperature=temperature)
    batch = gathered("smooth_ap", z, labels, across_ranks, prepare=unit)
    most = batch.most_positives() + int(with_query)

    def row(s: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        valid = positive.any(1)
        if with_query:
            positive = ~negative
        index, counts = pack(positive, most)
        above = ((s[:, None] - s.gather(1, index)[:, :, None]) / temperature).sigmoid()
        above = above.scatter(2, index[:, :, None], 0)
        among = (above * positive[:, None]).sum(2)
        everyone = among + (above * negative[:, None]).sum(2)
        precision = torch.where(counts, (1 + among) / (1 + everyone), 0)
        return 1 - precision.sum(1) / counts.sum(1).clamp(min=1), valid

    values, valid = per_anchor(row, dot, batch, width=max(1, most))
    return reduce(values, reduction, valid=valid, across_ranks=across_ranks)


@in_float32
def histogram(z: Tensor, labels: Tensor, *, bins: int = 100, across_ranks: bool = True) -> Tensor:
    r"""Histogram loss: the probability that a negative pair is more similar than a positive one.

    .. math:: L = \sum_{r = 0}^{R} h_r^- \sum_{q = 0}^{r} h_q^+

    h+ and h- are the histograms of the cosines of all positive and all negative pairs over [-1, 1], every cosine shared
    linearly between its two nearest nodes. Ustinova, Lempitsky, "Learning Deep Embeddings with Histogram Loss", NeurIPS
    2016, https://arxiv.org/abs/1611.00822.

    Args:
        z: (N, D) float; normalised here.
        labels: (N,) integer.
        bins: R >= 1, the histogram has R + 1 nodes; 100 is pytorch-metric-learning's, the paper found any fine enough
            number to do.
        across_ranks: whether the pairs are those of all ranks.

    Returns:
        A float32 scalar in [0, 1] (float64 for float64 input); 0, with zero gradient, without positive or without
        negative pairs.

    Raises:
        InputError: shapes, types or the number of bins are wrong.
    """
    require(bins >= 1, "histogram", "bins", ">= 1", bins)
    batch = gathered("histogram", z, labels, across_ranks, prepare=unit)

    def row(s: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        place = (s + 1) / 2 * bins
        both = [soft_histogram(place, mask, bins).sum(0) for mask in (positive, negative)]
        return (torch.stack(both)[None],)

    (parts,) = per_anchor(row, dot, batch)
    near, far = total_over_ranks(parts.sum(0), across_ranks).unbind(0)
    total = (near.sum() * far.sum()).detach()
    # Counts are whole numbers, so at least 1 where there are any.
    return (far * near.cumsum(0)).sum() / total.clamp(min=0.5)


def soft_histogram(place: Tensor, mask: Tensor, bins: int) -> Tensor:
    """Return (R, bins + 1) histograms of the rows' places in [0, bins], each shared between its two nearest nodes."""
    lower = place.detach().floor().clamp(0, bins - 1)
    share = (place - lower).clamp(0, 1)
    index = lower.long()
    held = mask.to(place.dtype)
    nodes = place.new_zeros(len(place), bins + 1)
    return nodes.scatter_add(1, index, (1 - share) * held).scatter_add(1, index + 1, share * held)
