r"""Proxies: learned points that stand for classes, against which embeddings are compared instead of each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nearfar.distributed import gather, gather_sizes, is_distributed
from nearfar.errors import require
from nearfar.losses._checks import Reduction, check_positive, in_float32, reduce, unit
from nearfar.losses._rows import log1p_exp, masked_logsumexp
from nearfar.losses.classifiers import center_cosines, check_classes
from nearfar.losses.distances import DISTANCES, safe_sqrt

__all__ = ["Proxies", "proxy_anchor", "proxy_nca", "soft_triple"]

Form = Literal["nca", "nca++"]


@in_float32
def proxy_nca(
    z: Tensor,
    labels: Tensor,
    proxies: Tensor,
    *,
    form: Form = "nca++",
    temperature: float | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""ProxyNCA and ProxyNCA++, on squared distances d of unit vectors.

    .. math::
        \text{nca:}   \quad L &= -\log \frac{e^{-d(x, p_y)}}{\sum_{c \neq y} e^{-d(x, p_c)}} \\
        \text{nca++:} \quad L &= -\log \frac{e^{-d(x, p_y) / T}}{\sum_c e^{-d(x, p_c) / T}}

    Movshovitz-Attias, Toshev, Leung, Ioffe, Singh, "No Fuss Distance Metric Learning using Proxies", ICCV 2017,
    https://arxiv.org/abs/1703.07464, whose denominator leaves the own proxy out; the loss may then be negative. Teh,
    DeVries, Taylor, "ProxyNCA++", ECCV 2020, https://arxiv.org/abs/2004.01113.

    Args:
        z: (N, D) float; normalised here.
        labels: (N,) integer in [0, C).
        proxies: (C, D), normalised here; C >= 2 for "nca".
        form: "nca" or "nca++".
        temperature: T > 0; None: 1 for "nca", the paper's 1/9 for "nca++".
        reduction: "mean" over rows, "sum", or "none" for (N,).

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none".

    Raises:
        InputError: shapes, types, labels or a setting are wrong.
    """
    require(form in get_args(Form), "proxy_nca", "form", "'nca' or 'nca++'", repr(form))
    check_classes("proxy_nca", z, labels, proxies, classes=len(proxies))
    require(form == "nca++" or len(proxies) >= 2, "proxy_nca", "proxies", "of at least two classes", len(proxies))
    scale = (1 if form == "nca" else 1 / 9) if temperature is None else temperature
    check_positive("proxy_nca", temperature=scale)
    logits = -DISTANCES["squared_euclidean"].matrix(unit(z), unit(proxies)) / scale
    if form == "nca++":
        return reduce(F.cross_entropy(logits, labels, reduction="none"), reduction)
    own = labels[:, None]
    others = logits.scatter(1, own, -torch.inf).logsumexp(1)
    return reduce(others - logits.gather(1, own)[:, 0], reduction)


@in_float32
def proxy_anchor(
    z: Tensor,
    labels: Tensor,
    proxies: Tensor,
    *,
    alpha: float = 32.0,
    margin: float = 0.1,
    across_ranks: bool = True,
) -> Tensor:
    r"""Proxy-Anchor: every proxy is an anchor, and the batch's rows are its positives and negatives.

    .. math::
        L = \frac{1}{|P^+|} \sum_{p \in P^+} \log \Bigl(1 + \sum_{x \in X_p^+} e^{-\alpha (s(x, p) - \delta)}\Bigr)
          + \frac{1}{|P|} \sum_{p \in P} \log \Bigl(1 + \sum_{x \in X_p^-} e^{\alpha (s(x, p) + \delta)}\Bigr)

    Kim, Kim, Cho, Kwak, "Proxy Anchor Loss for Deep Metric Learning", CVPR 2020, https://arxiv.org/abs/2003.13911, eq.
    4. s is the cosine; P+ are the proxies with a positive in the batch.

    Args:
        z: (N, D) float; need not be normalised.
        labels: (N,) integer in [0, C).
        proxies: (C, D), need not be normalised.
        alpha: > 0; 32 is the paper's.
        margin: delta >= 0; 0.1 is the paper's.
        across_ranks: whether the batch is that of all ranks; the proxies must then be the same on all.

    Returns:
        A float32 scalar (float64 for float64 input).

    Raises:
        InputError: shapes, types, labels or a number are wrong.
    """
    check_classes("proxy_anchor", z, labels, proxies, classes=len(proxies))
    check_positive("proxy_anchor", alpha=alpha)
    require(0 <= margin < 2, "proxy_anchor", "margin", "in [0, 2)", margin)
    z = unit(z)
    if across_ranks and is_distributed():
        sizes = gather_sizes(len(z), z.device)
        z, labels = gather(z, sizes), gather(labels, sizes)
    s = unit(proxies) @ z.T
    positive = torch.arange(len(proxies), device=z.device)[:, None] == labels[None]
    pull = log1p_exp(masked_logsumexp(-alpha * (s - margin), positive))
    push = log1p_exp(masked_logsumexp(alpha * (s + margin), ~positive))
    return pull.sum() / positive.any(1).sum() + push.mean()


@in_float32
def soft_triple(
    z: Tensor,
    labels: Tensor,
    centers: Tensor,
    *,
    scale: float = 20.0,
    gamma: float = 0.1,
    margin: float = 0.01,
    tau: float = 0.2,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""SoftTriple: a softmax over classes of K centres each, and a term that merges centres not needed.

    .. math::
        S_{c} &= \sum_k \frac{e^{x \cdot w_{ck} / \gamma}}{\sum_{k'} e^{x \cdot w_{ck'} / \gamma}} \, x \cdot w_{ck},
        \qquad \ell = -\log \frac{e^{\lambda (S_y - \delta)}}{e^{\lambda (S_y - \delta)} + \sum_{c \neq y} e^{\lambda
        S_c}} \\ L &= \ell + \frac{\tau}{C K (K - 1)} \sum_c \sum_{s < t} \sqrt{2 - 2 w_{cs} \cdot w_{ct}}

    Qian, Shang, Sun, Hu, Li, Jin, "SoftTriple Loss: Deep Metric Learning Without Triplet Sampling", ICCV 2019,
    https://arxiv.org/abs/1909.05235.

    Args:
        z: (N, D) float; normalised here.
        labels: (N,) integer in [0, C).
        centers: (C, K, D), normalised here; K = 10 in the paper.
        scale: lambda > 0; 20 is the paper's.
        gamma: > 0, how hard the choice of a centre is; 0.1 is the paper's.
        margin: delta >= 0; 0.01 is the paper's.
        tau: weight >= 0 of the merging term; 0.2 is the paper's. The term does not depend on rows and is added once,
            or to every row for "none" and "sum".
        reduction: "mean" over rows, "sum", or "none" for (N,).

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none".

    Raises:
        InputError: shapes, types, labels or a number are wrong.
    """
    cosine = center_cosines("soft_triple", z, labels, centers)
    check_positive("soft_triple", scale=scale, gamma=gamma)
    require(margin >= 0, "soft_triple", "margin", ">= 0", margin)
    require(tau >= 0, "soft_triple", "tau", ">= 0", tau)
    similarity = ((cosine / gamma).softmax(2) * cosine).sum(2)
    logits = similarity - margin * F.one_hot(labels, len(centers)).to(similarity.dtype)
    values = F.cross_entropy(scale * logits, labels, reduction="none")
    classes, count, _ = centers.shape
    if tau and count > 1:
        w = unit(centers.flatten(0, 1)).view_as(centers)
        upper = torch.triu_indices(count, count, 1, device=w.device)
        apart = safe_sqrt((w[:, upper[0]] - w[:, upper[1]]).square().sum(2))
        values = values + tau * apart.sum() / (classes * count * (count - 1))
    return reduce(values, reduction)


class Proxies(nn.Module):
    """Learned class vectors for a loss of this module or of `nearfar.losses.classifiers`, or for one of your own.

    They usually want a learning rate some 10 to 100 times that of the encoder. Example::

        head = Proxies(arcface, classes=10, dim=64, margin=0.3)
        loss = head(z, labels)

    Args:
        loss: function of (z, labels, weight, **options) -> scalar.
        classes: number of classes C.
        dim: D.
        centers: K vectors per class, for `soft_triple` and `sub_center_arcface`; None: one, without an axis of its own.
        **options: passed to the loss at every call.

    Attributes:
        weight: (C, D) or (C, K, D) parameter, random unit vectors at first.

    Raises:
        InputError: a number is below 1.
    """

    def __init__(
        self, loss: Callable[..., Tensor], *, classes: int, dim: int, centers: int | None = None, **options: Any
    ) -> None:
        super().__init__()
        for name, value in (("classes", classes), ("dim", dim), ("centers", 1 if centers is None else centers)):
            require(value >= 1, "Proxies", name, ">= 1", value)
        self.loss, self.classes, self.dim, self.centers, self.options = loss, classes, dim, centers, options
        shape = (classes, dim) if centers is None else (classes, centers, dim)
        self.weight = nn.Parameter(F.normalize(torch.randn(shape), dim=-1))

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of (N, D) embeddings with (N,) labels in [0, C)."""
        return self.loss(z, labels, self.weight, **self.options)

    def predict(self, z: Tensor) -> Tensor:
        """Return (N,) the class whose nearest vector has the largest cosine."""
        similarity = F.normalize(z, dim=-1) @ F.normalize(self.weight, dim=-1).flatten(0, -2).T
        return similarity.argmax(1) // (self.centers or 1)
