"""Projection and prediction heads."""

from __future__ import annotations

from torch import nn

from nearfar.errors import require

__all__ = ["mlp"]


def mlp(
    input_dim: int,
    hidden_dim: int,
    output_dim: int,
    *,
    layers: int = 2,
    norm: bool = True,
    last_norm: bool = False,
    last_affine: bool = True,
    last_bias: bool = True,
) -> nn.Sequential:
    """Return a head g: ``layers`` linear maps with ReLU between them.

    Args:
        input_dim: length of a representation h.
        hidden_dim: length of every hidden layer.
        output_dim: length of a projection z.
        layers: number of linear maps; 1 is a linear head without ReLU.
        norm: BatchNorm after every hidden linear map; such a map then has no bias.
        last_norm: BatchNorm after the last linear map as well.
        last_affine: whether that last BatchNorm has scale and shift.
        last_bias: whether the last linear map has a bias; it never has one before a BatchNorm.

    Returns:
        A module from (N, input_dim) to (N, output_dim).

    Raises:
        InputError: when a size or the number of layers is below 1.
    """
    for name, value in (("hidden_dim", hidden_dim), ("output_dim", output_dim), ("layers", layers)):
        require(value >= 1, "mlp", name, ">= 1", value)
    modules: list[nn.Module] = []
    width = input_dim
    for _ in range(layers - 1):
        modules.append(nn.Linear(width, hidden_dim, bias=not norm))
        if norm:
            modules.append(nn.BatchNorm1d(hidden_dim))
        modules.append(nn.ReLU(inplace=True))
        width = hidden_dim
    modules.append(nn.Linear(width, output_dim, bias=last_bias and not last_norm))
    if last_norm:
        modules.append(nn.BatchNorm1d(output_dim, affine=last_affine))
    return nn.Sequential(*modules)
