r"""Angular loss: the angle at the negative of the triangle anchor, positive, negative is held small.

Wang, Zhou, Wen, Liu, Lin, "Deep Metric Learning with Angular Loss", ICCV 2017, https://arxiv.org/abs/1708.01682
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import Reduction, in_float32, unit
from nearfar.losses._rows import Mined, by_blocks, gathered, log1p_exp, masked_logsumexp, reduce_sums

__all__ = ["angular"]


@in_float32
def angular(
    z: Tensor,
    labels: Tensor,
    *,
    degrees: float = 40.0,
    reduction: Reduction = "mean",
    mined: Mined | None = None,
    across_ranks: bool = True,
) -> Tensor:
    r"""Angular loss of every anchor a with every positive p, against all negatives n.

    .. math::
        L_{ap} = \log \Bigl(1 + \sum_n e^{f_{apn}}\Bigr), \qquad
        f_{apn} = 4 \tan^2 \alpha \, (x_a + x_p) \cdot x_n - 2 (1 + \tan^2 \alpha) \, x_a \cdot x_p

    The paper's form over a batch (section 3.3, "N-pair & angular"), for any number of rows per class. Time grows with
    the number of positive pairs times N, memory with N.

    Args:
        z: (N, D) float; normalised here.
        labels: (N,) integer.
        degrees: alpha in (0, 90), the largest angle wanted at the negative; pytorch-metric-learning's 40 lies between
            the paper's 36 and 45.
        reduction: "mean" over pairs (a, p), "sum", or "none" for (N,), each anchor's mean.
        mined: the pairs that count, from a miner; None: all.
        across_ranks: whether all ranks' rows are positives and negatives.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". 0 where no anchor has a positive and a
        negative.

    Raises:
        InputError: shapes, types or the angle are wrong.
    """
    require(0 < degrees < 90, "angular", "degrees", "in (0, 90)", degrees)
    batch = gathered("angular", z, labels, across_ranks, prepare=unit, mined=mined)
    tan2 = math.tan(math.radians(degrees)) ** 2
    anchor, positive = batch.positive_pairs()

    def block(rows: slice, anchor: Tensor, positive: Tensor, own: Tensor, everyone: Tensor) -> tuple[Tensor, ...]:
        a, p = own[anchor], everyone[positive]
        negative = batch.labels[anchor, None] != batch.classes[None]
        if mined is not None:
            negative = negative & mined.negative[anchor]
        rest = masked_logsumexp(4 * tan2 * (a + p) @ everyone.T, negative)
        return log1p_exp(rest - 2 * (1 + tan2) * (a * p).sum(1)), negative.any(1)

    values, valid = by_blocks(block, [anchor, positive], [batch.z, batch.everyone], len(batch.everyone))
    sums = torch.zeros_like(batch.z[:, 0]).index_add(0, anchor, torch.where(valid, values, 0))
    counts = torch.zeros_like(sums).index_add(0, anchor, valid.to(sums.dtype))
    return reduce_sums("angular", sums, counts, reduction, across_ranks)
