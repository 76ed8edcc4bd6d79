"""From a few items in memory to vectors: what searching and serving ask an encoder with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nearfar.modalities import IMAGE
from nearfar.pipeline.features import Subject

__all__ = ["embedder"]


def embedder(subject: Subject) -> Callable[[Sequence[NDArray[Any]]], NDArray[np.float32]]:
    """Return a function from (H, W, C) images to (N, dim) vectors, as `nearfar.embed` makes them."""
    view = IMAGE.evaluation_view(subject.spec.image_size, mean=subject.spec.mean, std=subject.spec.std)

    def embed(items: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        views = IMAGE.make_views(list(items), [view], np.random.default_rng(0))
        assert isinstance(views[0], torch.Tensor)
        assert subject.encoder is not None
        with torch.inference_mode():
            h = subject.encoder(views[0])
        vectors: NDArray[np.float32] = h.float().numpy()
        return vectors

    return embed
