"""``nearfar export``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

__all__ = ["export"]


def export(
    run: Path,
    *,
    format: Literal["safetensors", "timm", "torch-export", "onnx", "huggingface"],  # noqa: A002 - the flag's name
    out: Path,
    overwrite: bool = False,
) -> None:
    """Write a run's encoder for another program. No format normalises pictures: each says what has to be done first.

    Args:
        run: a run folder.
        format: safetensors (a folder that nearfar reads), timm (a state dict, .safetensors or .pth), torch-export (a
            .pt2 program), onnx (an .onnx model), huggingface (a folder with a model card; nothing is uploaded).
        out: the file or folder to write.
        overwrite: replace files that are there.
    """
    import nearfar
    from nearfar.progress import stdout

    path = nearfar.export(run, format=format, out=out, overwrite=overwrite)
    stdout.print(str(path), markup=False, soft_wrap=True)
