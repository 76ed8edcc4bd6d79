"""NT-Xent with older projections among the negatives, as SimCLRv2's memory has them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nearfar.errors import InputError
from nearfar.losses import nt_xent
from nearfar.losses._engine import Way, using
from tests.losses.reference import cosine, log_sum

TAU = 0.3


def rows(n: int, seed: int) -> Tensor:
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def loop(z1: Tensor, z2: Tensor, queue: Tensor) -> Tensor:
    z, n, values = torch.cat([z1, z2]), len(z1), []
    for i in range(2 * n):
        logits = [cosine(z[i], z[k]) / TAU for k in range(2 * n) if k != i] + [cosine(z[i], q) / TAU for q in queue]
        values.append(log_sum(logits) - cosine(z[i], z[(i + n) % (2 * n)]) / TAU)
    return torch.stack(values)


@pytest.mark.parametrize("way", ["plain", "tiled"])
@pytest.mark.parametrize("n", [1, 4])
def test_every_anchor_has_the_queue_among_its_negatives(way: Way, n: int) -> None:
    z1, z2, queue = rows(n, 0).requires_grad_(), rows(n, 1).requires_grad_(), rows(5, 2).requires_grad_()
    with using(way):
        got = nt_xent(z1, z2, queue=queue, temperature=TAU, reduction="none")
    wanted = loop(z1, z2, queue.detach())
    torch.testing.assert_close(got, wanted)
    got_gradients = torch.autograd.grad(got.square().sum(), (z1, z2))
    wanted_gradients = torch.autograd.grad(wanted.square().sum(), (z1, z2))
    torch.testing.assert_close(got_gradients, wanted_gradients)
    with pytest.raises(RuntimeError, match="not have been used"):
        torch.autograd.grad(nt_xent(z1, z2, queue=queue).square(), queue)


def test_a_queue_of_another_width_is_refused() -> None:
    with pytest.raises(InputError, match=r"nt_xent: queue must be of the same D as z1 \(6\)"):
        nt_xent(rows(3, 0), rows(3, 1), queue=torch.zeros(4, 5, dtype=torch.float64))
