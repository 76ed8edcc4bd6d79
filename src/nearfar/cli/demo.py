"""``nearfar demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["demo"]


def demo(
    data: str | None = None,
    *,
    modality: str = "auto",
    out: Path = Path("nearfar-demo"),
    epochs: int | None = None,
    limit: int | None = None,
    input_options: dict[str, Any] | None = None,
    seed: int = 0,
) -> None:
    """Run the main job and write a report that opens in a browser: on handwritten digits, or on data of your own.

    Args:
        data: what to run it on, as for pretrain; by default scikit-learn's handwritten digits.
        modality: what the data are; auto looks at them. Named without data, it says what to point it at.
        out: the folder to write; an older demo there is replaced.
        epochs: passes over the data, to make it shorter or longer.
        limit: of data of your own, learn from that many items at most.
        input_options: how data of your own are read, such as --input-options.label topic.
        seed: of everything random.
    """
    import nearfar
    from nearfar.progress import stdout

    result = nearfar.demo(
        data, modality=modality, out=out, epochs=epochs, limit=limit, input_options=input_options, seed=seed
    )
    if result.table is not None:
        stdout.print(result.table)
    stdout.print(f"report: {result.report.resolve()}", markup=False, soft_wrap=True)
