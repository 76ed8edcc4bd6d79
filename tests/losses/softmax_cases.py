"""Every in-batch softmax loss on one set of rows, beside its loop; tests of all kinds run over this table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nearfar import losses
from tests.losses import reference

TAU = 0.2
ALONE = 7


class Case(NamedTuple):
    """A loss of two sets of rows (N, D), two fixed companions of them, and how its loop is called.

    ``loss(x, y, more, ids, **settings)``: x, y (N, D) carry gradient; more (N, D) does not; ids (N,) integer.
    """

    loss: Callable[..., Tensor]
    loop: Callable[..., list[Any]]
    anchors: int = 1
    gathers: bool = True
    engine: bool = True


def _doubled(ids: Tensor) -> list[int]:
    return ids.repeat(2).tolist()


def _overlap(ids: Tensor) -> Tensor:
    """Graded similarity of neighbours; the sample whose id stands alone is like nobody."""
    grid = torch.arange(len(ids)).float()
    known = (ids != ALONE).float()
    return torch.relu(1 - (grid[:, None] - grid[None]).abs() / 2.5) * known[:, None] * known[None]


def _guides(more: Tensor) -> tuple[Tensor, Tensor]:
    return more, more + 0.8 * more.roll(1, 1)


def _weight(width: int, like: Tensor | None = None) -> Tensor:
    """A fixed matrix that is neither symmetric nor near one, in float64 or as wide as a loss computes in."""
    weight = torch.sin(torch.arange(width * width, dtype=torch.float64) + 0.5).reshape(width, width)
    return weight if like is None else weight.to(torch.promote_types(like.dtype, torch.float32))


CASES: dict[str, Case] = {
    "nt_xent": Case(
        lambda x, y, m, ids, **s: losses.nt_xent(x, y, temperature=TAU, **s),
        lambda x, y, m, ids: reference.nt_xent(x, y, TAU),
        anchors=2,
    ),
    "bilinear_nce": Case(
        lambda x, y, m, ids, **s: losses.bilinear_nce(x, y, _weight(x.shape[1], like=x), **s),
        lambda x, y, m, ids: reference.bilinear_nce(x, y, _weight(x.shape[1])),
    ),
    "info_nce": Case(
        lambda x, y, m, ids, **s: losses.info_nce(x, y, temperature=TAU, **s),
        lambda x, y, m, ids: reference.info_nce(x, y, TAU),
    ),
    "info_nce, symmetric": Case(
        lambda x, y, m, ids, **s: losses.info_nce(x, y, temperature=TAU, symmetric=True, **s),
        lambda x, y, m, ids: reference.info_nce(x, y, TAU, symmetric=True),
    ),
    "info_nce, hard negatives": Case(
        lambda x, y, m, ids, **s: losses.info_nce(x, y, negatives=m + y, temperature=TAU, **s),
        lambda x, y, m, ids: reference.info_nce(x, y, TAU, negatives=m + y),
    ),
    "info_nce, symmetric, hard negatives, queue": Case(
        lambda x, y, m, ids, **s: losses.info_nce(
            x, y, negatives=m - x, queue=QUEUE.to(x.dtype), symmetric=True, temperature=TAU, **s
        ),
        lambda x, y, m, ids: reference.info_nce(x, y, TAU, negatives=m - x, queue=QUEUE, symmetric=True),
    ),
    "info_nce, queue alone": Case(
        lambda x, y, m, ids, **s: losses.info_nce(x, y, queue=QUEUE.to(x.dtype), in_batch=False, temperature=TAU, **s),
        lambda x, y, m, ids: reference.info_nce(x, y, TAU, queue=QUEUE, in_batch=False),
    ),
    "sup_con": Case(
        lambda x, y, m, ids, **s: losses.sup_con(x - y, ids, temperature=TAU, **s),
        lambda x, y, m, ids: reference.sup_con(x - y, ids.tolist(), TAU, "out"),
    ),
    "sup_con, in": Case(
        lambda x, y, m, ids, **s: losses.sup_con(x - y, ids, temperature=TAU, variant="in", **s),
        lambda x, y, m, ids: reference.sup_con(x - y, ids.tolist(), TAU, "in"),
    ),
    "sup_con, two views": Case(
        lambda x, y, m, ids, **s: losses.sup_con(torch.cat([x, y]), ids.repeat(2), temperature=TAU, **s),
        lambda x, y, m, ids: reference.sup_con(torch.cat([x, y]), _doubled(ids), TAU, "out"),
        anchors=2,
    ),
    "multi_label_sup_con": Case(
        lambda x, y, m, ids, **s: losses.multi_label_sup_con(x - y, _overlap(ids), temperature=TAU, **s),
        lambda x, y, m, ids: reference.multi_label_sup_con(x - y, _overlap(ids), TAU),
        gathers=False,
    ),
    "dcl": Case(
        lambda x, y, m, ids, **s: losses.dcl(x, y, temperature=TAU, **s),
        lambda x, y, m, ids: reference.dcl(x, y, TAU),
        anchors=2,
    ),
    "dclw": Case(
        lambda x, y, m, ids, **s: losses.dclw(x, y, temperature=TAU, sigma=0.4, **s),
        lambda x, y, m, ids: reference.dcl(x, y, TAU, 0.4),
        anchors=2,
    ),
    "clip": Case(
        lambda x, y, m, ids, **s: losses.clip(x, y, scale=5.0, **s),
        lambda x, y, m, ids: reference.clip(x, y, 5.0),
    ),
    "siglip": Case(
        lambda x, y, m, ids, **s: losses.siglip(x, y, scale=4.0, bias=-3.0, **s),
        lambda x, y, m, ids: reference.siglip(x, y, 4.0, -3.0),
    ),
    "gist": Case(
        lambda x, y, m, ids, **s: losses.gist(x, y, *_guides(m), temperature=TAU, margin=0.1, **s),
        lambda x, y, m, ids: reference.gist(x, y, *_guides(m), TAU, margin=0.1),
    ),
    "gist, relative margin, hard negatives": Case(
        lambda x, y, m, ids, **s: losses.gist(
            x, y, *_guides(m), negatives=m + y, guide_negatives=m, temperature=TAU, margin=0.1,
            margin_kind="relative", **s,
        ),
        lambda x, y, m, ids: reference.gist(
            x, y, *_guides(m), TAU, margin=0.1, relative=True, negatives=m + y, guide_negatives=m
        ),
    ),
    "ressl": Case(
        lambda x, y, m, ids, **s: losses.ressl(x, m, QUEUE, **s),
        lambda x, y, m, ids: reference.ressl(x, m, QUEUE, 0.1, 0.04),
        engine=False,
    ),
    "co2": Case(
        lambda x, y, m, ids, **s: losses.co2(x, y, temperature=TAU, **s),
        lambda x, y, m, ids: reference.co2(x, y, TAU),
        engine=False,
    ),
    "co2, queue": Case(
        lambda x, y, m, ids, **s: losses.co2(x, y, queue=QUEUE, temperature=TAU, **s),
        lambda x, y, m, ids: reference.co2(x, y, TAU, QUEUE),
        engine=False,
    ),
}  # fmt: skip

WIDTH = 4


def rows(n: int, *, seed: int = 0, dtype: torch.dtype = torch.float64, dim: int = WIDTH) -> tuple[Tensor, ...]:
    """Return x, y, more (N, D) and ids (N,) of two classes; one id, where N > 3, stands alone."""
    generator = torch.Generator().manual_seed(seed)
    x, more = (torch.randn(n, dim, generator=generator, dtype=torch.float64) for _ in range(2))
    y = x + 0.7 * torch.randn(n, dim, generator=generator, dtype=torch.float64)
    ids = torch.arange(n) % 2
    if n > 3:
        ids[-1] = ALONE
    return x.to(dtype), y.to(dtype), more.to(dtype), ids


QUEUE = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(99), dtype=torch.float64)


def mean_of_loop(values: list[Any]) -> Tensor:
    """The mean over the anchors that count."""
    counted = [value for value in values if value is not None]
    return sum(counted) / len(counted)
