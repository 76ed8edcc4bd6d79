r"""Prototypes: the outputs that clustering methods assign samples to, and DINO's head that ends in them.

Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", NeurIPS 2020,
https://arxiv.org/abs/2006.09882; Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021,
https://arxiv.org/abs/2104.14294, appendix C.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.errors import require

__all__ = ["PrototypeHead", "Prototypes", "temperature_at"]


class Prototypes(nn.Module):
    """K directions c_k; the scores of an embedding z are its cosines with them.

    Args:
        dim: D, length of an embedding.
        count: K, number of prototypes.

    Attributes:
        weight: (K, D), drawn evenly over the sphere; `normalize_` brings it back there.

    Raises:
        InputError: a number is below 1.
    """

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        require(dim >= 1, "Prototypes", "dim", ">= 1", dim)
        require(count >= 1, "Prototypes", "count", ">= 1", count)
        self.weight = nn.Parameter(F.normalize(torch.randn(count, dim), dim=1))

    @torch.no_grad()
    def normalize_(self) -> None:
        """Scale every prototype to length 1, in place; once a step, before the first `forward`."""
        self.weight.copy_(F.normalize(self.weight, dim=1))

    def forward(self, z: Tensor) -> Tensor:
        """Return (N, K) float32 scores of embeddings (N, D) of any length; bf16 would blur what epsilon then divides.

        The result is a cosine as long as the prototypes have length 1.
        """
        with torch.autocast(z.device.type, enabled=False):
            return F.linear(F.normalize(z.float(), dim=1), self.weight.float())


class PrototypeHead(nn.Module):
    """DINO's head: an MLP with GELU, a bottleneck at length 1, and K outputs with weight-normalised weights.

    Weights of the MLP start as truncated normals of deviation 0.02, biases at 0. The length of every output's weights
    stays 1, as in DINO's code with ``norm_last_layer``.

    Args:
        dim: length of a representation h.
        hidden_dim: width of the hidden layers; 2048 in DINO.
        bottleneck_dim: width of the bottleneck; 256 in DINO.
        count: K, number of outputs.
        layers: linear maps up to the bottleneck; 3 in DINO.
        norm: BatchNorm after every hidden map; DINO uses none.

    Attributes:
        prototypes: (K, bottleneck_dim) the last layer's weights; their direction counts.

    Raises:
        InputError: a number is below 1.
    """

    def __init__(
        self, dim: int, hidden_dim: int, bottleneck_dim: int, count: int, *, layers: int = 3, norm: bool = False
    ) -> None:
        super().__init__()
        sizes = {"hidden_dim": hidden_dim, "bottleneck_dim": bottleneck_dim, "count": count, "layers": layers}
        for name, value in sizes.items():
            require(value >= 1, "PrototypeHead", name, ">= 1", value)
        modules: list[nn.Module] = []
        width = dim
        for _ in range(layers - 1):
            modules += [nn.Linear(width, hidden_dim), *([nn.BatchNorm1d(hidden_dim)] if norm else []), nn.GELU()]
            width = hidden_dim
        modules.append(nn.Linear(width, bottleneck_dim))
        for module in modules:
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        self.mlp = nn.Sequential(*modules)
        self.prototypes = nn.Parameter(F.normalize(torch.randn(count, bottleneck_dim), dim=1))

    def bottleneck(self, h: Tensor) -> Tensor:
        """Return (N, bottleneck_dim) float32 rows of length 1 for representations (N, dim)."""
        return F.normalize(self.mlp(h).float(), dim=1)

    def outputs(self, z: Tensor) -> Tensor:
        """Return (N, K) outputs for rows of the bottleneck; linear, so the mean's outputs are the outputs' mean."""
        return F.linear(z, F.normalize(self.prototypes, dim=1))

    def forward(self, h: Tensor) -> Tensor:
        """Return (N, K) outputs for representations (N, dim); N may be 0 without BatchNorm."""
        return self.outputs(self.bottleneck(h))


def temperature_at(progress: float | Tensor, first: float, final: float, warmup: float) -> float:
    """Return a teacher's temperature: a straight line from ``first`` to ``final`` over ``warmup``, then constant.

    Args:
        progress: share of training done.
        first: the temperature at the start.
        final: the temperature from ``warmup`` on.
        warmup: share of training; 0 for none.
    """
    done = float(progress)
    return final if done >= warmup else first + done / warmup * (final - first)
