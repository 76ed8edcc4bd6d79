r"""Triplets: an anchor lies nearer to its positive than to any negative, by a margin.

Schroff, Kalenichenko, Philbin, "FaceNet: A Unified Embedding for Face Recognition and Clustering", CVPR 2015,
https://arxiv.org/abs/1503.03832

    encoder   h = f(x)         kept
    head      z = g(h)         linear, normalised to length 1 (section 3); 0 outputs for none
    loss      triplet (eq. 3)  max(0, ||z - z+||^2 - ||z - z-||^2 + m), triplets mined in the batch
    state     none

Defaults: margin 0.2 and semi-hard negatives are the paper's (section 3.2). All views of an item count as items of
its class; items without a label (-1) are left out.
Departures: batches are drawn as they come and searched over all ranks, where the paper composes them of some 40 images
an identity; the output has 64 numbers, not 128; a map g follows any encoder.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.data.batch import Batch, concat
from nearfar.distributed import gather, gather_sizes
from nearfar.errors import DataError, require
from nearfar.losses import triplet_from_labels
from nearfar.methods.base import Info, Method, Step

__all__ = ["Triplet"]


class Triplet(Method):
    """Triplet loss with mining inside the batch.

    Args:
        encoder: any module with ``dim``.
        output_dim: length of z; 0 compares representations h themselves.
        margin: m, in squared distance, > 0.
        mining: ``"all"``, ``"hard"`` or ``"semihard"`` triplets, see `nearfar.losses.triplet_from_labels`.
        normalize: scale z to length 1.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "an anchor lies nearer to its positive than to any negative, by a margin",
        "Schroff et al. 2015",
        "https://arxiv.org/abs/1503.03832",
        labels=True,
        least_views=1,
        most_views=None,
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        output_dim: int = 64,
        margin: float = 0.2,
        mining: Literal["all", "hard", "semihard"] = "semihard",
        normalize: bool = True,
    ) -> None:
        super().__init__()
        require(margin > 0, "Triplet", "margin", "> 0", margin)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.output_dim, self.margin, self.mining, self.normalize = output_dim, margin, mining, normalize
        self.head = nn.Linear(dim, output_dim) if output_dim else nn.Identity()

    def step(self, batch: Batch) -> Step:
        """Return the triplet loss of the batch."""
        require(batch.labels is not None, "Triplet", "labels", "given", "none", "use simclr without", error=DataError)
        assert batch.labels is not None
        h = self.encoder(concat(batch.views))
        z = self.head(h).float()
        z = F.normalize(z, dim=1) if self.normalize else z
        labels = batch.labels.repeat(len(batch.views))
        loss = (
            self._loss(z[labels >= 0], labels[labels >= 0]) + z.sum() * 0.0
        )  # the sum reaches z on a rank without labels
        return Step(loss=loss, features=h.detach().chunk(len(batch.views))[0])

    def _loss(self, z: Tensor, labels: Tensor) -> Tensor:
        sizes = gather_sizes(len(labels), labels.device)
        together = min(sizes) == 0  # a rank without labelled rows: every rank takes all rows
        if together:
            z, labels = gather(z, sizes), gather(labels, sizes)
        if not sum(sizes):
            return z.sum()
        return triplet_from_labels(z, labels, margin=self.margin, mining=self.mining, across_ranks=not together)
