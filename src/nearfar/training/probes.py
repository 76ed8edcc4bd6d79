"""What is watched while a method trains: a linear probe and a kNN on detached features, and signs of collapse.

Labels reach only the probes. Their numbers are *online*: each batch is scored before the probe learns from it, on
training views, with the encoder in train mode. They show a trend; the honest number is `nearfar evaluate`'s.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FeatureBank", "OnlineProbe", "collapse_signs", "collapse_warning"]


class OnlineProbe(nn.Module):
    """Multinomial logistic regression on detached representations, trained as they come.

    Features are standardised by a BatchNorm without scale and shift, so one learning rate fits every encoder.

    Args:
        dim: length of a representation.
        classes: number of classes.
        lr: of Adam.
    """

    def __init__(self, dim: int, classes: int, *, lr: float = 1e-2) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim, affine=False)
        self.linear = nn.Linear(dim, classes)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=lr)

    def learn(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Score a batch, then take one step on it.

        Args:
            features: (N, dim) detached.
            labels: (N,) int64, all >= 0.

        Returns:
            The mean cross-entropy and the number of right answers, both from before the step.
        """
        with torch.enable_grad(), torch.autocast(features.device.type, enabled=False):
            logits = self.linear(self.norm(features.float()))
            loss = F.cross_entropy(logits, labels)
            self.optimizer.zero_grad()
            torch.autograd.backward(loss)
        self.optimizer.step()
        return loss.detach(), (logits.argmax(dim=1) == labels).sum()

    def full_state(self) -> dict[str, object]:
        """Return weights and optimiser state."""
        return {"weights": self.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_full_state(self, state: dict[str, dict[str, object]]) -> None:
        """Take back what `full_state` returned."""
        self.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])


class FeatureBank(nn.Module):
    """The last ``size`` representations and labels; classifies a batch by weighted kNN before it enters.

    Cosine similarity, k = 20 neighbours with weights exp(s / 0.07), as in DINO (https://arxiv.org/abs/2104.14294).

    Args:
        dim: length of a representation.
        classes: number of classes.
        size: how many are kept.
    """

    features: Tensor
    labels: Tensor
    filled: Tensor
    position: Tensor

    def __init__(self, dim: int, classes: int, *, size: int = 2048) -> None:
        super().__init__()
        self.classes, self.size = classes, size
        self.register_buffer("features", torch.zeros(size, dim))
        self.register_buffer("labels", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def score(self, features: Tensor, labels: Tensor) -> Tensor | None:
        """Return the number of right answers for a batch, or ``None`` while the bank is empty; then take it in."""
        z = F.normalize(features.float(), dim=1)
        right = None
        filled = int(self.filled)
        if filled:
            similarity, nearest = (z @ self.features[:filled].T).topk(min(20, filled), dim=1)
            votes = torch.zeros(len(z), self.classes, device=z.device)
            votes.scatter_add_(1, self.labels[:filled][nearest], (similarity / 0.07).exp())
            right = (votes.argmax(dim=1) == labels).sum()
        self._add(z, labels)
        return right

    def _add(self, z: Tensor, labels: Tensor) -> None:
        z, labels = z[-self.size :], labels[-self.size :]
        rows = (int(self.position) + torch.arange(len(z), device=z.device)) % self.size
        self.features[rows], self.labels[rows] = z, labels
        self.position.fill_((int(self.position) + len(z)) % self.size)
        self.filled.fill_(min(self.size, int(self.filled) + len(z)))


@torch.no_grad()
def collapse_signs(features: Tensor) -> dict[str, float]:
    """Return two numbers that fall when representations become alike.

    ``feature_std`` is the standard deviation of normalised representations, averaged over dimensions, times sqrt(dim):
    1 when they fill the sphere evenly, 0 when all are equal (SimSiam, section 4.1, https://arxiv.org/abs/2011.10566).
    ``effective_rank`` is the exponential of the entropy of the singular values (RankMe, eq. 1,
    https://arxiv.org/abs/2210.02885): the number of directions in use.
    """
    z = F.normalize(features.float(), dim=1)
    std = float(z.std(dim=0, unbiased=False).mean()) * math.sqrt(z.shape[1])
    values = torch.linalg.svdvals(z)
    share = values / values.sum().clamp_min(1e-12)
    entropy = -(share * (share + 1e-7).log()).sum()
    return {"feature_std": std, "effective_rank": float(entropy.exp())}


def collapse_warning(signs: dict[str, float]) -> str | None:
    """Return a sentence when the signs say that all representations are becoming one, else ``None``."""
    if signs["feature_std"] < 0.05:
        return (
            f"the representations are nearly all equal (standard deviation {signs['feature_std']:.3f} of 1): collapse; "
            "lower the learning rate, lengthen the warm-up, or check the method's settings"
        )
    if signs["effective_rank"] < 1.5:
        return (
            f"the representations use {signs['effective_rank']:.1f} directions only: collapse in all but one; "
            "lower the learning rate or check the method's settings"
        )
    return None
