"""Two ranks with uneven batches give the values and gradients of one process on the global batch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.losses.negative_free_ranks import SIZES, compute


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("ranks")
    root = Path(__file__).parents[2]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.losses.negative_free_ranks", str(rank), str(folder)],
            cwd=root,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(len(SIZES))
    ]
    try:
        errors = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, error in zip(processes, errors, strict=True):
        assert process.returncode == 0, error
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(len(SIZES))]


@pytest.fixture(scope="module")
def one() -> dict[str, Tensor]:
    return compute(slice(0, sum(SIZES)), 1)


def test_two_ranks_equal_one_process(ranks: list[dict[str, Tensor]], one: dict[str, Tensor]) -> None:
    codes = torch.cat([result.pop("codes") for result in ranks])
    torch.testing.assert_close(codes, one.pop("codes"), rtol=1e-9, atol=1e-12)
    wrong = {
        name: (float((result[name] - expected).abs().max()), rank)
        for rank, result in enumerate(ranks)
        for name, expected in one.items()
        if not torch.allclose(result[name].double(), expected.double(), rtol=1e-8, atol=1e-9)
    }
    assert not wrong
    gradients = [expected for name, expected in one.items() if name.endswith("gradient")]
    assert len(gradients) > 20
    assert all(gradient.abs().max() > 1e-6 for gradient in gradients)
