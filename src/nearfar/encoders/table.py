"""Encoders of rows of a table: a plain MLP, a residual one, and a small transformer over columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from nearfar.encoders.base import Encoder
from nearfar.errors import require

__all__ = ["TableMLP", "TableResNet", "TableTransformer"]

MOST_COLUMNS = 512
"""The most columns that attention is computed over; its cost grows with their square."""


class TableMLP(Encoder):
    """Linear maps with ReLU, SCARF's encoder (section 4, https://arxiv.org/abs/2106.15147): four of 256.

    Args:
        sizes: how many numbers each column has: 1, or a category's number of texts.
        width: of every layer, and ``dim``.
        depth: layers.
        dropout: probability after every ReLU but the last; 0 in the paper.
        norm: BatchNorm before every ReLU; the paper has none.

    Raises:
        InputError: when a setting is out of its range.
    """

    modality: ClassVar[str] = "table"

    def __init__(
        self, *, sizes: Sequence[int], width: int = 256, depth: int = 4, dropout: float = 0.0, norm: bool = False
    ) -> None:
        super().__init__()
        _check("TableMLP", width, depth, dropout)
        self.dim = width
        layers: list[nn.Module] = []
        for layer in range(depth):
            layers.append(nn.Linear(width if layer else sum(sizes), width, bias=not norm))
            layers += [nn.BatchNorm1d(width)] if norm else []
            layers.append(nn.ReLU())
            layers += [nn.Dropout(dropout)] if dropout and layer + 1 < depth else []
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return h of shape (N, width) for rows of shape (N, sum(sizes))."""
        h: Tensor = self.layers(x)
        return h.float()


class TableResNet(Encoder):
    """The residual MLP of Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", NeurIPS 2021, eq. 2.

    https://arxiv.org/abs/2106.11959: a linear map, then blocks x + drop(linear(drop(ReLU(linear(BatchNorm(x)))))), then
    BatchNorm and ReLU.

    Args:
        sizes: how many numbers each column has.
        width: of a row between blocks, and ``dim``.
        depth: blocks.
        factor: the inner layer's width over ``width``.
        dropout: inside the blocks.

    Raises:
        InputError: when a setting is out of its range.
    """

    modality: ClassVar[str] = "table"

    def __init__(
        self, *, sizes: Sequence[int], width: int = 192, depth: int = 2, factor: float = 2.0, dropout: float = 0.2
    ) -> None:
        super().__init__()
        _check("TableResNet", width, depth, dropout)
        require(factor > 0, "TableResNet", "factor", "> 0", factor)
        self.dim, inner = width, max(1, round(factor * width))
        self.first = nn.Linear(sum(sizes), width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm1d(width), nn.Linear(width, inner), nn.ReLU(), nn.Dropout(dropout),
                nn.Linear(inner, width), nn.Dropout(dropout / 2),
            )
            for _ in range(depth)
        )  # fmt: skip
        self.last = nn.Sequential(nn.BatchNorm1d(width), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Return h of shape (N, width) for rows of shape (N, sum(sizes))."""
        h = self.first(x)
        for block in self.blocks:
            h = h + block(h)
        out: Tensor = self.last(h)
        return out.float()


class TableTransformer(Encoder):
    """The FT-Transformer of the same paper (eq. 3): a token a column, attention between them, h of a further token.

    Args:
        sizes: how many numbers each column has; at most 512 columns.
        width: of a token, and ``dim``.
        depth: layers.
        heads: of attention; a divisor of ``width``.
        dropout: of attention and of the inner layers.

    Raises:
        InputError: when a setting is out of its range, or there are too many columns.
    """

    modality: ClassVar[str] = "table"
    column: Tensor

    def __init__(
        self, *, sizes: Sequence[int], width: int = 64, depth: int = 2, heads: int = 4, dropout: float = 0.1
    ) -> None:
        super().__init__()
        _check("TableTransformer", width, depth, dropout)
        require(width % heads == 0, "TableTransformer", "heads", f"a divisor of width {width}", heads)
        fix = "take table-mlp or table-resnet"
        require(len(sizes) <= MOST_COLUMNS, "TableTransformer", "columns", f"<= {MOST_COLUMNS}", len(sizes), fix)
        self.dim = width
        column = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(list(sizes)))
        self.register_buffer("column", column, persistent=False)
        self.weight = nn.Parameter(torch.randn(len(column), width) / width**0.5)
        self.bias = nn.Parameter(torch.randn(len(sizes) + 1, width) / width**0.5)  # the last is the further token
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return h of shape (N, width) for rows of shape (N, sum(sizes))."""
        parts = x.unsqueeze(2) * self.weight
        tokens = parts.new_zeros(len(x), len(self.bias), self.dim).index_add(1, self.column, parts) + self.bias
        h: Tensor = self.norm(self.layers(tokens)[:, -1])
        return h.float()


def _check(who: str, width: int, depth: int, dropout: float) -> None:
    require(width >= 1, who, "width", ">= 1", width)
    require(depth >= 1, who, "depth", ">= 1", depth)
    require(0 <= dropout < 1, who, "dropout", "in [0, 1)", dropout)
