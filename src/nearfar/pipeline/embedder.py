"""From a few items in memory to vectors: what searching and serving ask an encoder with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nearfar.pipeline.features import Subject

__all__ = ["embedder"]


def embedder(subject: Subject) -> Callable[[Sequence[Any]], NDArray[np.float32]]:
    """Return a function from items, as their source reads them, to (N, dim) vectors, as `nearfar.embed` makes them."""
    inputs = subject.inputs
    view = inputs.evaluation_view()

    def embed(items: Sequence[Any]) -> NDArray[np.float32]:
        views = inputs.make_views(list(items), [view], np.random.default_rng(0))
        assert subject.encoder is not None
        with torch.inference_mode():
            h = subject.encoder(views[0])
        vectors: NDArray[np.float32] = h.float().numpy()
        return vectors

    return embed
