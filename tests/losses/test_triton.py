"""The Triton kernels: under Triton's interpreter anywhere, compiled where there is a CUDA device."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nearfar import losses
from nearfar.losses._engine import using

ROOT = Path(__file__).parents[2]


def test_kernels_agree_with_the_plain_formula_under_the_interpreter() -> None:
    pytest.importorskip("triton", reason="triton is not installed, as on platforms without CUDA wheels")
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.losses.triton_check"],
        env={**os.environ, "TRITON_INTERPRET": "1"}, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "kernels agree" in result.stdout


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("n", [1, 200, 1000])
def test_kernels_agree_with_the_plain_formula_on_cuda(n: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, 128, generator=generator).to("cuda", dtype) for _ in range(2))
    results = []
    for way in ("triton", "tiled", "plain"):
        a, b = x.clone().requires_grad_(), y.clone().requires_grad_()
        with using(way):
            value = losses.nt_xent(a, b)
            results.append((value.item(), torch.cat(torch.autograd.grad(value, [a, b])).float()))
    tolerance = 1e-4 if dtype == torch.float32 else 2e-2
    for value, gradient in results[:-1]:
        assert value == pytest.approx(results[-1][0], rel=tolerance, abs=tolerance)
        assert (gradient - results[-1][1]).norm() <= tolerance * results[-1][1].norm() + tolerance
