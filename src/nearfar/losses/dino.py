r"""DINO: the student matches the teacher's centred and sharpened distribution over outputs, view by view.

Caron, Touvron, Misra, Jégou, Mairal, Bojanowski, Joulin, "Emerging Properties in Self-Supervised Vision Transformers",
ICCV 2021, https://arxiv.org/abs/2104.14294.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import check_embeddings, check_finite, check_positive, in_float32, reduce
from nearfar.losses._moments import row_count, total

__all__ = ["dino", "dino_center"]


def dino(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    center: Tensor,
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
    across_ranks: bool = True,
) -> Tensor:
    r"""DINO over all pairs of a teacher's view and a different view of the student.

    .. math::
        L &= \frac{1}{|\{t \neq s\}|} \sum_{t} \sum_{s \neq t} H(P_t, P_s), \qquad H(a, b) = - a \log b
        \quad \text{(eq. 2, 3)} \\
        P_t &= \mathrm{softmax}((g_t - c) / \tau_t), \qquad P_s = \mathrm{softmax}(g_s / \tau_s) \quad \text{(eq. 1)}

    View number i of the teacher is view number i of the student: the global crops come first in both. The sum of eq. 3
    is divided by its number of terms, as in the published code. The teacher gets no gradient. Centring alone leads to
    the uniform distribution (loss ln K), sharpening alone to one output (loss 0): both are needed. Call `dino_center`
    after the loss.

    Args:
        student: S tensors (N, K) float, the student's outputs g_s; or one (S, N, K) tensor.
        teacher: T tensors (N, K), the teacher's outputs g_t; or one (T, N, K) tensor.
        center: (K,) c; zeros at the start.
        student_temperature: tau_s > 0; 0.1 in the paper.
        teacher_temperature: tau_t > 0; 0.04 in the paper, which warms it up to 0.07 in its longer runs.
        across_ranks: whether the mean is over all ranks' rows, which matters only where ranks differ in N.

    Returns:
        A float32 scalar (float64 for float64 input).

    Raises:
        InputError: shapes, types, values or settings are wrong, or there is no pair of different views.
    """
    _check_views("dino", student=student, teacher=teacher)
    _check_center("dino", center, teacher[0])
    check_positive("dino", student_temperature=student_temperature, teacher_temperature=teacher_temperature)
    pairs = [(t, s) for t in range(len(teacher)) for s in range(len(student)) if t != s]
    require(bool(pairs), "dino", "views", "two or more for the student", len(student), "add a view")
    targets = [_sharpen(g.detach(), center, temperature=teacher_temperature) for g in teacher]
    predictions = [_log_softmax(g, temperature=student_temperature) for g in student]
    values = torch.stack([-(targets[t] * predictions[s]).sum(1) for t, s in pairs]).mean(0)
    return reduce(values, "mean", across_ranks=across_ranks, who="dino")


@torch.no_grad()
def dino_center(
    center: Tensor, teacher: Sequence[Tensor], *, momentum: float = 0.9, across_ranks: bool = True
) -> Tensor:
    r"""Return the centre after one more batch; nothing is changed in place.

    .. math:: c \leftarrow m c + (1 - m) \frac1B \sum_i g_{\theta_t}(x_i) \quad \text{(eq. 4)}

    Args:
        center: (K,) float c.
        teacher: T tensors (N, K) float, the teacher's outputs for all its views; or one (T, N, K) tensor.
        momentum: m in [0, 1]; 0.9 in the paper.
        across_ranks: whether the mean is over all ranks' rows, counted one by one where ranks differ in N.

    Returns:
        (K,), of ``center``'s type.

    Raises:
        InputError: shapes, types, values or settings are wrong.
    """
    _check_views("dino_center", teacher=teacher)
    _check_center("dino_center", center, teacher[0])
    require(0 <= momentum <= 1, "dino_center", "momentum", "in [0, 1]", momentum)
    rows = row_count("dino_center", teacher[0], across_ranks) * len(teacher)
    wide = torch.float64 if teacher[0].dtype == torch.float64 else torch.float32
    mean = total(torch.stack([g.sum(0, dtype=wide) for g in teacher]).sum(0), across_ranks) / rows
    return (momentum * center + (1 - momentum) * mean).to(center.dtype)


@in_float32
def _sharpen(outputs: Tensor, center: Tensor, *, temperature: float) -> Tensor:
    return torch.softmax((outputs - center.detach()) / temperature, 1)


@in_float32
def _log_softmax(outputs: Tensor, *, temperature: float) -> Tensor:
    return torch.log_softmax(outputs / temperature, 1)


def _check_views(who: str, **sides: Sequence[Tensor]) -> None:
    views: dict[str, Tensor] = {}
    for name, side in sides.items():
        require(len(side) >= 1, who, name, "one view or more", len(side))
        views |= {f"{name}[{i}]": view for i, view in enumerate(side)}
    check_embeddings(who, same_rows=True, **views)


def _check_center(who: str, center: Tensor, outputs: Tensor) -> None:
    shape = (outputs.shape[1],)
    ok = center.is_floating_point() and tuple(center.shape) == shape
    require(ok, who, "center", f"a float tensor of shape {shape}", f"{center.dtype} {tuple(center.shape)}")
    check_finite(who, center=center)
