"""Which views labels, pseudo-labels and teachers are learnt with.

    light     what the modality makes of the run's first view for labels: of images the crop and the mirror, no more
    strong    the first view that the run was pretrained with
    scored    the one that embeddings and scores are made from

The light view follows from the run's, so that what must not be mirrored in pretraining is not mirrored here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nearfar.data import Loader, MakeViews, Source
from nearfar.data.loader import cpu_count
from nearfar.modalities import MODALITIES, Inputs
from nearfar.pipeline.view_settings import check_view_options, with_options

__all__ = ["light", "loader", "strong"]


def strong(inputs: Inputs, settings: Mapping[str, Any]) -> Any:
    """Return the first view that a run with these settings was pretrained with."""
    name = settings.get("views") or "auto"
    name = inputs.default_views if name == "auto" else name
    options = check_view_options(MODALITIES.get(inputs.modality), name, settings.get("view_options") or {})
    return with_options(inputs.views(name)[0], options)


def light(inputs: Inputs, settings: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """Return the view that labels are learnt with.

    Args:
        inputs: what is known about the items.
        settings: ``views`` and ``view_options`` of the run that the encoder is from.
        options: settings that replace the view's.
    """
    view = inputs.light_view(strong(inputs, settings))
    return with_options(view, check_view_options(MODALITIES.get(inputs.modality), inputs.default_views, options))


def loader(
    inputs: Inputs, source: Source, views: Sequence[Any], *, batch_size: int, seed: int, threads: int | None
) -> Loader:
    """Return a loader of these views, shuffled, of whole batches; the order and the views follow from the seed."""
    size = min(batch_size, len(source))
    several = len(source) // size > 1
    return Loader(
        source,
        _maker(inputs, views),
        batch_size=size,
        seed=seed,
        threads=(threads or min(8, cpu_count())) if several else 0,
        on_broken="replace",
    )


def _maker(inputs: Inputs, views: Sequence[Any]) -> MakeViews:
    def make(items: Any, rng: np.random.Generator) -> Any:
        return inputs.make_views(items, views, rng)

    return make
