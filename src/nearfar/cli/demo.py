"""``nearfar demo``."""

from __future__ import annotations

from pathlib import Path

__all__ = ["demo"]


def demo(*, out: Path = Path("nearfar-demo"), epochs: int | None = None, seed: int = 0) -> None:
    """Run the main job on scikit-learn's handwritten digits and write a report that opens in a browser.

    Args:
        out: the folder to write; an older demo there is replaced.
        epochs: passes over the data, to make it shorter or longer.
        seed: of everything random.
    """
    import nearfar
    from nearfar.progress import stdout

    result = nearfar.demo(out=out, epochs=epochs, seed=seed)
    stdout.print(result.table)
    stdout.print(f"report: {result.report.resolve()}", markup=False, soft_wrap=True)
