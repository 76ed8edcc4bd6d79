"""An index in a folder: ``index.json`` names the files of the vectors and of the rows.

Data files get new names at every save and ``index.json`` is replaced last, so a reader finds the old index or the new
one whole, whatever the moment at which a writer is killed. One writer at a time.
"""

from __future__ import annotations

import json
import re
import secrets
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar._version import __version__
from nearfar.errors import RunError, require
from nearfar.files import atomic_path, write_atomic
from nearfar.indexing.base import Index, Label
from nearfar.indexing.metrics import METRICS, Metric
from nearfar.indexing.table import Table

__all__ = ["FORMAT", "Saved", "read_card", "read_index", "write_index"]

FORMAT = 1
"""The version of the folder's format; a later one is refused."""

KIND = "nearfar index"
CARD = "index.json"
OURS = re.compile(r"\.?(vectors|rows)-[0-9a-f]{8}\.(npy|parquet)(\.\d+\.tmp)?|\.index\.json\.\d+\.tmp")


class Saved(NamedTuple):
    """What a folder holds.

    Attributes:
        metric: of the index.
        dim: the length of a vector.
        fingerprint: of the encoder, if known.
        rows: ids, vectors (N, D) float32 and labels, in the order of insertion.
    """

    metric: Metric
    dim: int
    fingerprint: str | None
    rows: tuple[list[str], NDArray[np.float32], list[Label]]


def write_index(path: Path, index: Index, table: Table) -> None:
    """Write a table and what its index is; replace an index that stands there.

    Raises:
        RunError: when the folder holds something else, or the file system refuses.
    """
    _claim(path)
    token = secrets.token_hex(4)
    vectors, rows = path / f"vectors-{token}.npy", path / f"rows-{token}.parquet"
    with atomic_path(vectors) as temporary, temporary.open("wb") as file:
        np.save(file, table.vectors, allow_pickle=False)
    with atomic_path(rows) as temporary:
        _write_rows(temporary, table)
    card = {
        "kind": KIND,
        "format": FORMAT,
        "nearfar": __version__,
        "backend": index.backend,
        "metric": index.metric,
        "dim": index.dim,
        "count": index.count,
        "fingerprint": index.fingerprint,
        "files": {"vectors": _stamp(vectors), "rows": _stamp(rows)},
    }
    write_atomic(path / CARD, json.dumps(card, indent=2))
    for old in path.iterdir():
        if OURS.fullmatch(old.name) and old.name not in (vectors.name, rows.name):
            old.unlink(missing_ok=True)


def _claim(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        foreign = [] if (path / CARD).exists() else [f.name for f in path.iterdir() if not OURS.fullmatch(f.name)]
    except OSError as error:
        raise RunError(f"{path}: cannot be made a folder ({error.strerror}); choose another place") from None
    require(not foreign, str(path), "folder", "empty or an index", f"one with {foreign[:1]}", error=RunError)
    if (path / CARD).exists():
        read_card(path)


def _write_rows(path: Path, table: Table) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind = next((type(label) for label in table.labels if label is not None), None)
    label_type = {str: pa.string(), int: pa.int64(), None: pa.null()}[kind]
    columns = {"id": pa.array(table.ids, pa.string()), "label": pa.array(table.labels, label_type)}
    pq.write_table(pa.table(columns), path)


def _stamp(path: Path) -> dict[str, Any]:
    return {"name": path.name, "bytes": path.stat().st_size, "crc32": _crc32(path)}


def _crc32(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            value = zlib.crc32(block, value)
    return value


def read_card(path: Path) -> dict[str, Any]:
    """Read and check ``index.json``.

    Raises:
        RunError: when the folder holds no index, or one of a later version.
    """
    try:
        card = json.loads((path / CARD).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"{path}: holds no finished index ({CARD} is missing); make one with: nearfar index") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path / CARD}: cannot be read ({error}); build the index again") from None
    who = str(path / CARD)
    ours = isinstance(card, dict) and card.get("kind") == KIND and isinstance(card.get("format"), int)
    require(ours, who, "content", "the description of a nearfar index", "something else", error=RunError)
    got = f"{card['format']} (written by nearfar {card.get('nearfar', 'of a later version')})"
    require(card["format"] <= FORMAT, who, "format", f"<= {FORMAT}", got, "install a newer nearfar", error=RunError)
    return dict(card)


def read_index(path: Path) -> Saved:
    """Read a folder that ``write_index`` wrote.

    Raises:
        RunError: when it holds no index, a damaged one, or one of a later version.
    """
    card = read_card(path)
    try:
        metric, dim, count, fingerprint = (card[key] for key in ("metric", "dim", "count", "fingerprint"))
        vectors_file = _checked(path, card["files"]["vectors"])
        rows_file = _checked(path, card["files"]["rows"])
        if metric not in METRICS:
            raise ValueError(f"unknown metric {metric!r}")
        vectors = np.load(vectors_file, allow_pickle=False)
        ids, labels = _read_rows(rows_file)
        if vectors.shape != (count, dim) or vectors.dtype != np.float32 or len(ids) != count:
            raise ValueError(f"{vectors.dtype} {vectors.shape} and {len(ids)} ids instead of {count} × {dim} float32")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: is a damaged index ({error}); build it again") from None
    return Saved(metric, dim, fingerprint, (ids, vectors, labels))


def _checked(path: Path, stamp: dict[str, Any]) -> Path:
    name = str(stamp["name"])
    if not OURS.fullmatch(name):  # nothing outside the folder is ever opened
        raise ValueError(f"{name!r} is no name of a data file")
    file = path / name
    if file.stat().st_size != stamp["bytes"]:
        raise ValueError(f"{name} has {file.stat().st_size} bytes instead of {stamp['bytes']}")
    if _crc32(file) != stamp["crc32"]:
        raise ValueError(f"{name} has another checksum than when it was written")
    return file


def _read_rows(path: Path) -> tuple[list[str], list[Label]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise ValueError(str(error)) from None
    return table["id"].to_pylist(), table["label"].to_pylist()
