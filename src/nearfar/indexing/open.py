"""Making and opening an index by the name of its back end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nearfar.errors import ConfigError, RunError, require
from nearfar.indexing.base import TARGET_RECALL, Index
from nearfar.indexing.files import CARD, read_card
from nearfar.indexing.metrics import Metric
from nearfar.registry import Registry

__all__ = ["BACKENDS", "create", "open_index", "open_unfinished"]

BACKENDS: Registry[type[Index]] = Registry(
    "index back end",
    group="nearfar.indexing",
    builtin={
        "exact": "nearfar.indexing.exact:ExactIndex",
        "faiss": "nearfar.indexing.faiss_index:FaissIndex",
        "lance": "nearfar.indexing.lance_index:LanceIndex",
        "milvus": "nearfar.indexing.milvus_index:MilvusIndex",
        "pgvector": "nearfar.indexing.pgvector_index:PgvectorIndex",
    },
)
"""Name to back end; other packages add theirs by the entry point group ``nearfar.indexing``."""


def create(
    dim: int,
    *,
    metric: Metric = "cosine",
    backend: str = "exact",
    fingerprint: str | None = None,
    path: Path | str | None = None,
    recall: float = TARGET_RECALL,
    **options: Any,
) -> Index:
    """Make an empty index.

    Args:
        dim: the length of a vector.
        metric: cosine (1 - cos), euclidean, sqeuclidean, or dot (-q·x).
        backend: a name of ``BACKENDS``.
        fingerprint: of the encoder whose vectors will be added; kept with the index.
        path: the index folder: needed by back ends that last, which make it now; the others write to it in ``save``.
        recall: the share of the k nearest that an approximate search must find (``Index.optimise``).
        options: of the back end, for example ``server="postgresql://host/database"`` for pgvector.

    Raises:
        ConfigError: when the back end is unknown.
        InputError: when the metric is unknown or dim < 1.
    """
    kind = BACKENDS.get(backend)
    return kind(dim, metric=metric, fingerprint=fingerprint, path=path, recall=recall, **options)


def open_index(path: Path | str, *, backend: str | None = None) -> Index:
    """Open a saved index.

    Args:
        path: its folder.
        backend: another back end of the same format (``exact`` and ``faiss`` read each other's); its own if not given.

    Raises:
        RunError: when the folder holds no index, a damaged one, one of a later version, or of an unknown back end.
        ConfigError: when ``backend`` is unknown.
    """
    name = backend or str(read_card(Path(path)).get("backend"))
    try:
        kind = BACKENDS.get(name)
    except ConfigError as error:
        if backend is not None:
            raise
        raise RunError(f"{path}: was made by a back end that is not installed: {error}") from None
    return kind.open(path)


def open_unfinished(path: Path | str, source: Mapping[str, Any]) -> Index | None:
    """Open an index whose building was stopped, to go on.

    Args:
        path: its folder.
        source: what it is built from (``building`` of ``create``).

    Returns:
        The index, or ``None`` when the folder holds no unfinished one.

    Raises:
        RunError: when it is being built from something else, or cannot be opened.
    """
    folder = Path(path)
    if not (folder / CARD).exists():
        return None
    card = read_card(folder)
    if "building" not in card:
        return None
    got, fix = f"one of {card['building']}", "add --overwrite to start anew"
    must = f"of the same file, {dict(source)}"
    require(card["building"] == dict(source), str(folder), "unfinished index", must, got, fix, error=RunError)
    found: Index = BACKENDS.get(str(card["backend"])).open(folder, unfinished=True)  # type: ignore[call-arg]
    return found
