r"""W-MSE: views agree after each batch has been whitened, which leaves no room to collapse.

Ermolov, Siarohin, Sangineto, Sebe, "Whitening for Self-Supervised Representation Learning", ICML 2021,
https://arxiv.org/abs/2007.06346

    encoder   h = f(x)             kept; every view is a pass of its own, so BatchNorm there sees N
    head      z = g(h)             MLP with one hidden layer and BatchNorm; one pass over all views
    loss      |v_i - v_j|^2        mean over pairs of views; v is z, whitened over blocks of the batch and then of
                                   length 1 (section 3)
    state     steps taken, which seed the orders of the rows

Defaults are the published code's for CIFAR-10: output 64, blocks of 128 rows, rows whitened once; the width, 1,024, is
solo-learn's. Its best numbers have 4 views; STL-10 and Tiny ImageNet: output 128, blocks of 256, 4 iterations. A block
needs more rows than the output has features, and should have twice as many.
Departures: blocks are cut from all ranks' rows; with one iteration the rows are taken as they come, because batches are
shuffled, and orders are drawn for the further ones alone.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from nearfar.data.batch import Batch
from nearfar.distributed import gather_sizes
from nearfar.errors import require
from nearfar.losses import w_mse
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import mlp

__all__ = ["WMSE"]


class WMSE(Method):
    """W-MSE on two views or more.

    Args:
        encoder: any module with ``dim``.
        hidden_dim: width of the head's hidden layers; 0 takes the encoder's ``dim``.
        output_dim: length D of a projection z, below ``block_size``.
        head_layers: linear maps in the head; 2, on ImageNet 3.
        block_size: rows whitened together; ``None`` for the whole batch.
        iterations: number of orders in which the batch is cut into blocks, >= 1.
        whitening_eps: shrinkage of a block's covariance in [0, 1); above 0 also degenerate batches can be whitened.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "views agree after the batch was whitened",
        "Ermolov et al. 2021",
        "https://arxiv.org/abs/2007.06346",
        negatives=False,
        most_views=None,
    )
    steps: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        *,
        hidden_dim: int = 1024,
        output_dim: int = 64,
        head_layers: int = 2,
        block_size: int | None = 128,
        iterations: int = 1,
        whitening_eps: float = 0.0,
    ) -> None:
        super().__init__()
        require(iterations >= 1, "WMSE", "iterations", ">= 1", iterations)
        require(0 <= whitening_eps < 1, "WMSE", "whitening_eps", "in [0, 1)", whitening_eps)
        fits = block_size is None or block_size > output_dim or whitening_eps > 0
        require(fits, "WMSE", "block_size", f"> output_dim ({output_dim})", block_size, "use whitening_eps > 0")
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.hidden_dim, self.output_dim, self.head_layers = hidden_dim or dim, output_dim, head_layers
        self.block_size, self.iterations, self.whitening_eps = block_size, iterations, whitening_eps
        # whitening centres, so a last bias would have no effect
        self.head = mlp(dim, self.hidden_dim, output_dim, layers=head_layers, last_bias=False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def step(self, batch: Batch) -> Step:
        """Return the mean distance over all pairs of views."""
        count = len(batch.views)
        require(count >= 2, "WMSE", "number of views", ">= 2", count)
        h = [self.encoder(view) for view in batch.views]
        z = self.head(torch.cat(h)).chunk(count)
        loss = w_mse(*z, block_size=self.block_size, eps=self.whitening_eps, order=self._orders(z[0]))
        return Step(loss=loss, features=h[0].detach())

    def _orders(self, z: Tensor) -> Tensor | None:
        """Draw orders of all ranks' rows, the same on every rank; the first is the order as it is."""
        if self.iterations == 1:
            return None
        rows = sum(gather_sizes(len(z), z.device))
        generator = torch.Generator().manual_seed(int(self.steps))
        drawn = [torch.randperm(rows, generator=generator) for _ in range(self.iterations - 1)]
        self.steps += 1
        return torch.stack([torch.arange(rows), *drawn]).to(z.device)
