r"""Classifiers with a margin: every class has a weight vector, and the sample must beat the others by an angle or
cosine.

Pure functions of embeddings, labels and weights; `nearfar.losses.proxies.Proxies` holds the weights where they are
learned. One row does not see another, so nothing is gathered over ranks.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import (
    Reduction,
    check_embeddings,
    check_labels,
    check_positive,
    in_float32,
    reduce,
    unit,
)
from nearfar.losses._pairs import check_range
from nearfar.losses.tuplet_margin import sine

__all__ = ["arcface", "cosface", "normalized_softmax", "sphereface", "sub_center_arcface"]


@in_float32
def normalized_softmax(
    z: Tensor, labels: Tensor, weight: Tensor, *, temperature: float = 0.05, reduction: Reduction = "mean"
) -> Tensor:
    r"""Cross-entropy of cosines.

    .. math:: L = -\log \frac{e^{\cos(x, w_y) / \tau}}{\sum_c e^{\cos(x, w_c) / \tau}}

    Zhai, Wu, "Classification is a Strong Baseline for Deep Metric Learning", BMVC 2019,
    https://arxiv.org/abs/1811.12649.

    Args:
        z: (N, D) float; need not be normalised.
        labels: (N,) integer in [0, C).
        weight: (C, D), need not be normalised.
        temperature: tau > 0; 0.05 is the paper's.
        reduction: "mean" over rows, "sum", or "none" for (N,).

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none".

    Raises:
        InputError: shapes, types, labels or the temperature are wrong.
    """
    check_positive("normalized_softmax", temperature=temperature)
    cosine = _cosines("normalized_softmax", z, labels, weight)
    return reduce(F.cross_entropy(cosine / temperature, labels, reduction="none"), reduction)


@in_float32
def arcface(
    z: Tensor,
    labels: Tensor,
    weight: Tensor,
    *,
    margin: float = 0.5,
    scale: float = 64.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""ArcFace: the angle to the own class's weight counts as larger by m.

    .. math:: L = -\log \frac{e^{s \cos(\theta_y + m)}}{e^{s \cos(\theta_y + m)} + \sum_{c \neq y} e^{s \cos \theta_c}}

    Deng, Guo, Yang, Xue, Kotsia, Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR
    2019, https://arxiv.org/abs/1801.07698, eq. 3. Beyond theta_y = pi - m, where the cosine would rise again, it is
    replaced by cos(theta_y) - m sin(m), as the authors' code does.

    Args:
        z: (N, D) float; need not be normalised.
        labels: (N,) integer in [0, C).
        weight: (C, D), need not be normalised.
        margin: m in radians, in [0, pi); 0.5 is the paper's.
        scale: s > 0; 64 is the paper's.
        reduction: "mean" over rows, "sum", or "none" for (N,).

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none".

    Raises:
        InputError: shapes, types, labels or a number are wrong.
    """
    return _arc("arcface", _cosines("arcface", z, labels, weight), labels, margin, scale, reduction)


@in_float32
def sub_center_arcface(
    z: Tensor,
    labels: Tensor,
    weight: Tensor,
    *,
    margin: float = 0.5,
    scale: float = 64.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""ArcFace with K weights per class, of which the nearest counts: noisy rows gather at a centre of their own.

    .. math:: \cos \theta_c = \max_k \cos(x, w_{ck})

    Deng, Guo, Liu, Gong, Zafeiriou, "Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web Faces",
    ECCV 2020, https://www.ecva.net/papers/eccv_2020/papers_ECCV/papers/123560715.pdf, section 3.2.

    Args:
        z: (N, D) float; need not be normalised.
        labels: (N,) integer in [0, C).
        weight: (C, K, D), need not be normalised; K = 3 in the paper.
        margin: m in radians, in [0, pi); 0.5 is the paper's.
        scale: s > 0; 64 is the paper's.
        reduction: "mean" over rows, "sum", or "none" for (N,).

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none".

    Raises:
        InputError: shapes, types, labels or a number are wrong.
    """
    who = "sub_center_arcface"
    cosine = center_cosines(who, z, labels, weight).amax(2)
    return _arc(who, cosine, labels, margin, scale, reduction)


@in_float32
def cosface(
    z: Tensor,
    labels: Tensor,
    weight: Tensor,
    *,
    margin: float = 0.35,
    scale: float = 64.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""CosFace: the cosine with the own class's weight counts as smaller by m.

    .. math::
        L = -\log \frac{e^{s (\cos \theta_y - m)}}{e^{s (\cos \theta_y - m)} + \sum_{c \neq y} e^{s \cos \theta_c}}

    Wang, Wang, Zhou, Ji, Gong, Zhou, Li, Liu, "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018,
    https://arxiv.org/abs/1801.09414, eq. 4.

    Args:
        z: (N, D) float; need not be normalised.
        labels: (N,) integer in [0, C).
        weight: (C, D), need not be normalised.
        margin: m in [0, 2); 0.35 is the paper's.
        scale: s > 0; 64 is the paper's.
        reduction: "mean" over rows, "sum", or "none" for (N,).

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none".

    Raises:
        InputError: shapes, types, labels or a number are wrong.
    """
    require(0 <= margin < 2, "cosface", "margin", "a difference of cosines, in [0, 2)", margin)
    check_positive("cosface", scale=scale)
    cosine = _cosines("cosface", z, labels, weight)
    logits = _replace(cosine, labels, lambda own: own - margin)
    return reduce(F.cross_entropy(logits * scale, labels, reduction="none"), reduction)


@in_float32
def sphereface(
    z: Tensor,
    labels: Tensor,
    weight: Tensor,
    *,
    margin: int = 4,
    blend: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""SphereFace (A-Softmax): the angle to the own class's weight counts m-fold.

    .. math::
        L &= -\log \frac{e^{\lVert x \rVert \psi(\theta_y)}}
            {e^{\lVert x \rVert \psi(\theta_y)} + \sum_{c \neq y} e^{\lVert x \rVert \cos \theta_c}} \\
        \psi(\theta) &= (-1)^k \cos(m \theta) - 2k, \quad \theta \in [k \pi / m, (k + 1) \pi / m]

    Liu, Wen, Yu, Li, Raj, Song, "SphereFace: Deep Hypersphere Embedding for Face Recognition", CVPR 2017,
    https://arxiv.org/abs/1704.08063, eq. 7. Weights are normalised, embeddings are not: their length is the scale.

    Args:
        z: (N, D) float, with the length the caller gives it.
        labels: (N,) integer in [0, C).
        weight: (C, D), normalised here.
        margin: m >= 1, a whole number; 4 is the paper's.
        blend: lambda >= 0: (psi + lambda cos) / (1 + lambda) in place of psi. The authors anneal it from 1,000 to 5 so
            that training starts at all; the equation has 0.
        reduction: "mean" over rows, "sum", or "none" for (N,).

    Returns:
        A float32 scalar (float64 for float64 input), or (N,) for "none".

    Raises:
        InputError: shapes, types, labels or a number are wrong.
    """
    require(isinstance(margin, int) and margin >= 1, "sphereface", "margin", "a whole number >= 1", margin)
    require(0 <= blend < math.inf, "sphereface", "blend", "finite and >= 0", blend)
    cosine = _cosines("sphereface", z, labels, weight)

    def own(x: Tensor) -> Tensor:
        # The Chebyshev polynomial is cos(m theta) without an arc cosine, whose slope is infinite at 0.
        before, multiple = torch.ones_like(x), x
        for _ in range(margin - 1):
            before, multiple = multiple, 2 * x * multiple - before
        k = (x.detach().clamp(-1, 1).acos() * margin / math.pi).floor().clamp(max=margin - 1)
        psi = (1 - 2 * (k % 2)) * multiple - 2 * k
        return (psi + blend * x) / (1 + blend)

    length = torch.linalg.vector_norm(z, dim=1, keepdim=True)
    logits = _replace(cosine, labels, own) * length
    return reduce(F.cross_entropy(logits, labels, reduction="none"), reduction)


def center_cosines(who: str, z: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Return the (N, C, K) cosines with K centres per class.

    Raises:
        InputError: shapes, types or labels are wrong.
    """
    shape = tuple(weight.shape)
    require(weight.ndim == 3 and min(shape) >= 1, who, "weight", "of shape (C, K, D) with C, K >= 1", shape)
    flat = weight.flatten(0, 1)
    check_classes(who, z, labels, flat, classes=shape[0])
    return (unit(z) @ unit(flat).T).view(len(z), *shape[:2])


def check_classes(who: str, z: Tensor, labels: Tensor, weight: Tensor, *, classes: int) -> None:
    """Require embeddings, labels in [0, classes) and weights that fit them.

    Raises:
        InputError: when they do not.
    """
    check_embeddings(who, z=z)
    check_embeddings(who, z=z, weight=weight, same_rows=False)
    check_labels(who, labels, len(z))
    check_range(who, labels, classes)


def _cosines(who: str, z: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    check_classes(who, z, labels, weight, classes=len(weight))
    return unit(z) @ unit(weight).T


def _replace(cosine: Tensor, labels: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Replace every row's own-class entry by a function of it."""
    own = cosine.gather(1, labels[:, None])
    return cosine.scatter(1, labels[:, None], function(own))


def _arc(who: str, cosine: Tensor, labels: Tensor, margin: float, scale: float, reduction: Reduction) -> Tensor:
    require(0 <= margin < math.pi, who, "margin", "an angle in [0, pi)", margin)
    check_positive(who, scale=scale)

    def own(x: Tensor) -> Tensor:
        turned = x * math.cos(margin) - sine(x) * math.sin(margin)
        return torch.where(x > -math.cos(margin), turned, x - margin * math.sin(margin))

    logits = _replace(cosine, labels, own)
    return reduce(F.cross_entropy(logits * scale, labels, reduction="none"), reduction)
