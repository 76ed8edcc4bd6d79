r"""Twin labels: each of two twin networks classifies its view, and its balanced class is the other twin's label.

No single paper's method. It stands between Wang, Kong, Zhang, Liu, Li, "Self-Supervised Learning by Estimating Twin
Class Distributions" (TWIST), 2021, https://arxiv.org/abs/2110.07402, whose twins and class distributions it has, and
self-labelling with balanced classes: Asano, Rupprecht, Vedaldi (SeLa), ICLR 2020, https://arxiv.org/abs/1911.05371, and
SwAV, https://arxiv.org/abs/2006.09882

    encoder   h = f(x)             kept; both twins are the same module, one pass over both views
    head      p = softmax(g(h))    MLP to K classes, 4096-4096-K with BatchNorm, the last one without scale, as TWIST's
    loss      cross-entropy        L = (H(y_2, p_1) + H(y_1, p_2)) / 2; y_i is twin i's label, which gets no gradient
    state     centre of the logits where labels are centred

A label is the twin's sharpened distribution, kept from giving all items one class in one of two ways: Sinkhorn-Knopp
spreads the batch over the classes (SeLa, SwAV), or a running mean of the logits is taken off first (DINO).
Hard labels keep the most probable class alone, as pseudo-labels do. ``agreement`` logs how many items both twins give
the same class.
Defaults: 4,096 classes, the head and the temperature of 1 are TWIST's. Labels are twice as sharp as predictions, the
ratio of SwAV's epsilon to its temperature; 3 iterations are SwAV's, the centre's momentum is DINO's.
Departures from TWIST: cross-entropy with labels in place of a symmetric KL divergence with entropy terms; no second
stage of self-labelling; two views.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.data.batch import Batch, concat
from nearfar.distributed import mean_over_rows
from nearfar.errors import require
from nearfar.losses import dino_center, sinkhorn
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import mlp

__all__ = ["TwinLabels"]


class TwinLabels(Method):
    """Twin networks that label each other's views.

    Args:
        encoder: any module with ``dim``.
        hidden_dim: width of the head's hidden layers; 0 takes the encoder's ``dim``.
        classes: K, number of classes.
        temperature: of the predictions, > 0.
        label_temperature: of the labels, > 0; Sinkhorn's epsilon.
        balance: ``"sinkhorn"`` or ``"center"``.
        iterations: of Sinkhorn-Knopp, >= 1.
        center_momentum: of the running mean, in [0, 1].
        hard: whether a label is one class or a distribution.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "twin networks give each other's views pseudo-labels and learn them by cross-entropy",
        "Wang et al. 2021",
        "https://arxiv.org/abs/2110.07402",
        negatives=False,
    )
    center: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 4096,
        classes: int = 4096,
        temperature: float = 1.0,
        label_temperature: float = 0.5,
        balance: Literal["sinkhorn", "center"] = "sinkhorn",
        iterations: int = 3,
        center_momentum: float = 0.9,
        hard: bool = False,
    ) -> None:
        super().__init__()
        require(classes >= 2, "TwinLabels", "classes", ">= 2", classes)
        require(temperature > 0, "TwinLabels", "temperature", "> 0", temperature)
        require(label_temperature > 0, "TwinLabels", "label_temperature", "> 0", label_temperature)
        require(balance in ("sinkhorn", "center"), "TwinLabels", "balance", "'sinkhorn' or 'center'", repr(balance))
        require(iterations >= 1, "TwinLabels", "iterations", ">= 1", iterations)
        require(0 <= center_momentum <= 1, "TwinLabels", "center_momentum", "in [0, 1]", center_momentum)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.classes, self.temperature = hidden_dim or dim, classes, temperature
        self.label_temperature, self.balance, self.iterations = label_temperature, balance, iterations
        self.center_momentum, self.hard = center_momentum, hard
        self.head = mlp(dim, self.hidden_dim, classes, layers=3, last_norm=True, last_affine=False)
        self.register_buffer("center", torch.zeros(classes))

    def step(self, batch: Batch) -> Step:
        """Return the cross-entropy of each twin's prediction with the other twin's label."""
        require(len(batch.views) == 2, "TwinLabels", "number of views", "2", len(batch.views))
        h = self.encoder(concat(batch.views))  # one pass: BatchNorm sees 2N
        logits = self.head(h).float()
        twins = logits.chunk(2)
        first, second = (self.label(twin) for twin in twins)
        predicted = torch.log_softmax(logits / self.temperature, 1).chunk(2)
        values = -(second * predicted[0] + first * predicted[1]).sum(1) / 2
        agreement = (first.argmax(1) == second.argmax(1)).float().mean()
        if self.training and self.balance == "center":
            outputs = [twin.detach() for twin in twins]
            self.center.copy_(dino_center(self.center, outputs, momentum=self.center_momentum))
        return Step(mean_over_rows(values), h.detach().chunk(2)[0], {"agreement": agreement})

    @torch.no_grad()
    def label(self, logits: Tensor) -> Tensor:
        """Return (N, K) float32 labels for one twin's logits; rows sum to 1."""
        if self.balance == "sinkhorn":
            soft = sinkhorn(logits, epsilon=self.label_temperature, iterations=self.iterations)
        else:
            soft = torch.softmax((logits.float() - self.center) / self.label_temperature, 1)
        return F.one_hot(soft.argmax(1), self.classes).float() if self.hard else soft
