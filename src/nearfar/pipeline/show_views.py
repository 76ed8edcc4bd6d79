"""A contact sheet of views: what a run with these settings would see, before a minute is spent on training."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.config import from_mapping, to_mapping
from nearfar.errors import ConfigError, require
from nearfar.modalities import choose
from nearfar.pipeline.data import open_training_data
from nearfar.pipeline.settings import PretrainConfig
from nearfar.pipeline.sheets import draw_sheet, write_sheet
from nearfar.pipeline.view_settings import check_named_views, run_views

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["show_views"]

_MOST_ROWS = 256


def show_views(
    data: Any,
    *,
    out: str | Path | None = None,
    config: PretrainConfig | None = None,
    count: int = 8,
    **changes: Any,
) -> Image:
    """Draw a contact sheet: a row a picture, first the picture, then its views with what was drawn for each.

    Below a view stand the numbers of its plan, in the order of the steps: the crop's box, the flip, the move, the
    jitter's factors in the order in which they acted, grey, the blur's sigma, solarise, the erased rectangle. Views
    are made as `nearfar.pretrain` makes them, but drawn from other random numbers and shown without normalisation.

    Args:
        data: as for `nearfar.pretrain`.
        out: the PNG file to write; an older one is replaced.
        config: a run's settings, such as a recipe's; those that decide its views are used. All defaults when absent.
        count: how many pictures, 1 to 256, drawn by the seed.
        changes: single settings that replace those of ``config``, such as ``views="simclr"``, ``view_options={...}``,
            ``image_size=96``, ``seed=1``.

    Returns:
        The sheet.

    Raises:
        ConfigError: on an unknown or wrong setting.
        DataError: when the data cannot be used.
        RunError: when ``out`` cannot be written.
    """
    require(1 <= count <= _MOST_ROWS, "views", "count", f"from 1 to {_MOST_ROWS}", count, error=ConfigError)
    path = None if out is None else Path(out)
    ending = "" if path is None else path.suffix.lower()
    require(ending in ("", ".png"), "views", "out", "a .png file", repr(ending), error=ConfigError)
    if changes:
        config = from_mapping(PretrainConfig, {**to_mapping(config or PretrainConfig()), **changes}, "views")
    config = config or PretrainConfig()
    modality = choose(config.modality, data)
    config = check_named_views(modality, config)
    options = modality.check_options(config.reading)
    source = open_training_data(modality, data, options, split=config.split)
    inputs = modality.fit_for(config.encoder, source, options)
    config = dataclasses.replace(config, views=inputs.default_views if config.views == "auto" else config.views)
    views = run_views(check_named_views(modality, config), inputs)
    sheet = draw_sheet(inputs, inputs.keep(source, cache="off"), views, seed=config.seed, rows=count, who="views")
    if path is not None:
        write_sheet(path, sheet)
    return sheet
