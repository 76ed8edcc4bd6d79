r"""SIGReg and LeJEPA: embeddings are pulled to an isotropic Gaussian, tested along random directions.

Balestriero, LeCun, "LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics", 2025,
https://arxiv.org/abs/2511.08544: sketched isotropic Gaussian regularization with the Epps-Pulley test (section 4).
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.errors import require
from nearfar.losses._checks import check_embeddings, check_finite, check_positive, in_float32
from nearfar.losses._moments import row_count, total
from nearfar.losses._remade import remade

__all__ = ["draw_directions", "lejepa", "sigreg"]

# Numbers (rows x directions x knots) of a block.
_ENTRIES = {"cpu": 2**21}
_ENTRIES_ELSEWHERE = 2**24


def draw_directions(
    dim: int,
    count: int = 1024,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Draw directions uniformly from the unit sphere.

    They are drawn on the CPU, so that one seed gives the same directions on every device and every rank. A new draw at
    every step, with the number of the step as the seed, covers the sphere in time and needs nothing saved.

    Args:
        dim: D, length of an embedding.
        count: M, number of directions; 1024 as in lightly, while the authors' example draws 256.
        seed: of the draw; must be the same on every rank.
        device: where the result goes.
        dtype: of the result.

    Returns:
        (D, M) unit columns.

    Raises:
        InputError: a number is below 1.
    """
    for name, value in (("dim", dim), ("count", count)):
        require(value >= 1, "draw_directions", name, ">= 1", value)
    generator = torch.Generator().manual_seed(seed)
    columns = torch.randn(dim, count, generator=generator, dtype=torch.float64)
    unit_columns: Tensor = columns / columns.norm(dim=0)
    return unit_columns.to(device=device, dtype=dtype)


@in_float32
def sigreg(z: Tensor, directions: Tensor, *, knots: int = 17, t_max: float = 3.0, across_ranks: bool = True) -> Tensor:
    r"""SIGReg: the Epps-Pulley statistic of the embeddings along each direction, averaged.

    .. math::
        L &= \frac1M \sum_m N \int \bigl| \hat\varphi_m(t) - e^{-t^2 / 2} \bigr|^2 e^{-t^2 / 2} \, dt, \qquad
        \hat\varphi_m(t) = \frac1N \sum_n e^{i t \, a_m \cdot z_n}

    The integral over [-t_max, t_max] is the trapezoidal rule; the integrand is even, so ``knots`` points in [0, t_max]
    serve. The defaults are those of the authors' code. The paper's listing takes 17 points in [-5, 5], which is
    ``knots=9, t_max=5.0``. Not affine-invariant: mean 0 and variance 1 are part of what is tested. Bounded in z, and so
    is its gradient. Memory grows with N M, a block of directions being remade in the backward pass.

    Args:
        z: (N, D) float embeddings; not normalised. One row is enough.
        directions: (D, M) unit columns, the same on every rank; see `draw_directions`.
        knots: points of the rule, >= 2.
        t_max: end of the integral, > 0.
        across_ranks: whether the characteristic function is that of all ranks' rows.

    Returns:
        A float32 scalar (float64 for float64 input).

    Raises:
        InputError: shapes, types, values or settings are wrong.
    """
    check_embeddings("sigreg", z=z)
    ok = directions.is_floating_point() and directions.ndim == 2 and directions.shape[0] == z.shape[1]
    must = f"a float tensor (D, M) with D = {z.shape[1]}"
    require(ok, "sigreg", "directions", must, f"{directions.dtype} {tuple(directions.shape)}")
    check_finite("sigreg", directions=directions)
    require(knots >= 2, "sigreg", "knots", ">= 2", knots)
    check_positive("sigreg", t_max=t_max)
    rows = row_count("sigreg", z, across_ranks)
    t = torch.linspace(0, t_max, knots, dtype=z.dtype, device=z.device)
    gaussian = (-t.square() / 2).exp()
    weights = 2 * gaussian * t_max / (knots - 1)
    weights[0], weights[-1] = weights[0] / 2, weights[-1] / 2
    projected = z @ directions.to(z.dtype)
    width = max(1, _ENTRIES.get(z.device.type, _ENTRIES_ELSEWHERE) // (len(z) * knots))
    parts = [remade(_sums, some, t) for some in torch.split(projected, width, 1)]
    cosine, sine = total(torch.cat([part[0] for part in parts], 1), across_ranks) / rows
    error = (cosine - gaussian).square() + sine.square()
    statistics: Tensor = rows * (error @ weights)
    return statistics.mean()


def _sums(projected: Tensor, t: Tensor) -> tuple[Tensor, ...]:
    """Return (2, M, T): the sums over rows of the cosine and of the sine of t times the projection."""
    phase = projected[..., None] * t
    return (torch.stack([phase.cos().sum(0), phase.sin().sum(0)]),)


def lejepa(
    *views: Tensor,
    directions: Tensor,
    global_views: int | None = None,
    regularizer_weight: float = 0.05,
    knots: int = 17,
    t_max: float = 3.0,
    across_ranks: bool = True,
) -> Tensor:
    r"""LeJEPA: every view predicts the mean of the global views, and every view is Gaussian.

    .. math:: L = \frac{\lambda}{V} \sum_v \mathrm{SIGReg}(Z_v)
        + (1 - \lambda) \frac{1}{V N D} \sum_v \sum_n \lVert \mu_n - z_{n,v} \rVert^2, \qquad
        \mu_n = \frac{1}{V_g} \sum_{v \le V_g} z_{n,v}

    As the authors' code: the second term is a mean over dimensions too, and mu has gradient.

    Args:
        *views: (N, D) float embeddings, one tensor per view, global views first; not normalised.
        directions: of `sigreg`, the same for all views.
        global_views: V_g, how many of the first views are global; None: all.
        regularizer_weight: lambda in [0, 1]; 0.05 as in lightly. The paper's range is 0.01 to 0.1.
        knots: of `sigreg`.
        t_max: of `sigreg`.
        across_ranks: whether means and characteristic functions are those of all ranks' rows.

    Returns:
        A float32 scalar (float64 for float64 input).

    Raises:
        InputError: shapes, types, values or settings are wrong.
    """
    require(len(views) >= 1, "lejepa", "views", "one or more", len(views))
    check_embeddings("lejepa", same_rows=True, **{f"views[{i}]": z for i, z in enumerate(views)})
    require(0 <= regularizer_weight <= 1, "lejepa", "regularizer_weight", "in [0, 1]", regularizer_weight)
    count = len(views) if global_views is None else global_views
    require(1 <= count <= len(views), "lejepa", "global_views", f"in 1..{len(views)}", count)
    tests = [sigreg(z, directions, knots=knots, t_max=t_max, across_ranks=across_ranks) for z in views]
    prediction = _prediction(*views, count=count, across_ranks=across_ranks)
    return regularizer_weight * torch.stack(tests).mean() + (1 - regularizer_weight) * prediction


@in_float32
def _prediction(*views: Tensor, count: int, across_ranks: bool) -> Tensor:
    rows = row_count("lejepa", views[0], across_ranks)
    mean = torch.stack(views[:count]).mean(0)
    squares = sum(((mean - z).square().sum() for z in views), start=mean.new_zeros(()))
    return total(squares, across_ranks) / (len(views) * rows * mean.shape[1])
