"""The tiled engine equals the plain formula in value and gradient, and never holds the matrix."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nearfar import losses
from nearfar.errors import InputError
from nearfar.losses import _engine, _plain, _tiled
from nearfar.losses._checks import unit
from nearfar.losses._engine import using
from nearfar.losses._hide import Hide
from tests.losses.softmax_cases import CASES, rows

ENGINE = [name for name, case in CASES.items() if case.engine]


def value_and_gradient(name: str, way: str, inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    x, y, more, ids = inputs
    x, y = (t.detach().clone().requires_grad_() for t in (x, y))
    with using(way):
        value = CASES[name].loss(x, y, more, ids)
        gradients = torch.autograd.grad(value, [x, y])
    return value.detach(), torch.cat(gradients)


def assert_same(got: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor], rtol: float) -> None:
    assert (got[0] - wanted[0]).abs() <= rtol * wanted[0].abs().clamp(min=1.0)
    scale = wanted[1].float().norm()
    # The floor is float32's rounding of single terms, for gradients that are 0 in truth.
    assert (got[1].float() - wanted[1].float()).norm() <= rtol * scale + 3e-6
    assert got[1].isfinite().all()


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(ENGINE),
    n=st.integers(1, 19),
    side=st.integers(1, 12),
    dim=st.just(4),
    seed=st.integers(0, 99),
)
def test_tiled_equals_plain_for_any_size(
    name: str, n: int, side: int, dim: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tiled, "_SIDE", side)
    inputs = rows(n, seed=seed, dtype=torch.float32, dim=dim)
    assert_same(value_and_gradient(name, "tiled", inputs), value_and_gradient(name, "plain", inputs), 1e-5)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(1, 30),
    candidates=st.one_of(st.none(), st.integers(1, 30)),
    side=st.integers(1, 32),
    dim=st.integers(1, 40),
    tau=st.sampled_from([0.01, 0.02, 0.05, 0.1, 1.0, 10.0]),
    hidden=st.sampled_from([(), (0,), (0, 3, -3)]),
    seed=st.integers(0, 99),
)
def test_row_statistics_equal_the_plain_ones(
    n: int,
    candidates: int | None,
    side: int,
    dim: int,
    tau: float,
    hidden: tuple[int, ...],
    seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_tiled, "_SIDE", side)
    generator = torch.Generator().manual_seed(seed)
    a = unit(torch.randn(n, dim, generator=generator)).requires_grad_()
    b = None if candidates is None else unit(torch.randn(candidates, dim, generator=generator)).requires_grad_()
    weight = torch.rand(n, generator=generator) + 0.5
    leaves = [tensor for tensor in (a, b) if tensor is not None]
    results = []
    for module in (_tiled, _plain):
        out = module.row_logsumexp(a, b, 1 / tau, Hide(hidden))
        total = torch.where(out.isneginf(), 0, out * weight).sum()
        results.append((out.detach(), torch.cat(torch.autograd.grad(total, leaves))))
    (got, gradient), (wanted, wanted_gradient) = results
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
    assert (gradient - wanted_gradient).norm() <= 1e-5 * wanted_gradient.norm() + 1e-6


@pytest.mark.parametrize("tau", [0.01, 0.1])
@pytest.mark.parametrize("n", [511, 512, 513])
def test_real_tile_boundaries(n: int, tau: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, 24, generator=generator).requires_grad_() for _ in range(2))
    for loss in (
        lambda: losses.nt_xent(x, y, temperature=tau),
        lambda: losses.clip(x, y, scale=1 / tau),
        lambda: losses.sup_con(x, torch.arange(n) // 4, temperature=tau),
    ):
        results = []
        for way in ("tiled", "plain"):
            with using(way):
                value = loss()
                results.append((value.detach(), torch.autograd.grad(value, x)[0]))
        assert_same(results[0], results[1], 1e-5)


@pytest.mark.parametrize("name", [name for name in ENGINE if name != "bilinear_nce"])  # its norms count
@pytest.mark.parametrize("exponent", [-24, -6, 6, 24, 36])
def test_extreme_norms_change_nothing(name: str, exponent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses on directions give the same value at any norm, and a gradient that shrinks as the norm grows."""
    monkeypatch.setattr(_tiled, "_SIDE", 4)
    if "hard negatives" in name or "sup_con" in name:
        inputs = rows(7, dtype=torch.float32)
        far = tuple(t * 10.0**exponent if t.is_floating_point() else t for t in inputs)
    else:
        inputs = rows(7, dtype=torch.float32)
        sizes = 10.0 ** (exponent * torch.linspace(0.5, 1, 7))[:, None]
        far = (inputs[0] * sizes, inputs[1] * sizes.flip(0), *inputs[2:])
    for way in ("tiled", "plain"):
        value, gradient = value_and_gradient(name, way, far)
        wanted, _ = value_and_gradient(name, "plain", inputs)
        torch.testing.assert_close(value, wanted, rtol=1e-5, atol=1e-5)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", ENGINE)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_input_is_computed_in_float32(
    name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tiled, "_SIDE", 4)
    inputs = rows(7, dtype=dtype)
    with torch.autocast("cpu", dtype=dtype):
        value, gradient = value_and_gradient(name, "tiled", inputs)
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    if "negatives" in name or "sup_con" in name or "queue" in name:
        return  # the table adds rows, or rounds the queue, in half precision before the loss
    wide = tuple(t.float() if t.is_floating_point() else t for t in inputs)
    wanted, wanted_gradient = value_and_gradient(name, "plain", wide)
    torch.testing.assert_close(value, wanted, rtol=1e-5, atol=1e-6)
    # One rounding to half precision, of the result.
    assert (gradient.float() - wanted_gradient).norm() <= 4e-3 * wanted_gradient.norm()


def test_float64_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tiled, "_SIDE", 4)
    for name in CASES:
        with using("tiled"):
            assert CASES[name].loss(*rows(6)).dtype == torch.float64


# Dynamo itself looks at .grad of what it traces.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("tau", [0.01, 0.1])
def test_torch_compile(tau: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(150, 8, generator=generator).requires_grad_() for _ in range(2))
    torch.compiler.reset()
    compiled = torch.compile(lambda a, b: losses.nt_xent(a * 1.5, b, temperature=tau) * 2, backend="aot_eager")
    wanted = losses.nt_xent(x * 1.5, y, temperature=tau) * 2
    got = compiled(x, y)
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(torch.autograd.grad(got, [x, y]), torch.autograd.grad(wanted, [x, y]))


class Largest(TorchDispatchMode):
    """Remembers the largest number of elements of any tensor that an operation returns."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.untyped_storage().nbytes() // tensor.element_size())
        return out


@pytest.mark.parametrize("name", [name for name in ENGINE if not name.startswith("multi_label")])
def test_no_tensor_of_the_size_of_the_matrix_is_ever_made(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """multi_label_sup_con is given such a matrix, so it is left out."""
    monkeypatch.setattr(_tiled, "_SIDE", 16)
    n = 150
    with Largest() as largest:
        value_and_gradient(name, "tiled", rows(n, dtype=torch.float32))
    assert 32 * 32 <= largest.elements <= 4 * n * 5
    with Largest() as largest:
        value_and_gradient(name, "plain", rows(n, dtype=torch.float32))
    assert largest.elements >= (n * 5 if "queue alone" in name else n * n)


def test_a_second_derivative_is_refused_rather_than_wrong() -> None:
    x, y, *_ = rows(5)
    x.requires_grad_()
    with using("tiled"):
        value = losses.nt_xent(x, y)
    with pytest.raises(InputError, match="create_graph must be False"):
        torch.autograd.grad(value, x, create_graph=True)


def test_size_chooses_the_way() -> None:
    a, b = torch.zeros(200, 3), torch.zeros(1000, 3)
    assert _engine._way(a[:8], a[:8]) == "plain"
    assert _engine._way(a, a.clone()) == "plain"
    assert _engine._way(a, a) == "tiled"
    assert _engine._way(b, b) == "tiled"
    with using("plain"):
        assert _engine._way(b, b) == "plain"
    assert _engine._way(b, b) == "tiled"


def test_half_of_the_tiles_serve_a_symmetric_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tiled, "_SIDE", 5)
    a = unit(torch.randn(20, 3, generator=torch.Generator().manual_seed(0)))
    halves = list(_tiled._tiles(a, a, 1.0, Hide(), half=True))
    assert [(r.start, c.start) for r, c, _ in halves] == [
        (r, c) for r, c in itertools.product(range(0, 20, 5), repeat=2) if r <= c
    ]
