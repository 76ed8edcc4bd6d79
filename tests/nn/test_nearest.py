from __future__ import annotations

import importlib

import pytest
import torch
from torch.nn import functional as F

from nearfar.errors import InputError
from nearfar.nn import nearest


def rows(n: int, dim: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


def test_every_row_gets_the_key_at_the_smallest_distance_at_length_1() -> None:
    z, keys = rows(9), 3 * rows(20, seed=1)
    found = nearest(z, keys)
    for one, row in zip(z, found, strict=True):
        distances = [(F.normalize(one, dim=0) - F.normalize(key, dim=0)).norm().item() for key in keys]
        assert torch.equal(row, keys[distances.index(min(distances))])


def test_blocks_give_what_one_block_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    z, keys = rows(9), rows(20, seed=1)
    whole = nearest(z, keys)
    module = importlib.import_module("nearfar.nn.nearest")  # the package has a function of that name
    monkeypatch.setattr(module, "_ENTRIES", 45)  # two rows at a time
    assert torch.equal(nearest(z, keys), whole)


def test_without_keys_the_rows_themselves_come_back_without_gradient() -> None:
    z = rows(3).requires_grad_()
    found = nearest(z, torch.zeros(0, 5))
    assert torch.equal(found, z)
    assert not found.requires_grad
    assert not nearest(z, rows(4, seed=1)).requires_grad


def test_of_equal_keys_the_first_counts() -> None:
    keys = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    assert torch.equal(nearest(torch.tensor([[3.0, 0.1]]), keys), keys[:1])


def test_under_autocast_similarities_are_float32() -> None:
    # at half precision both keys have the cosine 1
    keys = F.normalize(torch.tensor([[1.0, 0.0, 0.01], [1.0, 0.01, 0.01]]), dim=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(nearest(torch.tensor([[1.0, 0.01, 0.01]]), keys), keys[1:])


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"nearest: keys must be \(R, D\) for z of \(N, D\)"):
        nearest(rows(3), rows(3, dim=4))
