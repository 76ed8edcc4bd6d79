"""``nearfar finetune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nearfar.cli.app import given
from nearfar.fewlabels.settings import FinetuneConfig, LabelChoice

__all__ = ["finetune"]


def finetune(
    run: str,
    data: str,
    *,
    out: Path,
    choice: Annotated[LabelChoice, Parameter(name="*")] = LabelChoice(),  # noqa: B008 - frozen
    settings: Annotated[FinetuneConfig, Parameter(name="*")] = FinetuneConfig(),  # noqa: B008 - frozen
    resume: bool = False,
    overwrite: bool = False,
) -> None:
    """Train a pretrained encoder on few labels or many, from a layer of its projection head on, and score it.

    Args:
        run: a run folder, or the name of a stock encoder.
        data: as for pretrain. train and test are its splits, else a fifth is held out.
        out: the run folder to make; embed, evaluate, export and distill take it.
        choice: see the flags.
        settings: see the flags.
        resume: go on from the last checkpoint of the run in --out, with its settings.
        overwrite: delete the run in --out first.
    """
    import nearfar
    from nearfar.progress import stdout

    result = nearfar.finetune(
        run,
        data,
        out=out,
        config=settings,
        choice=choice,
        resume=resume,
        overwrite=overwrite,
        **given(choice, settings),
    )
    stdout.print(result.text(), markup=False, soft_wrap=True)
