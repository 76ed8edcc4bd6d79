r"""MAE: an encoder sees a quarter of the patches, a small decoder restores the pixels of the others.

He, Chen, Xie, Li, Dollár, Girshick, "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022,
https://arxiv.org/abs/2111.06377

    encoder   h = f(x)           kept; a vision transformer, which sees the visible patches alone
    head      decoder            transformer over all patches, a learned token where one is hidden, then a linear map
    loss      mean squared error of the pixels of hidden patches, each patch normalised (section 3)
    state     none

Defaults are the paper's: 75 % hidden, evenly drawn; a decoder of 8 blocks, width 512, 16 heads; normalised pixels.
Departures: the encoder has timm's learned positions in place of fixed sines, and timm's initial weights. ``features``
are pooled as ``encoder(x)`` pools them, but from the visible patches: seeing them all would cost four times as much.
There is one view; crops and flips suffice, colour changes make it worse (table 1e of the paper).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from nearfar.data.batch import Batch
from nearfar.distributed import mean_over_rows
from nearfar.encoders.tokens import Tokens, check_vit, encode_tokens, grid_of, patch_size, patches_of
from nearfar.errors import require
from nearfar.methods.base import Info, Method, Step
from nearfar.nn import draw_orders

__all__ = ["MAE"]


class MAE(Method):
    """Masked autoencoder on one view.

    Args:
        encoder: a vision transformer of timm.
        mask_ratio: share of the patches that are hidden, in (0, 1).
        decoder_dim: width of the decoder, a multiple of 4.
        decoder_depth: blocks of the decoder.
        decoder_heads: attention heads of a block; they divide the width.
        normalize_pixels: take every patch's mean off and divide by its deviation before it is compared.

    Raises:
        InputError: when a setting is out of its range.
        ConfigError: when the encoder is no plain vision transformer.
    """

    info: ClassVar[Info] = Info(
        "three quarters of the patches are hidden and their pixels restored",
        "He et al. 2022",
        "https://arxiv.org/abs/2111.06377",
        negatives=False,
        least_views=1,
        most_views=1,
        encoder="vit",
    )

    def __init__(
        self,
        encoder: nn.Module,
        *,
        mask_ratio: float = 0.75,
        decoder_dim: int = 512,
        decoder_depth: int = 8,
        decoder_heads: int = 16,
        normalize_pixels: bool = True,
    ) -> None:
        super().__init__()
        require(0 < mask_ratio < 1, "MAE", "mask_ratio", "in (0, 1)", mask_ratio)
        fits = decoder_dim >= 4 and decoder_dim % 4 == 0
        require(fits, "MAE", "decoder_dim", "a multiple of 4, as two sines on each axis need", decoder_dim)
        require(decoder_depth >= 1, "MAE", "decoder_depth", ">= 1", decoder_depth)
        divides = decoder_heads >= 1 and decoder_dim % decoder_heads == 0
        require(divides, "MAE", "decoder_heads", f"a divisor of decoder_dim ({decoder_dim})", decoder_heads)
        check_vit("MAE", encoder)
        dim = int(encoder.dim)  # type: ignore[arg-type]
        self.encoder = encoder
        self.mask_ratio, self.normalize_pixels = mask_ratio, normalize_pixels
        self.decoder_dim, self.decoder_depth, self.decoder_heads = decoder_dim, decoder_depth, decoder_heads
        height, width = patch_size(encoder)
        pixels = height * width * int(encoder.model.in_chans)  # type: ignore[union-attr, arg-type]
        self.decoder = Decoder(dim, decoder_dim, decoder_depth, decoder_heads, pixels)

    def step(self, batch: Batch) -> Step:
        """Return the squared error of the hidden patches' pixels."""
        images = batch.views[0]
        only = len(batch.views) == 1 and isinstance(images, Tensor)
        require(only, "MAE", "views", "one tensor of pictures", f"{len(batch.views)} of {type(images).__name__}")
        assert isinstance(images, Tensor)
        grid = grid_of(self.encoder, images)
        patches = grid[0] * grid[1]
        visible = int(patches * (1 - self.mask_ratio))
        fix = "take larger pictures, smaller patches or another mask_ratio"
        require(0 < visible < patches, "MAE", "visible patches", f"in 1..{patches - 1}", visible, fix)
        order = draw_orders(len(images), patches, device=images.device)
        tokens = encode_tokens(self.encoder, images, keep=order[:, :visible])
        restored = self.decoder(tokens, order, grid)
        values = pixel_errors(
            restored, patches_of(self.encoder, images), order[:, visible:], normalize=self.normalize_pixels
        )
        return Step(loss=mean_over_rows(values), features=tokens.h.detach())


class Decoder(nn.Module):
    """Pixels of every patch from the tokens of the visible ones.

    Args:
        encoder_dim: length of the encoder's tokens.
        dim: width of the decoder.
        depth: number of blocks.
        heads: attention heads of a block.
        pixels: numbers in a patch.
    """

    def __init__(self, encoder_dim: int, dim: int, depth: int, heads: int, pixels: int) -> None:
        super().__init__()
        self.embed = nn.Linear(encoder_dim, dim)
        self.mask_token = nn.Parameter(torch.randn(dim) * 0.02)
        blocks = [
            nn.TransformerEncoderLayer(
                dim, heads, 4 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        ]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(dim)
        self.project = nn.Linear(dim, pixels)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tokens, order: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return (N, L, pixels), in the order of the picture.

        Args:
            tokens: the encoder's; its patches are the first of ``order``.
            order: (N, L) int64, the visible patches' places, then those of the hidden ones.
            grid: patches along height and width.
        """
        x = in_place(self.embed(tokens.patches), self.mask_token, order)
        x = x + positions(grid, x.shape[2], x.device)
        prefix = self.embed(tokens.prefix)
        x = self.blocks(torch.cat([prefix, x.to(prefix.dtype)], 1))
        restored: Tensor = self.project(self.norm(x[:, prefix.shape[1] :]))
        return restored


def in_place(visible: Tensor, mask_token: Tensor, order: Tensor) -> Tensor:
    """Put visible tokens (N, K, D) back where they were, with the mask token in all other places of (N, L, D)."""
    hidden = mask_token.to(visible.dtype).expand(len(visible), order.shape[1] - visible.shape[1], -1)
    together = torch.cat([visible, hidden], 1)
    return together.gather(1, order.argsort(1)[:, :, None].expand(-1, -1, together.shape[2]))


def positions(grid: tuple[int, int], dim: int, device: torch.device) -> Tensor:
    """Return (L, dim) fixed positions: sines and cosines of the row in one half, of the column in the other."""
    rate = 10000.0 ** -torch.linspace(0, 1, dim // 4 + 1, device=device)[:-1]
    y, x = torch.meshgrid(*(torch.arange(side, device=device) for side in grid), indexing="ij")
    angles = [axis.flatten()[:, None] * rate for axis in (y, x)]
    return torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], 1)


def pixel_errors(restored: Tensor, patches: Tensor, hidden: Tensor, *, normalize: bool = True) -> Tensor:
    """Return every picture's mean squared error over its hidden patches, (N,) float32.

    Args:
        restored: (N, L, P) the decoder's.
        patches: (N, L, P) the pixels.
        hidden: (N, M) int64, the places of the hidden patches.
        normalize: compare with patches of mean 0 and (unbiased) variance 1; 1e-6 is added to the variance.
    """
    index = hidden[:, :, None].expand(-1, -1, patches.shape[2])
    target, found = patches.float().gather(1, index), restored.float().gather(1, index)
    if normalize:
        variance, mean = torch.var_mean(target, dim=2, keepdim=True)
        target = (target - mean) / (variance + 1e-6).sqrt()
    return (found - target).square().mean((1, 2))
