r"""Iterative normalisation: features of a batch are made uncorrelated, by a few Newton steps to the inverse root.

Huang, Zhou, Zhu, Liu, Shao, "Iterative Normalization: Beyond Standardization towards Efficient Whitening", CVPR 2019,
https://arxiv.org/abs/1904.03441, algorithm 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nearfar.distributed import gather_sizes, sum_over_ranks
from nearfar.errors import require

__all__ = ["IterativeNorm"]


class IterativeNorm(nn.Module):
    r"""y = gamma W (x - mean), with W near the inverse square root of the batch's covariance.

    .. math:: P_0 = I, \quad P_k = \tfrac12 (3 P_{k-1} - P_{k-1}^3 \Sigma_N), \quad
        \Sigma_N = \Sigma / \mathrm{tr} \Sigma, \quad W = P_T / \sqrt{\mathrm{tr} \Sigma}

    Features are whitened in groups of ``dim / groups``. Mean and covariance (divisor N) are those of all ranks' rows,
    as a synchronised BatchNorm's; in eval mode running averages of mean and W take their place. Few steps whiten
    partly: directions of little variance stay below 1. It computes in float32, also under autocast.

    Departure: a scale without a shift, because what follows here centres the batch anyway.

    Args:
        dim: D, number of features.
        groups: number of groups, a divisor of D; 64 as in VIbCReg's code.
        iterations: T, Newton steps; 5 in the paper.
        eps: added to the variances, > 0.
        momentum: weight of a batch in the running averages, in [0, 1].

    Raises:
        InputError: when a setting is out of its range.
    """

    running_mean: Tensor
    running_whitening: Tensor

    def __init__(
        self, dim: int, *, groups: int = 64, iterations: int = 5, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__()
        require(groups >= 1 and dim % groups == 0, "IterativeNorm", "groups", f"a divisor of dim ({dim})", groups)
        require(iterations >= 1, "IterativeNorm", "iterations", ">= 1", iterations)
        require(eps > 0, "IterativeNorm", "eps", "> 0", eps)
        require(0 <= momentum <= 1, "IterativeNorm", "momentum", "in [0, 1]", momentum)
        self.dim, self.groups, self.iterations, self.eps, self.momentum = dim, groups, iterations, eps, momentum
        width = dim // groups
        self.scale = nn.Parameter(torch.ones(dim))
        self.register_buffer("running_mean", torch.zeros(groups, width))
        self.register_buffer("running_whitening", torch.eye(width).repeat(groups, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, D) for (N, D), float32 (float64 for float64 input)."""
        with torch.autocast(x.device.type, enabled=False):
            x = x if x.dtype == torch.float64 else x.float()
            parts = x.reshape(len(x), self.groups, -1)
            mean, whitening = self._measure(parts) if self.training else (self.running_mean, self.running_whitening)
            white = torch.einsum("ngd,gde->nge", parts - mean, whitening.to(x.dtype))
            return white.flatten(1) * self.scale

    def _measure(self, parts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the batch's mean and W, (G, d) and (G, d, d), and move the running averages."""
        rows = sum(gather_sizes(len(parts), parts.device))
        mean = sum_over_ranks(parts.sum(0)) / rows
        centred = parts - mean
        identity = torch.eye(parts.shape[2], dtype=parts.dtype, device=parts.device)
        covariance = sum_over_ranks(torch.einsum("ngd,nge->gde", centred, centred)) / rows + self.eps * identity
        trace = covariance.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
        power = identity.expand_as(covariance)
        for _ in range(self.iterations):
            power = 1.5 * power - 0.5 * torch.linalg.matrix_power(power, 3) @ (covariance / trace)
        whitening = power * trace.rsqrt()
        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
            self.running_whitening.lerp_(whitening.to(self.running_whitening), self.momentum)
        return mean, whitening
