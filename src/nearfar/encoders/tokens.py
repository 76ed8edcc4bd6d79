r"""The patches of timm's vision transformers: some replaced or left out on the way in, all tokens on the way out.

Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, https://arxiv.org/abs/2010.11929. timm itself is not
imported here.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from nearfar.errors import ConfigError, require

__all__ = ["Tokens", "check_vit", "encode_tokens", "grid_of", "patch_size", "patches_of"]


class Tokens(NamedTuple):
    """What a vision transformer makes of N pictures.

    Attributes:
        prefix: (N, P, D) class and register tokens after the last norm.
        patches: (N, L, D) patch tokens after the last norm, in the order they were given in.
        h: (N, D) float32 the representation, pooled from these tokens as the encoder pools all of them.
    """

    prefix: Tensor
    patches: Tensor
    h: Tensor


def check_vit(who: str, encoder: nn.Module) -> None:
    """Refuse an encoder that is no plain vision transformer of timm, whose tokens go through one stack of blocks.

    Relatives with other positions (Eva, BEiT) or a pooling layer have parts that `encode_tokens` passes by.

    Raises:
        ConfigError: it is another one, or drops patches by itself.
    """
    model = _model(encoder)
    kinds = {f"{kind.__module__}.{kind.__name__}" for kind in type(model).__mro__}
    plain = "timm.models.vision_transformer.VisionTransformer" in kinds
    plain = plain and model.attn_pool is None and isinstance(model.patch_drop, nn.Identity)
    must = "a plain vision transformer of timm, pooled by its class token or by the mean"
    fix = "take one such as vit_tiny_patch16_224, without patch_drop_rate"
    require(plain, who, "encoder", must, type(model).__name__, fix, error=ConfigError)


def patch_size(encoder: nn.Module) -> tuple[int, int]:
    """Return height and width of a patch in pixels."""
    height, width = _model(encoder).patch_embed.patch_size
    return int(height), int(width)


def grid_of(encoder: nn.Module, images: Tensor) -> tuple[int, int]:
    """Return the number of patches along height and width of pictures (N, C, H, W)."""
    height, width = patch_size(encoder)
    return images.shape[2] // height, images.shape[3] // width


def patches_of(encoder: nn.Module, images: Tensor) -> Tensor:
    """Cut pictures (N, C, H, W) into patches (N, L, C * height * width), in the order of the encoder's tokens."""
    (height, width), (rows, columns) = patch_size(encoder), grid_of(encoder, images)
    whole = images[:, :, : rows * height, : columns * width]
    cut = whole.reshape(*images.shape[:2], rows, height, columns, width)
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def encode_tokens(
    encoder: nn.Module,
    images: Tensor,
    *,
    hidden: Tensor | None = None,
    mask_token: Tensor | None = None,
    keep: Tensor | None = None,
) -> Tokens:
    """Run the encoder with some patches replaced or left out; with neither, ``h`` is what ``encoder(images)`` returns.

    Positions are added after patches were replaced and before they are left out, so every token knows its place.

    Args:
        encoder: one that passes `check_vit`.
        images: (N, C, H, W).
        hidden: (N, L) bool, true where ``mask_token`` takes the place of the patch's embedding.
        mask_token: (D,), needed with ``hidden``; it gets a gradient even where nothing is hidden.
        keep: (N, K) int64, the patches that the blocks see, in this order; all when absent.
    """
    model = _model(encoder)
    embedded = model.patch_embed(images)  # (N, L, D), or (N, H', W', D) in models for pictures of any size
    if hidden is not None:
        assert mask_token is not None
        where = hidden.view(embedded.shape[:-1])[..., None]
        embedded = torch.where(where, mask_token.to(embedded.dtype), embedded)
    tokens = model._pos_embed(embedded)
    count = int(model.num_prefix_tokens)
    if keep is not None:
        index = keep[:, :, None].expand(-1, -1, tokens.shape[2])
        tokens = torch.cat([tokens[:, :count], tokens[:, count:].gather(1, index)], 1)
    tokens = model.norm(model.blocks(model.norm_pre(tokens)))
    h = model.forward_head(tokens)
    normed = model.fc_norm(tokens)  # models that pool by the mean have their last norm here, and none above
    return Tokens(normed[:, :count], normed[:, count:], h.float() if h.dtype in (torch.bfloat16, torch.float16) else h)


def _model(encoder: nn.Module) -> Any:
    return cast(Any, encoder).model
