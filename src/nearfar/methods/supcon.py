r"""SupCon: all views of a class attract, views of different classes repel.

Khosla, Teterwak, Wang, Sarna, Tian, Isola, Maschinot, Liu, Krishnan, "Supervised Contrastive Learning",
NeurIPS 2020, https://arxiv.org/abs/2004.11362

    encoder   h = f(x)                 kept
    head      z = g(h)                 MLP with BatchNorm, discarded after pretraining
    loss      L_out (eq. 2)            positives: all other views of the class, over all ranks
    state     none

Defaults: temperature 0.1 and output 128 are the paper's; the hidden layer has the encoder's width.
An item without a label (-1) has its own other view as its only positive, so it learns as in SimCLR.
Departures: the head has BatchNorm, as SimCLR's (2048-ReLU-128 in the paper); the loss is not multiplied by tau / 0.07
as in the published code.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from nearfar.data.batch import Batch, concat
from nearfar.distributed import rank, world_size
from nearfar.errors import DataError, require
from nearfar.losses import sup_con
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import mlp

__all__ = ["SupCon"]


class SupCon(Method):
    """Supervised contrastive learning on two or more views.

    Args:
        encoder: any module with ``dim``.
        hidden_dim: width of the head's hidden layer; 0 takes the encoder's ``dim``.
        output_dim: length of a projection z.
        temperature: tau, > 0.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "all views of a class attract, views of different classes repel",
        "Khosla et al. 2020",
        "https://arxiv.org/abs/2004.11362",
        labels=True,
        least_views=1,
        most_views=None,
    )

    def __init__(
        self, encoder: nn.Module, *, hidden_dim: int = 0, output_dim: int = 128, temperature: float = 0.1
    ) -> None:
        super().__init__()
        require(temperature > 0, "SupCon", "temperature", "> 0", temperature)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.output_dim, self.temperature = hidden_dim or dim, output_dim, temperature
        self.head = mlp(dim, self.hidden_dim, output_dim, last_norm=True)

    def step(self, batch: Batch) -> Step:
        """Return SupCon's loss over all views of the batch."""
        require(batch.labels is not None, "SupCon", "labels", "given", "none", "use simclr without", error=DataError)
        assert batch.labels is not None
        h = self.encoder(concat(batch.views))
        labels = own_classes(batch.labels).repeat(len(batch.views))
        loss = sup_con(self.head(h), labels, temperature=self.temperature)
        return Step(loss=loss, features=h.detach().chunk(len(batch.views))[0])


def own_classes(labels: Tensor) -> Tensor:
    """Give every unlabelled item (-1) a class of its own, unique over ranks."""
    alone = -1 - (torch.arange(len(labels), device=labels.device) * world_size() + rank())
    return torch.where(labels < 0, alone, labels)
