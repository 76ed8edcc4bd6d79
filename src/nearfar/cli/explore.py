"""``nearfar explore``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

__all__ = ["explore"]


def explore(
    source: Path,
    *,
    beside: Path | None = None,
    run: str | None = None,
    data: Path | None = None,
    method: Literal["auto", "pca", "pacmap", "umap"] = "auto",
    seed: int = 0,
    html: Path | None = None,
    overwrite: bool = False,
    host: str = "127.0.0.1",
    port: int = 8000,
    key_file: Path | None = None,
) -> None:
    """Show embeddings as a map in the browser, without any network: search, lasso, neighbours, duplicates, export.

    Args:
        source: an index folder, or a Parquet file of embeddings; its other columns can be coloured by.
        beside: another encoder's embeddings of the same items, shown at the side.
        run: the run that made the embeddings, to search by a file.
        data: what was embedded, to show the items.
        method: of the map; auto is PaCMAP where it is installed, else principal components.
        seed: of the map.
        html: write one self-contained file instead of serving, for up to 5,000 items.
        overwrite: replace that file.
        host: the address to listen on; one that others can reach needs an API key.
        port: 0 = any free one.
        key_file: a file with the API key; else the variable NEARFAR_API_KEY.
    """
    import nearfar
    from nearfar.progress import stdout

    written = nearfar.explore(
        source, beside=beside, run=run, data=data, method=method, seed=seed, html=html, overwrite=overwrite,
        host=host, port=port, key_file=key_file,
    )  # fmt: skip
    if written is not None:
        stdout.print(str(written), markup=False, soft_wrap=True)
