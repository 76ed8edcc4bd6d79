r"""CLIP: match two modalities by a softmax over the batch, in both directions.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
https://arxiv.org/abs/2103.00020, figure 3.
"""

from __future__ import annotations

from torch import Tensor

from nearfar.losses._checks import Reduction, check_embeddings, check_reduction, no_autocast, reduce, unit
from nearfar.losses._engine import both_logsumexp, row_logsumexp
from nearfar.losses._scale import check_scalar, scaled
from nearfar.losses._shared import share

__all__ = ["clip"]


def clip(
    images: Tensor,
    texts: Tensor,
    *,
    scale: float | Tensor = 1 / 0.07,
    reduction: Reduction = "mean",
    across_ranks: bool = True,
) -> Tensor:
    r"""CLIP's loss (figure 3) for N pairs from two modalities.

    .. math:: L = \frac{1}{2N} \sum_i \Big[ -\log \frac{\exp(t\, x_i \cdot y_i)}{\sum_j \exp(t\, x_i \cdot y_j)}
        - \log \frac{\exp(t\, x_i \cdot y_i)}{\sum_j \exp(t\, x_j \cdot y_i)} \Big]

    on normalised x, y. Memory grows with N * D.

    Args:
        images: (N, D) float embeddings of one modality; need not be normalised.
        texts: (N, D) embeddings of the other, row i belonging to row i of ``images``.
        scale: t > 0, a number or a scalar tensor that may carry gradient. The paper learns log t, from t = 1 / 0.07,
            clipped so that t <= 100.
        reduction: "mean" over the pairs, "sum", or "none" for (N,): each pair's mean of both directions.
        across_ranks: whether all ranks' rows are candidates; ranks may have different N.

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none". A batch of one pair gives 0.

    Raises:
        InputError: shapes, types or the scale are wrong, or (on the CPU) a value is not finite.
    """
    check_embeddings("clip", images=images, texts=texts)
    check_reduction("clip", reduction)
    check_scalar("clip", "scale", scale, positive=True)
    with no_autocast(images.device):
        y = unit(texts)
        x = scaled(unit(images), scale)
        positive = (x * y).sum(1)
        texts_all = share(y, across_ranks)
        if texts_all.others is None:
            row, col = both_logsumexp(x, y, scale=1.0)
        else:
            row = row_logsumexp(x, texts_all.rows, scale=1.0)
            # The scale stays with this rank's rows: its gradient is this rank's share.
            col = row_logsumexp(scaled(y, scale), share(unit(images), across_ranks).rows, scale=1.0)
        return reduce((row + col) / 2 - positive, reduction, across_ranks=across_ranks)
