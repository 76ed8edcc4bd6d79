"""``nearfar semi``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nearfar.cli.app import given
from nearfar.fewlabels.settings import LabelChoice, SemiConfig

__all__ = ["semi"]


def semi(
    data: str,
    *,
    out: Path,
    choice: Annotated[LabelChoice, Parameter(name="*")] = LabelChoice(),  # noqa: B008 - frozen
    settings: Annotated[SemiConfig, Parameter(name="*")] = SemiConfig(),  # noqa: B008 - frozen
) -> None:
    """Pretrain on everything, fine-tune on few labels, distil on the unlabelled rest, and report beside baselines.

    Stopped at any moment, the same command goes on where it was; what is finished is not done again.

    Args:
        data: as for pretrain. train and test are its splits, else a fifth is held out of all phases.
        out: the folder to write: runs, table.csv, results.json and report.html.
        choice: see the flags.
        settings: see the flags.
    """
    import nearfar
    from nearfar.progress import stdout

    result = nearfar.semi(data, out=out, config=settings, choice=choice, **given(choice, settings))
    for table in result.tables():
        stdout.print(table)
    stdout.print(f"report: {result.report.resolve()}", markup=False, soft_wrap=True)
