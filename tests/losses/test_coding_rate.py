"""Total coding rate and EMP-SSL: slow loops in float64, closed forms, gradients, hard input and two ranks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nearfar.errors import InputError
from nearfar.losses import emp_ssl, negative_coding_rate
from tests.losses.negative_free_cases import drawn
from tests.losses.reference_negative_free import Rows, column, cosine, dot, mean, rows
from tests.ranks import run_on_ranks


def log_determinant(matrix: Rows) -> float:
    """Gauss elimination; the matrix is positive definite."""
    a, result = [list(row) for row in matrix], 0.0
    for i in range(len(a)):
        result += math.log(a[i][i])
        for k in range(i + 1, len(a)):
            factor = a[k][i] / a[i][i]
            a[k] = [x - factor * y for x, y in zip(a[k], a[i], strict=True)]
    return result


def loop_rate(z: Tensor, eps: float) -> float:
    u = [[x / math.sqrt(dot(row, row)) for x in row] for row in rows(z)]
    n, d = len(u), len(u[0])
    matrix = [[float(i == j) + d / (n * eps) * dot(column(u, i), column(u, j)) for j in range(d)] for i in range(d)]
    return log_determinant(matrix) / 2


def loop_emp_ssl(views: list[Tensor], similarity: float, coding: float, eps: float) -> float:
    units = [[[x / math.sqrt(dot(row, row)) for x in row] for row in rows(z)] for z in views]
    terms = []
    for view, z in zip(units, views, strict=True):
        cosines = []
        for k, row in enumerate(view):
            centre = [mean([other[k][j] for other in units]) for j in range(len(row))]
            cosines.append(cosine(row, centre))
        terms.append(-coding * loop_rate(z, eps) - similarity * mean(cosines))
    return mean(terms)


@pytest.mark.parametrize(("n", "dim"), [(7, 3), (3, 7), (4, 4), (1, 5)])
def test_both_equal_their_loops_on_either_side_of_the_smaller_matrix(n: int, dim: int) -> None:
    views = [drawn(n, dim, seed=seed) for seed in range(3)]
    assert negative_coding_rate(views[0], eps=0.3).item() == pytest.approx(-loop_rate(views[0], 0.3), rel=1e-10)
    value = emp_ssl(*views, similarity_weight=3.0, coding_weight=0.5, eps=0.3)
    assert value.item() == pytest.approx(loop_emp_ssl(views, 3.0, 0.5, 0.3), rel=1e-10)


def test_closed_forms_of_the_rate_and_of_emp_ssl() -> None:
    eye = torch.eye(6, 4, dtype=torch.float64)[[0, 1, 2, 3, 0, 1, 2, 3]]
    assert negative_coding_rate(3 * eye).item() == pytest.approx(-2 * math.log(1 + 1 / 0.2))
    parallel = torch.ones(8, 4, dtype=torch.float64)
    assert negative_coding_rate(parallel).item() == pytest.approx(-0.5 * math.log(1 + 4 / 0.2))
    assert emp_ssl(eye, 2 * eye).item() == pytest.approx(-200 - 2 * math.log(6.0))


def test_the_scale_of_the_rows_does_not_matter_and_a_spread_batch_is_preferred() -> None:
    z = drawn(9, 5)
    torch.testing.assert_close(negative_coding_rate(z), negative_coding_rate(1e6 * z))
    assert negative_coding_rate(z) < negative_coding_rate(z + 5)


@pytest.mark.parametrize("shape", [(6, 3), (3, 6)])
def test_gradient_is_the_numerical_derivative(shape: tuple[int, int]) -> None:
    views = tuple(drawn(*shape, seed=seed).requires_grad_() for seed in range(2))
    assert torch.autograd.gradcheck(lambda a, b: emp_ssl(a, b, similarity_weight=2.0), views)
    assert torch.autograd.gradcheck(negative_coding_rate, views[:1])


@pytest.mark.parametrize("what", ["equal rows", "zeros", "tiny", "huge", "one row"])
def test_degenerate_batches_are_finite_with_finite_gradients(what: str) -> None:
    a, b = (drawn(6, 40, seed=seed).float() for seed in range(2))
    if what == "equal rows":
        a, b = a[:1].repeat(6, 1), a[:1].repeat(6, 1)
    elif what == "zeros":
        a, b = torch.zeros(6, 40), torch.zeros(6, 40)
    elif what == "one row":
        a, b = a[:1], b[:1]
    else:
        factor = 1e-20 if what == "tiny" else 1e20
        a, b = factor * a, factor * b
    a, b = a.requires_grad_(), b.requires_grad_()
    loss = emp_ssl(a, b) + negative_coding_rate(a)
    loss.backward()
    assert loss.isfinite()
    assert a.grad is not None
    assert a.grad.isfinite().all()


def test_a_large_batch_at_a_small_eps_keeps_float32s_precision() -> None:
    z = drawn(300, 256)
    exact = negative_coding_rate(z, eps=1e-3)
    assert negative_coding_rate(z.float(), eps=1e-3).item() == pytest.approx(exact.item(), rel=1e-5)


def test_half_precision_and_autocast_compute_in_float32() -> None:
    a, b = (drawn(6, 5, seed=seed).bfloat16() for seed in range(2))
    plain = emp_ssl(a.float(), b.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(emp_ssl(a, b), plain)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"eps": 0.0}, "eps"), ({"similarity_weight": -1.0}, "similarity_weight"), ({"coding_weight": -1.0}, "coding_w")],
)
def test_bad_settings_raise_one_sentence_with_the_name(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        emp_ssl(drawn(4, 3), drawn(4, 3), **options)


def test_bad_views_raise_one_sentence() -> None:
    with pytest.raises(InputError, match="two or more"):
        emp_ssl(drawn(4, 3))
    with pytest.raises(InputError, match="as many rows"):
        emp_ssl(drawn(4, 3), drawn(5, 3))
    with pytest.raises(InputError, match="finite"):
        negative_coding_rate(drawn(4, 3) / 0)


SIZES = (5, 2)


def on_rank(rank: int, world: int) -> dict[str, Tensor]:
    """Return losses and gradients of this rank's rows, averaged over ranks, for N above and below D."""
    results = {}
    for dim in (3, 9):
        x = drawn(2, sum(SIZES), dim)
        start = sum(SIZES[:rank])
        own = x if world == 1 else x[:, start : start + SIZES[rank]]
        weight = drawn(dim, dim, seed=4).requires_grad_()
        loss = emp_ssl(own[0] @ weight, own[1] @ weight, similarity_weight=2.0) + negative_coding_rate(own[1] @ weight)
        loss.backward()
        assert weight.grad is not None
        for name, value in (("loss", loss.detach()), ("gradient", weight.grad)):
            if world > 1:
                torch.distributed.all_reduce(value)
            results[f"{name} {dim}"] = value / world
    return results


def test_two_uneven_ranks_equal_one_process() -> None:
    alone = on_rank(0, 1)
    for result in run_on_ranks(on_rank, 2):
        for name, value in alone.items():
            torch.testing.assert_close(result[name], value, rtol=1e-9, atol=1e-10)
