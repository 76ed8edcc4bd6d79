r"""DCL: SimCLR whose loss leaves the positive out of the denominator, so that small batches learn as well.

Yeh, Hong, Hsu, Liu, Chen, LeCun, "Decoupled Contrastive Learning", ECCV 2022, https://arxiv.org/abs/2110.06848

    encoder   h = f(x)            kept
    head      z = g(h)            SimCLR's MLP with BatchNorm, discarded after pretraining
    loss      DCL (eq. 6)         negatives: the other 2(N - 1) views, over all ranks; DCLW (eq. 7) with ``weighted``
    state     none

Defaults: temperature 0.1 and sigma 0.5 are the paper's (0.07 for small images); output 128; the hidden layer has the
encoder's width. DCLW weighs easy positives less; the weights carry no gradient.
Departure: as in `nearfar.methods.simclr` the last BatchNorm has a shift as well as a scale.
"""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from nearfar.data.batch import Batch, concat
from nearfar.errors import require
from nearfar.losses import dcl, dclw
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import mlp

__all__ = ["DCL"]


class DCL(Method):
    """DCL or DCLW on two views.

    Args:
        encoder: any module with ``dim``.
        hidden_dim: width of the head's hidden layers; 0 takes the encoder's ``dim``.
        output_dim: length of a projection z.
        head_layers: linear maps in the head.
        temperature: tau > 0.
        weighted: DCLW, whose positives are weighted.
        sigma: width of DCLW's weighting, > 0.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "SimCLR whose loss leaves the positive out of the denominator; DCLW also weighs positives",
        "Yeh et al. 2022",
        "https://arxiv.org/abs/2110.06848",
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 0,
        output_dim: int = 128,
        head_layers: int = 2,
        temperature: float = 0.1,
        weighted: bool = False,
        sigma: float = 0.5,
    ) -> None:
        super().__init__()
        require(temperature > 0, "DCL", "temperature", "> 0", temperature)
        require(sigma > 0, "DCL", "sigma", "> 0", sigma)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.output_dim, self.head_layers = hidden_dim or dim, output_dim, head_layers
        self.temperature, self.weighted, self.sigma = temperature, weighted, sigma
        self.head = mlp(dim, self.hidden_dim, output_dim, layers=head_layers, last_norm=True)

    def step(self, batch: Batch) -> Step:
        """Return DCL or DCLW between the batch's two views."""
        require(len(batch.views) == 2, "DCL", "number of views", "2", len(batch.views))
        h = self.encoder(concat(batch.views))  # one pass: BatchNorm sees 2N
        z1, z2 = self.head(h).chunk(2)
        if self.weighted:
            loss = dclw(z1, z2, temperature=self.temperature, sigma=self.sigma)
        else:
            loss = dcl(z1, z2, temperature=self.temperature)
        return Step(loss=loss, features=h.detach().chunk(2)[0])
