r"""SimCLR: two views of an item attract, views of different items repel.

Chen, Kornblith, Norouzi, Hinton, "A Simple Framework for Contrastive Learning of Visual
Representations", ICML 2020, https://arxiv.org/abs/2002.05709

    encoder   h = f(x)           kept
    head      z = g(h)           MLP with BatchNorm, discarded after pretraining (section 4.2)
    loss      NT-Xent (eq. 1)    negatives: the other 2(N - 1) views, over all ranks
    state     none

With ``similarity="bilinear"`` it is COLA (https://arxiv.org/abs/2010.10915), made for sound: the head is one linear
map, LayerNorm and tanh, and the loss is a softmax over x'Wy with a learnt W, from the first views to the second ones.

Defaults: temperature 0.1 is ImageNet's (0.5 is the paper's best on CIFAR-10 in long runs); output 128;
the hidden layer has the encoder's width, as in the reference implementation, unless given.
COLA's output is 512 long, and its W takes the temperature's place.
Departures from the published code: the last BatchNorm has a shift as well as a scale; linear maps start as torch's do
(there normal, deviation 0.01); the loss is the mean over all views of eq. 1, where the code adds the means of both
directions, which is twice as much.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import nn

from nearfar.data.batch import Batch, concat
from nearfar.errors import require
from nearfar.losses import bilinear_nce, nt_xent
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import mlp

__all__ = ["SimCLR"]


class SimCLR(Method):
    """SimCLR on two views.

    Args:
        encoder: any module with ``dim``.
        hidden_dim: width of the head's hidden layers; 0 takes the encoder's ``dim``.
        output_dim: length of a projection z.
        head_layers: linear maps in the head; 2 in SimCLR, 3 in SimCLRv2.
        temperature: tau of NT-Xent, > 0; of no effect on the bilinear similarity.
        similarity: ``"cosine"`` of SimCLR, or ``"bilinear"`` of COLA, whose head has one layer.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "two views of an item attract, views of different items repel",
        "Chen et al. 2020",
        "https://arxiv.org/abs/2002.05709",
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 0,
        output_dim: int = 128,
        head_layers: int = 2,
        temperature: float = 0.1,
        similarity: Literal["cosine", "bilinear"] = "cosine",
    ) -> None:
        super().__init__()
        require(temperature > 0, "SimCLR", "temperature", "> 0", temperature)
        known = similarity in ("cosine", "bilinear")
        require(known, "SimCLR", "similarity", "'cosine' or 'bilinear'", repr(similarity))
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.output_dim = hidden_dim or dim, output_dim
        self.head_layers, self.temperature = head_layers, temperature
        self.similarity = similarity
        if similarity == "bilinear":
            linear = mlp(dim, self.hidden_dim, output_dim, layers=1)
            self.head = nn.Sequential(*linear, nn.LayerNorm(output_dim), nn.Tanh())
            self.bilinear = nn.Parameter(torch.empty(output_dim, output_dim))
            nn.init.xavier_uniform_(self.bilinear)
        else:
            self.head = mlp(dim, self.hidden_dim, output_dim, layers=head_layers, last_norm=True)

    def step(self, batch: Batch) -> Step:
        """Return NT-Xent, or COLA's loss, between the batch's two views."""
        require(len(batch.views) == 2, "SimCLR", "number of views", "2", len(batch.views))
        h = self.encoder(concat(batch.views))  # one pass: BatchNorm sees 2N
        z1, z2 = self.head(h).chunk(2)
        if self.similarity == "bilinear":
            loss = bilinear_nce(z1, z2, self.bilinear)
        else:
            loss = nt_xent(z1, z2, temperature=self.temperature)
        return Step(loss=loss, features=h.detach().chunk(2)[0])
