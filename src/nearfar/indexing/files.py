"""An index in a folder: ``index.json`` names the files of the vectors and of the rows.

Data files get new names at every save and ``index.json`` is replaced last, so a reader finds the old index or the new
one whole, whatever the moment at which a writer is killed. One writer at a time.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nearfar._version import __version__
from nearfar.errors import RunError, require
from nearfar.files import atomic_path, write_atomic
from nearfar.indexing.base import TARGET_RECALL, Index
from nearfar.indexing.metrics import METRICS, Metric
from nearfar.indexing.records import Id, Label, Records
from nearfar.indexing.table import Table

__all__ = [
    "CARD",
    "FORMAT",
    "KIND",
    "Saved",
    "card_of",
    "claim",
    "read_card",
    "read_index",
    "write_card",
    "write_index",
]

FORMAT = 2
"""The version of the folder's format; a later one is refused. Version 1 had no metadata, thumbnails or calibration."""

KIND = "nearfar index"
CARD = "index.json"
OURS = re.compile(r"\.?(vectors|rows|engine)-[0-9a-f]{8}\.(npy|parquet|faiss)(\.\d+\.tmp)?|\.index\.json\.\d+\.tmp")


class Saved(NamedTuple):
    """What a folder holds.

    Attributes:
        metric: of the index.
        dim: the length of a vector.
        fingerprint: of the encoder, if known.
        calibration: cut-points, if there are any.
        recall: the target.
        backend: the name of the back end that wrote it.
        options: what else the index was made with.
        plan: of the structure that searches, as the back end wrote it.
        engine: the file of that structure.
        rows: the items in the order of insertion.
    """

    metric: Metric
    dim: int
    fingerprint: str | None
    calibration: dict[str, Any] | None
    recall: float
    backend: str
    options: dict[str, Any]
    plan: dict[str, Any] | None
    engine: Path | None
    rows: Records


def write_index(
    path: Path, index: Index, table: Table, write_engine: Callable[[Path], bool], structure: Mapping[str, Any]
) -> None:
    """Write a table without dead slots and what its index is; replace an index that stands there.

    Args:
        path: the folder.
        index: whose description is written.
        table: its items.
        write_engine: writes the structure that searches to a file, or returns that there is none.
        structure: what else the description says.

    Raises:
        RunError: when the folder holds something else, or the file system refuses.
    """
    claim(path)
    token = secrets.token_hex(4)
    vectors, rows = path / f"vectors-{token}.npy", path / f"rows-{token}.parquet"
    with atomic_path(vectors) as temporary, temporary.open("wb") as file:
        np.save(file, table.vectors, allow_pickle=False)
    with atomic_path(rows) as temporary:
        _write_rows(temporary, table)
    files = {"vectors": _stamp(vectors), "rows": _stamp(rows)}
    engine = path / f"engine-{token}.faiss"
    with contextlib.suppress(_NothingToWrite), atomic_path(engine) as temporary:
        if not write_engine(temporary):
            raise _NothingToWrite
    if engine.exists():
        files["engine"] = _stamp(engine)
    card = card_of(index) | dict(structure) | {"count": index.count, "files": files}
    write_atomic(path / CARD, json.dumps(card, indent=2))
    for old in path.iterdir():
        if OURS.fullmatch(old.name) and old.name not in (vectors.name, rows.name, engine.name):
            old.unlink(missing_ok=True)


class _NothingToWrite(Exception):  # noqa: N818
    pass


def card_of(index: Index) -> dict[str, Any]:
    """Return what every index folder says, whatever the back end."""
    return {
        "kind": KIND,
        "format": FORMAT,
        "nearfar": __version__,
        "backend": index.backend,
        "metric": index.metric,
        "dim": index.dim,
        "fingerprint": index.fingerprint,
        "calibration": index.calibration,
        "recall": index.recall,
    }


def write_card(path: Path, index: Index) -> None:
    """Write the description anew and leave the data files alone."""
    write_atomic(path / CARD, json.dumps(read_card(path) | card_of(index), indent=2))


def claim(path: Path) -> None:
    """Make the folder, or refuse one of something else.

    Raises:
        RunError: when it holds something else or an index of a later version, or cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        foreign = [] if (path / CARD).exists() else [f.name for f in path.iterdir() if not OURS.fullmatch(f.name)]
    except OSError as error:
        raise RunError(f"{path}: cannot be made a folder ({error.strerror}); choose another place") from None
    require(not foreign, str(path), "folder", "empty or an index", f"one with {foreign[:1]}", error=RunError)
    if (path / CARD).exists():
        read_card(path)


BATCH = 65_536


def _write_rows(path: Path, table: Table) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow: dict[type | None, Any] = {str: pa.string(), int: pa.int64(), None: pa.null()}
    id_kind, label_kind = table.kinds
    kinds = {"id": arrow[id_kind or str], "label": arrow[label_kind], "metadata": pa.string(), "thumbnail": pa.binary()}
    schema = pa.schema(list(kinds.items()))
    with pq.ParquetWriter(path, schema) as writer:
        for rows in table.batches(BATCH, thumbnails=True):
            metadata = [json.dumps(item, ensure_ascii=False) if item else None for item in rows.metadata]
            columns = dict(zip(kinds, (rows.ids, rows.labels, metadata, rows.thumbnails), strict=True))
            writer.write_table(pa.table(columns, schema=schema))


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
    if "server" in card and "files" not in card:
        raise RunError(f"{path}: was made by the {card.get('backend')} back end; open it without naming another")
    try:
        metric, dim, count, fingerprint = (card[key] for key in ("metric", "dim", "count", "fingerprint"))
        vectors_file = _checked(path, card["files"]["vectors"])
        rows_file = _checked(path, card["files"]["rows"])
        if metric not in METRICS:
            raise ValueError(f"unknown metric {metric!r}")
        vectors = np.load(vectors_file, allow_pickle=False)
        ids, labels, metadata, thumbnails = _read_rows(rows_file)
        if vectors.shape != (count, dim) or vectors.dtype != np.float32 or len(ids) != count:
            raise ValueError(f"{vectors.dtype} {vectors.shape} and {len(ids)} ids instead of {count} × {dim} float32")
        said = card["files"].get("engine")
        engine = None if said is None else _checked(path, said)
        recall, options, plan = float(card.get("recall", TARGET_RECALL)), card.get("options", {}), card.get("plan")
        calibration, backend = card.get("calibration"), str(card["backend"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: is a damaged index ({error}); build it again") from None
    rows = Records(ids, vectors, labels, metadata, thumbnails)
    return Saved(metric, dim, fingerprint, calibration, recall, backend, options, plan, engine, rows)


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


def _read_rows(path: Path) -> tuple[list[Id], list[Label], list[dict[str, Any]], list[bytes | None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise ValueError(str(error)) from None
    ids, labels = table["id"].to_pylist(), table["label"].to_pylist()
    if "metadata" not in table.column_names:  # version 1
        return ids, labels, [{} for _ in ids], [None] * len(ids)
    metadata = [json.loads(item) if item else {} for item in table["metadata"].to_pylist()]
    return ids, labels, metadata, table["thumbnail"].to_pylist()
