"""Two ranks with uneven batches give the values and gradients of one process on the global batch."""

from __future__ import annotations

import torch

from tests.losses.negative_free_ranks import SIZES, compute, compute_on_rank
from tests.ranks import run_on_ranks


def test_two_ranks_equal_one_process() -> None:
    one = compute(slice(0, sum(SIZES)), 1)
    ranks = run_on_ranks(compute_on_rank, len(SIZES))
    codes = torch.cat([result.pop("codes") for result in ranks])
    torch.testing.assert_close(codes, one.pop("codes"), rtol=1e-9, atol=1e-12)
    wrong = {
        (name, rank): float((result[name] - expected).abs().max())
        for rank, result in enumerate(ranks)
        for name, expected in one.items()
        if not torch.allclose(result[name].double(), expected.double(), rtol=1e-8, atol=1e-9)
    }
    assert not wrong
    gradients = [expected for name, expected in one.items() if name.endswith("gradient")]
    assert len(gradients) > 20
    assert all(gradient.abs().max() > 1e-6 for gradient in gradients)
