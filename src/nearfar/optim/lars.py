"""LARS: layer-wise adaptive rate scaling for large batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from nearfar.errors import require

__all__ = ["LARS"]


class LARS(Optimizer):
    r"""Momentum SGD whose step is scaled, layer by layer, to the size of the layer's weights.

    You, Gitman, Ginsburg, "Large Batch Training of Convolutional Networks", 2017, https://arxiv.org/abs/1708.03888,
    Algorithm 1, in the form of SimCLR's reference implementation (the learning rate stands inside the momentum)::

        g <- g + weight_decay * w
        q  = trust_coefficient * |w| / |g|     if |w| > 0 and |g| > 0, else 1
        v <- momentum * v + lr * q * g
        w <- w - v

    A parameter group with ``adapt=False`` has q = 1; biases and norms belong there, with a weight decay of 0
    (`nearfar.optim.parameter_groups` makes such groups). A parameter of norm zero has q = 1, so it still moves.

    Args:
        params: parameters or groups; a group may set ``adapt``.
        lr: learning rate, > 0.
        momentum: in [0, 1); 0.9 in SimCLR.
        weight_decay: >= 0; 1e-6 in SimCLR, 1e-4 in SimCLRv2.
        trust_coefficient: the paper's eta, > 0; 0.001 in SimCLR.
        adapt: whether to scale layer by layer.

    Raises:
        InputError: when a setting is out of its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        adapt: bool = True,
    ) -> None:
        require(lr >= 0, "LARS", "lr", ">= 0", lr)
        require(0 <= momentum < 1, "LARS", "momentum", "in [0, 1)", momentum)
        require(weight_decay >= 0, "LARS", "weight_decay", ">= 0", weight_decay)
        require(trust_coefficient > 0, "LARS", "trust_coefficient", "> 0", trust_coefficient)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            "adapt": adapt,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        """Take one step; ``closure`` re-evaluates the loss, as in every torch optimiser."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, group)
        return loss

    def _update(self, p: Tensor, group: dict[str, Any]) -> None:
        assert p.grad is not None
        grad = p.grad.add(p, alpha=group["weight_decay"]) if group["weight_decay"] else p.grad
        if group["adapt"]:
            p_norm, g_norm = p.norm(), grad.norm()
            trust = torch.where((p_norm > 0) & (g_norm > 0), group["trust_coefficient"] * p_norm / g_norm, 1.0)
            grad = grad * trust
        state = self.state[p]
        velocity = state.setdefault("velocity", torch.zeros_like(p))
        velocity.mul_(group["momentum"]).add_(grad, alpha=group["lr"])
        p.sub_(velocity)
