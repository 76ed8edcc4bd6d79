"""Making and opening an index by the name of its back end."""

from __future__ import annotations

from pathlib import Path

from nearfar.errors import ConfigError, RunError
from nearfar.indexing.base import Index
from nearfar.indexing.files import read_card
from nearfar.indexing.metrics import Metric
from nearfar.registry import Registry

__all__ = ["BACKENDS", "create", "open_index"]

BACKENDS: Registry[type[Index]] = Registry(
    "index back end",
    group="nearfar.indexing",
    builtin={"exact": "nearfar.indexing.exact:ExactIndex", "faiss": "nearfar.indexing.flat:FaissIndex"},
)
"""Name to back end; other packages add theirs by the entry point group ``nearfar.indexing``."""


def create(dim: int, *, metric: Metric = "cosine", backend: str = "exact", fingerprint: str | None = None) -> Index:
    """Make an empty index.

    Args:
        dim: the length of a vector.
        metric: cosine (1 - cos), euclidean, sqeuclidean, or dot (-q·x).
        backend: a name of ``BACKENDS``.
        fingerprint: of the encoder whose vectors will be added; kept with the index.

    Raises:
        ConfigError: when the back end is unknown.
        InputError: when the metric is unknown or dim < 1.
    """
    return BACKENDS.get(backend)(dim, metric=metric, fingerprint=fingerprint)


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
