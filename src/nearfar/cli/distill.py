"""``nearfar distill``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nearfar.cli.app import given
from nearfar.fewlabels.settings import DistillConfig, LabelChoice

__all__ = ["distill"]


def distill(
    teacher: str,
    data: str,
    *,
    out: Path,
    choice: Annotated[LabelChoice, Parameter(name="*")] = LabelChoice(),  # noqa: B008 - frozen
    settings: Annotated[DistillConfig, Parameter(name="*")] = DistillConfig(),  # noqa: B008 - frozen
    resume: bool = False,
    overwrite: bool = False,
) -> None:
    """Train a student on a fine-tuned teacher's answers to unlabelled items, and score it.

    Args:
        teacher: a run of finetune or of distill.
        data: as for pretrain. Labels are used for the scores, and in the loss with --labelled-weight alone.
        out: the run folder to make; embed, evaluate, export and distill take it.
        choice: see the flags.
        settings: see the flags.
        resume: go on from the last checkpoint of the run in --out, with its settings.
        overwrite: delete the run in --out first.
    """
    import nearfar
    from nearfar.progress import stdout

    result = nearfar.distill(
        teacher,
        data,
        out=out,
        config=settings,
        choice=choice,
        resume=resume,
        overwrite=overwrite,
        **given(choice, settings),
    )
    stdout.print(result.text(), markup=False, soft_wrap=True)
