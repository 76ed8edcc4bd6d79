"""``nearfar schema``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["schema"]


def schema(data: str, *, out: Path | None = None, input_options: dict[str, Any] | None = None) -> None:
    """Show what the columns of a table are taken for, as YAML that can be edited and given to pretrain.

    Args:
        data: a table: .csv, .tsv, .parquet, .h5ad, .npy, .npz.
        out: write it there instead; then pretrain with --input-options.schema FILE.
        input_options: how the table is read, such as --input-options.label diagnosis.
    """
    import nearfar
    from nearfar.progress import say, stdout

    text = nearfar.schema(data, out=out, **(input_options or {}))
    if out is None:
        stdout.print(text, markup=False, soft_wrap=True, end="", highlight=False)
    else:
        say(f"written to {out}")
