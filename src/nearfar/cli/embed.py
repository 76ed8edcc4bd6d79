"""``nearfar embed``."""

from __future__ import annotations

from pathlib import Path

__all__ = ["embed"]


def embed(
    run: str,
    data: str,
    *,
    out: Path,
    split: str | None = None,
    channels: int | None = None,
    image_size: int = 224,
    pretrained: bool = True,
    batch_size: int = 256,
    threads: int | None = None,
    overwrite: bool = False,
) -> None:
    """Write the representations of images to a Parquet file, in order; stopped, the same call goes on where it was.

    Args:
        run: a run folder, or the name of a stock encoder: small or any timm model.
        data: images, as for pretrain.
        out: the Parquet file.
        split: embed one split only.
        channels: convert the images; by default what the encoder was trained with.
        image_size: side in pixels, for a stock encoder.
        pretrained: load timm's published weights into a stock timm encoder.
        batch_size: images at once.
        threads: threads that read images.
        overwrite: replace the file, and forget an unfinished one.
    """
    import nearfar
    from nearfar.progress import stdout

    path = nearfar.embed(
        run,
        data,
        out=out,
        split=split,
        channels=channels,
        image_size=image_size,
        pretrained=pretrained,
        batch_size=batch_size,
        threads=threads,
        overwrite=overwrite,
    )
    stdout.print(str(path), markup=False, soft_wrap=True)
