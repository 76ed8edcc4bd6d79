r"""The nearest stored embedding of each embedding: NNCLR's positives, taken from a queue.

Dwibedi, Aytar, Tompson, Sermanet, Zisserman, "With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning
of Visual Representations", ICCV 2021, https://arxiv.org/abs/2104.14548, eq. 2.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nearfar.errors import require
from nearfar.ranking import chunks

__all__ = ["nearest"]

_ENTRIES = 2**24
"""Similarities held at once: 64 MiB in float32."""


@torch.no_grad()
def nearest(z: Tensor, keys: Tensor) -> Tensor:
    r"""Return the key of the largest cosine for every row: NN(z, Q) = argmin_q ||z - q|| at length 1 (eq. 2).

    Similarities are computed in float32, block by block, so that memory does not grow with N * R.

    Args:
        z: (N, D) float; need not be normalised.
        keys: (R, D) float, what a `nearfar.nn.Queue` holds (``queue.contents().keys``); need not be normalised. Among
            keys that are equally near the first counts.

    Returns:
        (N, D) rows of ``keys``, of its type, as they are stored and without gradient. Without keys (R = 0, the first
        step of a run) ``z`` itself, also without gradient, as it was given.

    Raises:
        InputError: when the shapes do not fit.
    """
    fits = z.ndim == 2 and keys.ndim == 2 and z.shape[1] == keys.shape[1]
    require(fits, "nearest", "keys", "(R, D) for z of (N, D)", f"{tuple(keys.shape)} for {tuple(z.shape)}")
    if len(keys) == 0:
        return z.detach()
    with torch.autocast(z.device.type, enabled=False):
        wide = torch.promote_types(z.dtype, torch.float32)
        candidates = F.normalize(keys.to(wide), dim=1)
        blocks = [(z[rows].to(wide) @ candidates.T).argmax(1) for rows in chunks(len(z), len(keys), _ENTRIES)]
    return keys[torch.cat(blocks)]
