r"""CPC v2: an image is cut into patches, and those above predict those below among the patches of the batch.

Oord, Li, Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018, https://arxiv.org/abs/1807.03748;
Hénaff et al., "Data-Efficient Image Recognition with Contrastive Predictive Coding", ICML 2020,
https://arxiv.org/abs/1905.09272 (v2)

    encoder   f(patch)                 kept; every patch is encoded by itself
    head      context c, targets z     c: convolutions that see the rows above and the own one; z: a linear map
    loss      InfoNCE (eq. 4 of v1)    W_k c at row i, column j predicts z at row i + k, same column; negatives: all
                                       other z of the batch, of the own image as well, over all ranks
    state     none

One view per item suffices. A view of side S is cut into ``grid`` x ``grid`` patches; by default neighbours overlap by
half (v1: patches of 64 every 32 pixels of 256). For v2's patches of 80 every 36 pixels of 260 set ``grid=6, patch=80``.
Prediction runs in ``directions`` (4 in v2: down, left, up, right), each with a context network and maps of its own.
Rows at least ``least_distance`` ahead are predicted, so that the patches share no pixel; 3 and 3, five context blocks
of width 256 and targets of length 64 are those of the pseudocode in v2's appendix.

Departures: similarities are cosines over a temperature, not dot products scaled by 0.1; colours are not changed patch
by patch; normalisation is the encoder's own (v2 wants one that does not look across patches: take an encoder without
BatchNorm). After pretraining the encoder sees whole images, where the papers pool over patches.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.data.batch import Batch
from nearfar.errors import require
from nearfar.losses import info_nce
from nearfar.methods.base import Info, Method, Step

__all__ = ["CPC"]


class CPC(Method):
    """CPC v2 on one view.

    Args:
        encoder: a convolutional module with ``dim`` that takes images of any side.
        grid: patches per side G, >= 2.
        patch: side of a patch in pixels; 0 takes 2 S / (G + 1), at which neighbours overlap by half.
        context_dim: width of the context networks' blocks.
        layers: blocks of every context network, each of which sees one row more above, >= 1.
        output_dim: length of a target z.
        least_distance: the nearest row predicted, >= 1.
        most_distance: the farthest row predicted, < ``grid``.
        directions: how many of down, left, up and right are predicted, 1 to 4.
        temperature: tau > 0; ours.

    Raises:
        InputError: when a setting is out of its range.
    """

    info: ClassVar[Info] = Info(
        "patches of an image predict those below among the patches of the batch",
        "Hénaff et al. 2020",
        "https://arxiv.org/abs/1905.09272",
        least_views=1,
        most_views=1,
        encoder="maps",
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        grid: int = 7,
        patch: int = 0,
        context_dim: int = 256,
        layers: int = 5,
        output_dim: int = 64,
        least_distance: int = 3,
        most_distance: int = 3,
        directions: int = 4,
        temperature: float = 0.1,
    ) -> None:
        super().__init__()
        require(temperature > 0, "CPC", "temperature", "> 0", temperature)
        require(1 <= directions <= 4, "CPC", "directions", "from 1 to 4", directions)
        for name, value in (("context_dim", context_dim), ("layers", layers), ("output_dim", output_dim)):
            require(value >= 1, "CPC", name, ">= 1", value)
        require(
            1 <= least_distance <= most_distance, "CPC", "least_distance", "from 1 to most_distance", least_distance
        )
        require(most_distance < grid, "CPC", "most_distance", f"< {grid}, the grid", most_distance)
        require(patch >= 0, "CPC", "patch", ">= 0", patch)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.grid, self.patch, self.context_dim, self.layers = grid, patch, context_dim, layers
        self.output_dim, self.directions, self.temperature = output_dim, directions, temperature
        self.least_distance, self.most_distance = least_distance, most_distance
        distances = range(least_distance, most_distance + 1)
        self.heads = nn.ModuleList(
            Predictor(dim, context_dim, layers, output_dim, distances) for _ in range(directions)
        )

    def step(self, batch: Batch) -> Step:
        """Return the mean InfoNCE over directions and distances."""
        require(len(batch.views) == 1, "CPC", "number of views", "1", len(batch.views))
        view = batch.views[0]
        fits = isinstance(view, Tensor) and view.ndim == 4
        require(fits, "CPC", "view", "images (N, C, S, S)", getattr(view, "shape", type(view).__name__))
        h = cast(Tensor, self.encoder(cut(cast(Tensor, view), self.grid, self.patch)))
        h_NGGC = h.reshape(-1, self.grid, self.grid, h.shape[1])
        losses = []
        for turns, head in enumerate(self.heads):
            turned = torch.rot90(h_NGGC, turns, (1, 2)).permute(0, 3, 1, 2)
            losses += [
                info_nce(pairs.queries, pairs.keys, negatives=pairs.others, temperature=self.temperature)
                for pairs in head(turned)
            ]
        return Step(loss=torch.stack(losses).mean(), features=h_NGGC.detach().mean(dim=(1, 2)))


class Pairs(NamedTuple):
    """Predictions at one distance, as rows.

    Attributes:
        queries: (M, D) predictions.
        keys: (M, D) the targets that they predict.
        others: (M', D) the batch's other targets.
    """

    queries: Tensor
    keys: Tensor
    others: Tensor


class Predictor(nn.Module):
    """Predict the rows below from those above.

    Args:
        dim: length of a patch's representation.
        context_dim: width of the context network's blocks.
        layers: its number of blocks.
        output_dim: length of a target.
        distances: of the rows predicted.
    """

    def __init__(self, dim: int, context_dim: int, layers: int, output_dim: int, distances: range) -> None:
        super().__init__()
        self.distances = distances
        self.context = Context(dim, context_dim, layers)
        self.target = nn.Conv2d(dim, output_dim, 1)
        self.predictions = nn.ModuleList(nn.Conv2d(dim, output_dim, 1) for _ in distances)

    def forward(self, h: Tensor) -> list[Pairs]:
        """Return predictions and targets of every distance, for representations (N, dim, G, G)."""
        context, z = self.context(h), self.target(h)
        return [
            Pairs(_rows(predict(context[:, :, :-k])), _rows(z[:, :, k:]), _rows(z[:, :, :k]))
            for k, predict in zip(self.distances, self.predictions, strict=True)
        ]


class Context(nn.Module):
    """A residual network over the grid whose output at a row depends on this row and those above, on no row below.

    Args:
        dim: length of a patch's representation, and of its context.
        width: of the blocks.
        layers: number of blocks.
    """

    def __init__(self, dim: int, width: int, layers: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(dim, width, 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(width, width, (1, 3), padding=(0, 1)),
                nn.ZeroPad2d((0, 0, 1, 0)),  # a row above the first, so that the next map sees a row and the one above
                nn.Conv2d(width, width, (2, 1)),
                nn.ReLU(inplace=True),
                nn.Conv2d(width, dim, 1),
            )
            for _ in range(layers)
        )

    def forward(self, h: Tensor) -> Tensor:
        """Return the context (N, dim, G, G) of representations (N, dim, G, G)."""
        for block in self.blocks:
            h = h + block(h)
        return F.relu(h)


def cut(view: Tensor, grid: int, patch: int = 0) -> Tensor:
    """Cut images into overlapping patches, as far apart as fits, about the centre.

    Args:
        view: (N, C, S, S).
        grid: patches per side G.
        patch: side p of a patch; 0 for 2 S / (G + 1), rounded down.

    Returns:
        (N * G * G, C, p, p), image by image, row by row.

    Raises:
        InputError: when an image is not square, or too small for that many patches.
    """
    side = view.shape[2]
    require(view.shape[3] == side, "CPC", "view", "square", tuple(view.shape[2:]))
    patch = patch or 2 * side // (grid + 1)
    stride = (side - patch) // (grid - 1)
    fix = "choose a smaller grid or patch, or a larger image_size"
    require(patch >= 1 and stride >= 1, "CPC", "side of a view", f"enough for a grid of {grid}", side, fix)
    extent = patch + (grid - 1) * stride
    start = (side - extent) // 2
    whole = view[:, :, start : start + extent, start : start + extent]
    pieces = whole.unfold(2, patch, stride).unfold(3, patch, stride)  # (N, C, G, G, p, p)
    return pieces.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)


def _rows(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).flatten(0, 2)  # (N, D, rows, columns) -> (N * rows * columns, D)
