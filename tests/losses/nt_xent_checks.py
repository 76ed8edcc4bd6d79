"""What any NT-Xent must satisfy, as functions of the implementation, so that wrong ones can be shown to fail."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tests.losses import reference

Loss = Callable[[Tensor, Tensor, float], Tensor]


def views(n: int = 4, dim: int = 8) -> tuple[Tensor, Tensor]:
    grid = torch.arange(n * dim, dtype=torch.float64).reshape(n, dim)
    return torch.sin(grid + 1.0), torch.cos(0.7 * grid + 0.3)


def check_golden_values(loss: Loss) -> None:
    torch.testing.assert_close(loss(*views(), 0.1).item(), 5.317472609887895)
    torch.testing.assert_close(loss(*views(), 0.5).item(), 2.099554639293734)


def check_loop(loss: Loss) -> None:
    z1, z2 = (z.requires_grad_() for z in views(5, 3))
    wanted = torch.stack(reference.nt_xent(z1, z2, 0.3)).mean()
    got = loss(z1, z2, 0.3)
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(torch.autograd.grad(got, [z1, z2]), torch.autograd.grad(wanted, [z1, z2]))


def check_equal_embeddings(loss: Loss) -> None:
    z = torch.ones(6, 3, dtype=torch.float64)
    torch.testing.assert_close(loss(z, z, 0.1).item(), math.log(11))


def check_orthogonal_clusters(loss: Loss) -> None:
    z = torch.eye(2, dtype=torch.float64).repeat_interleave(3, 0)
    torch.testing.assert_close(loss(z, z, 0.5).item(), math.log(5 + 6 * math.exp(-2)))


def check_one_pair_is_zero(loss: Loss) -> None:
    z1, z2 = views(1, 3)
    torch.testing.assert_close(loss(z1, z2, 0.1).item(), 0.0)


def check_norms_do_not_matter(loss: Loss) -> None:
    z1, z2 = views()
    sizes = torch.tensor([[0.1], [3.0], [20.0], [1.0]], dtype=torch.float64)
    torch.testing.assert_close(loss(z1 * sizes, z2 / sizes, 0.1), loss(z1, z2, 0.1))


def check_views_are_interchangeable(loss: Loss) -> None:
    z1, z2 = views()
    torch.testing.assert_close(loss(z1, z2, 0.2), loss(z2, z1, 0.2))


CHECKS = [
    check_golden_values,
    check_loop,
    check_equal_embeddings,
    check_orthogonal_clusters,
    check_one_pair_is_zero,
    check_norms_do_not_matter,
    check_views_are_interchangeable,
]
