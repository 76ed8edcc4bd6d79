r"""TS2Vec: the same moment of a series attracts in two crops; other moments and other series repel, at every scale.

Yue, Wang, Duan, Yang, Huang, Tong, Xu, "TS2Vec: Towards Universal Representation of Time Series", AAAI 2022,
https://arxiv.org/abs/2106.10466

    encoder   h_t = f(x)_t           a representation of every moment, `feature_map`; kept with its pooling
    head      none
    loss      hierarchical (eq. 3)   instance-wise and temporal, no norm, no temperature; negatives over all ranks
    state     none

Defaults: weight 0.5 of the instance-wise loss is the paper's. Its mask of moments is the encoder's setting ``mask``
(0.5), its two overlapping crops are the views ``ts2vec``; other views are taken to show the same moments.
Departures: both crops are of one length; the last weights are kept, not their average over the run.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from nearfar.data.batch import Batch, Views
from nearfar.errors import require
from nearfar.losses import hierarchical_contrast
from nearfar.methods.base import Info, Method, Step

__all__ = ["TS2Vec"]


class TS2Vec(Method):
    """TS2Vec on two overlapping views.

    Args:
        encoder: any module with ``dim`` and ``feature_map``: (N, dim, T), or (N, dim, H, W), taken as H·W moments.
        instance_weight: of the instance-wise loss, in [0, 1]; the temporal one has the rest.
        temporal_from: the first scale with a temporal loss, 0 for all.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "the same moment of a series attracts, other moments and series repel",
        "Yue et al. 2022",
        "https://arxiv.org/abs/2106.10466",
        encoder="maps",
    )

    def __init__(self, encoder: nn.Module, *, instance_weight: float = 0.5, temporal_from: int = 0) -> None:
        super().__init__()
        require(0 <= instance_weight <= 1, "TS2Vec", "instance_weight", "in [0, 1]", instance_weight)
        require(temporal_from >= 0, "TS2Vec", "temporal_from", ">= 0", temporal_from)
        self.encoder, self.instance_weight, self.temporal_from = encoder, instance_weight, temporal_from

    def step(self, batch: Batch) -> Step:
        """Return the hierarchical loss over the moments that both views show."""
        require(len(batch.views) == 2, "TS2Vec", "number of views", "2", len(batch.views))
        first, second = (self._moments(view) for view in batch.views)
        shared = _shared(batch.views[0], first.shape[1])
        loss = hierarchical_contrast(
            first[:, first.shape[1] - shared :],
            second[:, :shared],
            instance_weight=self.instance_weight,
            temporal_from=self.temporal_from,
        )
        return Step(loss=loss, features=first.detach().amax(dim=1))

    def _moments(self, view: Views) -> Tensor:
        found: Tensor = self.encoder.feature_map(view)  # type: ignore[operator]
        return found.flatten(2).transpose(1, 2)


def _shared(view: Views, moments: int) -> int:
    """Return how many moments at the end of the first view are those at the beginning of the second."""
    return moments if isinstance(view, Tensor) or "shared" not in view else int(view["shared"][0])
