"""The Triton back end: its arithmetic through the interpreter, its compilation for a GPU not here, and on a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nearfar.views import VIEWS, apply, draw, reference
from tests.views.interpreted import CASES
from tests.views.pictures import assert_close, scenes

triton = pytest.importorskip("triton")

ROOT = Path(__file__).resolve().parents[2]


def run(code, **environment):
    result = subprocess.run(
        [sys.executable, "-W", "ignore", *code], check=False, capture_output=True, text=True, timeout=280, cwd=ROOT,
        env=os.environ | environment,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_interpreted_kernels_make_what_the_reference_makes():
    said = run(["-m", "tests.views.interpreted"], TRITON_INTERPRET="1")
    assert [line.partition(":")[0] for line in said.splitlines()] == list(CASES)


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from nearfar.views import cuda
types = dict.fromkeys(["height", "width", "taps", "stride_n", "stride_c", "stride_y", "stride_x"], "i32")
types |= {"images": "*u8", "views": "*bf16", "integers": "*i32", "fill": "fp32", "threshold": "fp32"}
def check(kernel, channels, **options):
    fixed = {"S": 24, "C": channels, "CP": triton.next_power_of_2(channels), "BLOCK": 256, "TILES": 3, "TP": 4}
    fixed |= {"ADD": False, "MATRIX": False, "CUBIC": True, "COLOR": True, "REFLECT": True, "BLURS": True} | options
    constants = {name: fixed[name] for name in kernel.arg_names if name in fixed}
    types_ = {name: "constexpr" if name in constants else types.get(name, "*fp32") for name in kernel.arg_names}
    source = ASTSource(kernel, types_, constexprs=constants)
    assert triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["cubin"]
for kernel in (cuda._resize, cuda._move, cuda._color, cuda._blur_rows, cuda._finish):
    check(kernel, 3)
check(cuda._finish, 3, BLURS=False)
check(cuda._finish, 5, BLURS=False, MATRIX=True, ADD=True)
check(cuda._resize, 1, MATRIX=True, CUBIC=False)
check(cuda._move, 1, REFLECT=False)
"""


def test_kernels_compile_for_a_gpu(tmp_path):
    """The interpreter takes more than the compiler does."""
    run(["-c", COMPILE], TRITON_CACHE_DIR=str(tmp_path))


@pytest.mark.gpu
@pytest.mark.parametrize("name", VIEWS.names())
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_recipes_on_a_gpu(name, channels):
    images = torch.from_numpy(np.stack(scenes([(70, 90)] * 8, channels))).cuda()
    rng = np.random.default_rng(0)
    for view in dict.fromkeys(VIEWS.get(name)(64)):
        plan = draw(view, [(70, 90)] * 8, rng, channels=channels)
        got = apply(plan, images)
        assert got.device == images.device
        assert_close(view, got.cpu(), reference.run(plan, images.cpu()))
        assert_close(view, apply(plan, images, backend="reference").cpu(), reference.run(plan, images.cpu()))
