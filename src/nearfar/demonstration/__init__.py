"""What nearfar does, told on small data: one file a story, each from data to a report that opens in a browser.

Data that are given have one story whatever they are, in `nearfar.demonstration_data`; a table has its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table as RichTable

__all__ = ["Demo", "demo"]


class Demo(NamedTuple):
    """What the demo leaves: the report's path, the table for the terminal, and the numbers by subject."""

    report: Path
    table: RichTable | None
    numbers: dict[str, Any]


def demo(
    data: Any = None,
    *,
    modality: str = "auto",
    out: str | Path = "nearfar-demo",
    epochs: int | None = None,
    limit: int | None = None,
    input_options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Demo:
    """Pretrain, evaluate, embed, index and search, and write a report that opens in a browser.

    Args:
        data: what to run it on. When absent, handwritten digits, or for ``table`` the breast-cancer table, both
            scikit-learn's.
        modality: what the data are; see `nearfar.demonstration_data.demo_on_data`.
        out: the folder to write: a run, ``embeddings.parquet``, ``index`` and ``report.html``. An older demo there is
            replaced.
        epochs: passes over the data; those of the recipe (``simclr/digits`` for digits) when absent.
        limit: of given data, learn from that many items at most.
        input_options: how given data are read.
        seed: of everything random.

    Raises:
        ConfigError: when a modality is named whose data must be given; the sentence says what they are.
        RunError: when ``out`` holds something else.
    """
    if data is None and modality in ("auto", "image"):
        from nearfar.demonstration.digits import tell

        return tell(out=out, epochs=epochs, seed=seed)
    if _is_table(data, modality):
        from nearfar.demonstration import table

        return table.tell(data=data, out=out, epochs=epochs, limit=limit, options=input_options or {}, seed=seed)
    from nearfar.demonstration_data import MOST, demo_on_data

    done = demo_on_data(
        data, modality=modality, out=out, epochs=epochs, limit=limit or MOST, input_options=input_options, seed=seed
    )
    return Demo(*done)


def _is_table(data: Any, modality: str) -> bool:
    from nearfar.modalities import choose

    return modality == "table" or (data is not None and choose(modality, data).name == "table")
