"""``nearfar embed``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["embed"]


def embed(
    run: str,
    data: str,
    *,
    out: Path,
    split: str | None = None,
    modality: str = "auto",
    input_options: dict[str, Any] | None = None,
    channels: int | None = None,
    image_size: int | None = None,
    pretrained: bool = True,
    batch_size: int = 256,
    threads: int | None = None,
    overwrite: bool = False,
) -> None:
    """Write the representations of items to a Parquet file, in order; stopped, the same call goes on where it was.

    Args:
        run: a run folder, or the name of a stock encoder: small or any timm model.
        data: as for pretrain.
        out: the Parquet file.
        split: embed one split only.
        modality: of the data, for a stock encoder; a run knows its own.
        input_options: how the data are read, where they differ from the run's.
        channels: of images; by default what the encoder was trained with.
        image_size: of images, the side in pixels for a stock encoder; 224 by default.
        pretrained: load published weights into a stock encoder that has any.
        batch_size: items at once.
        threads: threads that read items.
        overwrite: replace the file, and forget an unfinished one.
    """
    import nearfar
    from nearfar.progress import stdout

    path = nearfar.embed(
        run,
        data,
        out=out,
        split=split,
        modality=modality,
        input_options=input_options,
        channels=channels,
        image_size=image_size,
        pretrained=pretrained,
        batch_size=batch_size,
        threads=threads,
        overwrite=overwrite,
    )
    stdout.print(str(path), markup=False, soft_wrap=True)
