r"""SimCSE: an anchor finds its own positive among those of the whole batch, and among hard negatives.

Gao, Yao, Chen, "SimCSE: Simple Contrastive Learning of Sentence Embeddings", EMNLP 2021,
https://arxiv.org/abs/2104.08821

    encoder   h = f(x)          kept; its dropout is what makes two views of one sentence
    head      z = tanh(W h)     discarded after pretraining; or none, z = h
    loss      InfoNCE (eq. 1)   of the first view against the second; further views are hard negatives (eq. 5)
    state     none

Views: the same sentence twice (section 3), or as the rows give them: a pair of sentences, and hard negatives of it
(section 4). With ``symmetric`` the positives look for their anchors as well, and without a head this is what other
libraries call multiple negatives ranking. ``chunk_size`` encodes the batch in parts, with the gradient of the whole
(https://arxiv.org/abs/2101.06983): the memory is that of a part, the negatives those of the batch.

Defaults: temperature 0.05 and the head are the paper's, which keeps the head for evaluation where labels gave the
pairs.

Departures: the head is dropped in either case, since it is no part of an encoder here.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from nearfar.data.batch import Batch, Views, concat
from nearfar.errors import require
from nearfar.losses import info_nce
from nearfar.losses.grad_cache import cached_forward
from nearfar.methods.base import Info, Method, Step

__all__ = ["SimCSE"]


class SimCSE(Method):
    """SimCSE on two views, or more with hard negatives.

    Args:
        encoder: any module with ``dim``.
        temperature: tau of InfoNCE, > 0.
        head: tanh, one layer as in the paper, or none.
        symmetric: whether positives look for their anchors as well; the loss is then the mean of both directions.
        chunk_size: items encoded at once, with cached gradients; 0 encodes all views of the batch in one pass.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "an anchor finds its positive among the batch's and hard negatives",
        "Gao et al. 2021",
        "https://arxiv.org/abs/2104.08821",
        most_views=None,
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        temperature: float = 0.05,
        head: Literal["tanh", "none"] = "tanh",
        symmetric: bool = False,
        chunk_size: int = 0,
    ) -> None:
        super().__init__()
        require(temperature > 0, "SimCSE", "temperature", "> 0", temperature)
        require(chunk_size >= 0, "SimCSE", "chunk_size", ">= 0", chunk_size)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.temperature, self.head, self.symmetric, self.chunk_size = temperature, head, symmetric, chunk_size
        self.project = nn.Sequential(nn.Linear(dim, dim), nn.Tanh()) if head == "tanh" else nn.Identity()

    def step(self, batch: Batch) -> Step:
        """Return InfoNCE of the first view against the second and, as hard negatives, the others."""
        count = len(batch.views)
        require(count >= 2, "SimCSE", "number of views", ">= 2", count)
        h = self._encode(concat(batch.views))
        anchors, positives, *others = self.project(h).chunk(count)
        negatives = torch.cat(others) if others else None
        loss = info_nce(anchors, positives, negatives=negatives, symmetric=self.symmetric, temperature=self.temperature)
        return Step(loss=loss, features=h.detach().chunk(count)[0])

    def _encode(self, views: Views) -> Tensor:
        if not self.chunk_size:
            h: Tensor = self.encoder(views)
            return h
        return cached_forward(self.encoder, views, chunk_size=self.chunk_size)
