r"""BatchNorm whose statistics are over parts of a batch, as if each part stood on a device of its own.

He et al., "Momentum Contrast", CVPR 2020, https://arxiv.org/abs/1911.05722, section 3.3: statistics over the whole
batch tell query and key which batch they come from, and the loss is solved by that. On one device the cure, shuffled
batches (`nearfar.nn.draw_shuffle`), needs parts as here; the authors' demonstration on CIFAR-10 takes 8.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.distributed import world_size
from nearfar.errors import ConfigError, require

__all__ = ["SplitBatchNorm", "split_batch_norms"]

_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class SplitBatchNorm(nn.Module):
    """A BatchNorm layer, taken over with its weights and running statistics; only the batch is normalised in parts.

    In train mode every part of consecutive rows is normalised by its own mean and variance, and the running statistics
    follow the mean over parts. In eval mode it is the ordinary layer. Names and shapes of its state are those of the
    ordinary layer, so that either loads the other's weights.

    It is no subclass of torch's, so converting a model to BatchNorm over all ranks leaves it alone: statistics never
    leave the rank. With ``parts=1`` that is all it does.

    Args:
        norm: the layer to take over; weights and buffers are shared with it, not copied.
        parts: into how many parts the batch of all ranks is cut, each rank's as evenly as possible: 8 parts on one rank
            and on eight ranks are the same parts. A rank has 1 part at least, and a part 2 rows, so that a small batch
            is cut into fewer.

    Raises:
        InputError: ``parts`` is below 1.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d, parts: int) -> None:
        super().__init__()
        require(parts >= 1, "SplitBatchNorm", "parts", ">= 1", parts)
        self.parts = parts
        self.num_features, self.eps, self.momentum = norm.num_features, norm.eps, norm.momentum
        self.register_parameter("weight", norm.weight)
        self.register_parameter("bias", norm.bias)
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))
        self.training = norm.training

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, num_features, ...) over all axes but the second."""
        mean, variance = self.running_mean, self.running_var
        if mean is not None and not self.training:
            return F.batch_norm(x, mean, variance, self.weight, self.bias, False, 0.0, self.eps)
        parts = max(1, min(self.parts // world_size(), len(x) // 2))
        if mean is None or variance is None:
            return self._normalised(x, [None] * parts, [None] * parts, 0.0)
        means, variances = mean.repeat(parts, 1), variance.repeat(parts, 1)
        normalised = self._normalised(x, list(means), list(variances), self._share_of_new())
        with torch.no_grad():
            mean.copy_(means.mean(0))
            variance.copy_(variances.mean(0))
        return normalised

    def extra_repr(self) -> str:
        """Return what ``print`` shows."""
        return f"{self.num_features}, parts={self.parts}"

    def _normalised(
        self, x: Tensor, means: Sequence[Tensor | None], variances: Sequence[Tensor | None], share: float
    ) -> Tensor:
        """Normalise every part by itself; its statistics enter its own row of running ones, in place."""
        pieces = [
            F.batch_norm(part, mean, variance, self.weight, self.bias, True, share, self.eps)
            for part, mean, variance in zip(x.tensor_split(len(means)), means, variances, strict=True)
        ]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _share_of_new(self) -> float:
        """Count the batch; return how much its statistics weigh, 1 / batches where there is no momentum."""
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        return 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum


def split_batch_norms(module: nn.Module, parts: int) -> nn.Module:
    """Replace every BatchNorm layer of a module, in place, by a `SplitBatchNorm` that shares its weights.

    Args:
        module: the module to change, or itself a BatchNorm layer.
        parts: parts of the batch of all ranks; 1 keeps every rank's batch whole.

    Returns:
        The module; a new one only where it is itself a BatchNorm layer.

    Raises:
        ConfigError: when a layer is a BatchNorm of another make, which does more than normalise (timm's with an
            activation, or one over all ranks).
        InputError: when ``parts`` is below 1.
    """
    if type(module) in _PLAIN:
        return SplitBatchNorm(module, parts)  # type: ignore[arg-type]
    if isinstance(module, SplitBatchNorm):
        module.parts = parts
    other = isinstance(module, nn.modules.batchnorm._BatchNorm)
    must, fix = "plain BatchNorm", "take batchnorm=plain, or an encoder such as small or resnet18"
    require(not other, "split_batch_norms", "normalisation", must, type(module).__name__, fix, error=ConfigError)
    for name, child in module.named_children():
        module.register_module(name, split_batch_norms(child, parts))
    return module
