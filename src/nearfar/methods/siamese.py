r"""Siamese network: twin encoders, one distance; similar pairs are pulled together, others pushed to a margin.

Hadsell, Chopra, LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006,
http://yann.lecun.com/exdb/publis/pdf/hadsell-chopra-lecun-06.pdf

    encoder   h = f(x)             kept; both twins are the same module
    head      z = g(h)             linear; 0 outputs for none
    loss      contrastive (eq. 4)  L = (1 - Y) d + Y max(0, m - d) with d = ||z_i - z_j||^2, or Hadsell's squared hinge
    state     none

Pairs are given with the data (views a and b, label 0 = similar, 1 = different), or drawn from class labels: every
row is paired once with another of its class and once with one of another class, where the batch over all ranks has
them.
z is normalised by default, so d lies in [0, 4] and a margin has the same meaning for every encoder.
Departures: z is normalised (``normalize=False`` is the paper's); a different pair is pushed by a hinge on the squared
distance, where ``form="hadsell"`` is the paper's eq. 4; the map g is linear on top of any encoder, where the paper
trains a convolutional network down to two or three numbers.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.data.batch import Batch, concat
from nearfar.distributed import gather, gather_sizes, rank, world_size
from nearfar.errors import DataError, require
from nearfar.losses import contrastive
from nearfar.methods.base import Info, Method, Step

__all__ = ["Siamese"]


class Siamese(Method):
    """Contrastive loss on pairs.

    Args:
        encoder: any module with ``dim``.
        output_dim: length of z; 0 compares representations h themselves.
        margin: m, in squared distance, > 0.
        form: ``"linear"`` or ``"hadsell"``, see `nearfar.losses.contrastive`.
        pairs: ``"labels"`` draws them from class labels; ``"given"`` takes the two views as the pair.
        normalize: scale z to length 1.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "similar pairs are pulled together, others pushed to a margin",
        "Hadsell et al. 2006",
        "http://yann.lecun.com/exdb/publis/pdf/hadsell-chopra-lecun-06.pdf",
        labels=True,
        least_views=1,
        most_views=None,
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        output_dim: int = 64,
        margin: float = 1.0,
        form: Literal["linear", "hadsell"] = "linear",
        pairs: Literal["labels", "given"] = "labels",
        normalize: bool = True,
    ) -> None:
        super().__init__()
        require(margin > 0, "Siamese", "margin", "> 0", margin)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.output_dim, self.margin, self.form = output_dim, margin, form
        self.pairs, self.normalize = pairs, normalize
        self.head = nn.Linear(dim, output_dim) if output_dim else nn.Identity()

    @property
    def relation(self) -> str:
        """What the data must give."""
        return "pairs" if self.pairs == "given" else "labels"

    def step(self, batch: Batch) -> Step:
        """Return the contrastive loss of the batch's pairs."""
        require(batch.labels is not None, "Siamese", "labels", "given", "none", "use simclr without", error=DataError)
        assert batch.labels is not None
        h = self.encoder(concat(batch.views))
        z = self.head(h).float()
        z = F.normalize(z, dim=1) if self.normalize else z
        views = z.chunk(len(batch.views))
        features = h.detach().chunk(len(batch.views))[0]
        if self.pairs == "given":
            require(len(views) == 2, "Siamese", "number of views of given pairs", "2", len(views))
            loss = contrastive(views[0], views[1], batch.labels, margin=self.margin, form=self.form)
        else:
            loss = self._drawn(views, batch.labels)
        return Step(loss=loss, features=features)

    def _drawn(self, views: tuple[Tensor, ...], labels: Tensor) -> Tensor:
        sizes = gather_sizes(len(labels), labels.device)
        everywhere = torch.cat([gather(view, sizes) for view in views])  # the rows and the order of one process
        i, j, different = draw_pairs(gather(labels, sizes).repeat(len(views)))
        first = sum(sizes[: rank()])
        row = i % sum(sizes)
        own = (row >= first) & (row < first + sizes[rank()])
        if not own.any():
            return everywhere.sum() * 0.0
        left, right = everywhere[i[own]], everywhere[j[own]]
        total = contrastive(left, right, different[own], margin=self.margin, form=self.form, reduction="sum")
        return total * world_size() / len(i)


def draw_pairs(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pair every labelled row with the next row of its class and with the next row of another class, cyclically.

    Batches are shuffled, so the next row is a random one, and every number of ranks draws the same pairs.

    Args:
        labels: (M,) int64; rows with -1 are left out.

    Returns:
        Rows i, rows j, and Y: 0 for a pair of one class, 1 for a pair of two; a row without a partner is left out.
    """
    rows = torch.arange(len(labels), device=labels.device)
    ahead = (rows[None, :] - rows[:, None]) % len(labels)
    known = labels >= 0
    both = known[:, None] & known[None, :] & (ahead > 0)
    same = labels[:, None] == labels[None, :]
    i_same, j_same = _next(ahead, both & same)
    i_other, j_other = _next(ahead, both & ~same)
    different = torch.cat([torch.zeros_like(i_same), torch.ones_like(i_other)])
    return torch.cat([i_same, i_other]), torch.cat([j_same, j_other]), different


def _next(ahead: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    rows = allowed.any(dim=1).nonzero().squeeze(1)
    return rows, ahead[rows].masked_fill(~allowed[rows], len(ahead)).argmin(dim=1)
