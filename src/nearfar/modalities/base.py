"""What a modality is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nearfar.data import Source, Views

__all__ = ["Modality"]

MakeViews = Callable[[Any, np.random.Generator], Sequence[Views]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Modality:
    """A reader, views and an encoder that fit together.

    Attributes:
        name: as in the run's configuration.
        open: from a path, array or data set (with ``split`` and ``channels``) to a source.
        default_views: from a size and the number of channels to the name of the views that fit.
        views: from a name, a size and the number of channels to the descriptions of a method's views.
        evaluation_view: from a size to the one view that embeddings are made from.
        make_views: from a batch of raw items, descriptions and a generator to one tensor a view.
        default_encoder: from an image size to the name of an encoder.
    """

    name: str
    open: Callable[..., Source]
    default_views: Callable[[int, int], str]
    views: Callable[[str, int, int], tuple[Any, ...]]
    evaluation_view: Callable[..., Any]
    make_views: Callable[[Any, Sequence[Any], np.random.Generator], Sequence[Views]]
    default_encoder: Callable[[int], str]
