"""``nearfar pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nearfar.cli.app import given
from nearfar.pipeline.settings import PretrainConfig

__all__ = ["pretrain"]


def pretrain(
    data: str,
    *,
    out: Path,
    settings: Annotated[PretrainConfig, Parameter(name="*")] = PretrainConfig(),  # noqa: B008 - frozen
    resume: bool = False,
    overwrite: bool = False,
) -> None:
    """Train an encoder on data without labels, or with them where the method takes them.

    Args:
        data: a folder of images, a CSV or Parquet manifest (path, optional label and split), an .npy or .npz array,
            shards (.tar, .parquet, .lance, a folder of them or their URL), or data of another --modality.
        out: the run folder to make.
        settings: see the flags.
        resume: go on from the last checkpoint of the run in --out, with its settings.
        overwrite: delete the run in --out first.
    """
    import nearfar

    nearfar.pretrain(data, out=out, config=settings, resume=resume, overwrite=overwrite, **given(settings))
