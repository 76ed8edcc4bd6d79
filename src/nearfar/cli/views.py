"""``nearfar views``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["views"]


def views(
    data: str,
    *,
    out: Path,
    count: int = 8,
    modality: str = "auto",
    input_options: dict[str, Any] | None = None,
    method: str = "simclr",
    views: str = "auto",
    view_options: dict[str, Any] | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    split: str | None = None,
    seed: int = 0,
) -> None:
    """Draw a sheet of items and their views, each with what was drawn for it: crop, flip, colours, blur.

    With --recipe NAME, or --config with a run's config.yaml, the views are those of that run; flags override it.

    Args:
        data: as for pretrain.
        out: the PNG file to write.
        count: how many items, one a row.
        modality: what the data are; auto looks at them.
        input_options: how the data are read.
        method: the method that takes the views; it decides how many there are.
        views: how views are made, by name. auto takes what fits the data.
        view_options: settings of every view, such as --view-options.hflip 0.
        image_size: of images, the side of the square views in pixels. By default the images' own, but at most 224.
        channels: of images, the channels to convert all to, 1 or 3. By default the images' own.
        split: the part of DATA to show. By default train where there are splits, else everything.
        seed: of the items and of everything that is drawn for them.
    """
    import nearfar
    from nearfar.progress import say

    nearfar.show_views(
        data,
        out=out,
        count=count,
        modality=modality,
        input_options=input_options or {},
        method=method,
        views=views,
        view_options=view_options or {},
        image_size=image_size,
        channels=channels,
        split=split,
        seed=seed,
    )
    say(f"written to {out}")
