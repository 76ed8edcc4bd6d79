r"""SigLIP: every pair of the batch is a yes-or-no question of its own; no softmax.

Zhai, Mustafa, Kolesnikov, Beyer, "Sigmoid Loss for Language Image Pre-Training", ICCV 2023,
https://arxiv.org/abs/2303.15343, section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.losses._checks import Reduction, check_embeddings, check_reduction, no_autocast, reduce, unit
from nearfar.losses._engine import row_softplus
from nearfar.losses._scale import check_scalar, scaled
from nearfar.losses._shared import share

__all__ = ["siglip"]


def siglip(
    images: Tensor,
    texts: Tensor,
    *,
    scale: float | Tensor = 10.0,
    bias: float | Tensor = -10.0,
    reduction: Reduction = "mean",
    across_ranks: bool = True,
) -> Tensor:
    r"""SigLIP's loss (section 3.2) for N pairs.

    .. math:: L = -\frac{1}{N} \sum_i \sum_j \log \sigma\big(y_{ij} (t\, x_i \cdot y_j + b)\big),
        \quad y_{ij} = 1 \text{ if } i = j \text{ else } -1

    on normalised x, y. Note the sum over j: "mean" divides by N, not by N^2. Memory grows with N * D.

    Args:
        images: (N, D) float embeddings of one side; need not be normalised.
        texts: (N, D) embeddings of the other side, row i belonging to row i of ``images``.
        scale: t > 0, a number or a scalar tensor that may carry gradient; the paper learns log t, from t = 10.
        bias: b, likewise; the paper learns it, from -10, which makes up for the many negatives at the start.
        reduction: "mean" over the N rows, "sum", or "none" for (N,): each image's sum over all texts.
        across_ranks: whether all ranks' texts are questions to each image; ranks may have different N.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". A batch of one pair has only its positive.

    Raises:
        InputError: shapes, types, scale or bias are wrong, or (on the CPU) a value is not finite.
    """
    check_embeddings("siglip", images=images, texts=texts)
    check_reduction("siglip", reduction)
    check_scalar("siglip", "scale", scale, positive=True)
    check_scalar("siglip", "bias", bias, positive=False)
    with no_autocast(images.device):
        x, y = unit(images), unit(texts)
        one = torch.ones_like(x[:, :1])
        # One more column holds the bias: (t x, b) . (y, 1) = t x.y + b.
        x = torch.cat([scaled(x, scale), scaled(one, bias)], 1)
        y = torch.cat([y, one.to(y.dtype)], 1)
        positive = (x * y).sum(1)
        # log s(l) = l - softplus(l) and log s(-l) = -softplus(l)
        values = row_softplus(x, share(y, across_ranks).rows, scale=1.0) - positive
        return reduce(values, reduction, across_ranks=across_ranks)
