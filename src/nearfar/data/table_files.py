"""Tables as they stand in files and in memory: names of columns with their values, before anything is made of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.memory import available_bytes, size_text
from nearfar.errors import DataError, extra, require
from nearfar.progress import say

__all__ = ["ENDINGS", "MISSING", "Columns", "read_columns"]

Columns = dict[str, NDArray[Any]]
"""Name to (N,) values: float64 with NaN for missing, or objects, which are texts or ``None``."""

ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", ".h5ad", ".npy", ".npz")
"""The endings of tables' files, in lower case."""

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?", "-inf", "inf", "Inf", "-Inf", "Infinity")
"""Texts that stand for nothing; infinities are no measurements and are counted among them."""

_FEATURES = ("x", "X", "data", "features", "table")
_LABELS = ("y", "Y", "label", "labels", "target", "targets")


def read_columns(data: Any, *, label: str = "label") -> Columns:
    """Read a table of any sort.

    Args:
        data: a path (``.csv``, ``.tsv``, also with ``.gz``, ``.parquet``, ``.h5ad`` of AnnData, ``.npy``, ``.npz``), a
            (N, F) array, a mapping of columns, a data frame of pandas or polars, or an ``AnnData``. An array's columns
            are called ``0``, ``1``, ...; in a ``.npz`` they are under ``x``, ``X``, ``data``, ``features`` or
            ``table``, their names under ``columns``, and every other array of N entries is a column of its name, that
            of the labels (``y``, ``labels``, ``target``) under ``label``.
        label: the name that an array file's labels get.

    Raises:
        DataError: when it cannot be read, or is no table.
        MissingExtraError: when AnnData is needed and not installed.
    """
    if isinstance(data, str | os.PathLike):
        return _file(Path(data), label)
    if isinstance(data, np.ndarray):
        return _matrix("array", data)
    if isinstance(data, Mapping):
        return _mapping("mapping", data)
    if hasattr(data, "obs") and hasattr(data, "X"):
        return _anndata("AnnData", data)
    columns = getattr(data, "columns", None)
    must = "a path, an array, a mapping of columns, a data frame or an AnnData"
    require(columns is not None, "table", "data", must, type(data).__name__, error=DataError)
    return _mapping("data frame", {str(name): np.asarray(data[name]) for name in columns or ()})


def _file(path: Path, label: str) -> Columns:
    name = path.name.lower()
    require(path.is_file(), str(path), "DATA", "an existing file", "none", "check the spelling", error=DataError)
    if name.endswith((".csv", ".tsv", ".csv.gz", ".tsv.gz")):
        return _csv(path, "\t" if ".tsv" in name else ",")
    if name.endswith(".parquet"):
        return _parquet(path)
    if name.endswith(".h5ad"):
        anndata = extra("anndata", "anndata", "a .h5ad file")
        try:
            return _anndata(str(path), anndata.read_h5ad(path))
        except (OSError, KeyError, ValueError) as error:
            raise DataError(f"{path}: cannot be read as AnnData ({_first(error)})") from None
    if name.endswith((".npy", ".npz")):
        return _arrays(path, label)
    raise DataError(f"{path}: a file's ending must be one of {', '.join(ENDINGS)}, got {path.suffix!r}")


def _csv(path: Path, delimiter: str) -> Columns:
    import pyarrow
    from pyarrow import csv

    size = path.stat().st_size
    require(size > 0, str(path), "file", "a header and rows", "an empty one", error=DataError)
    read = csv.ReadOptions(block_size=min(max(8 * size, 1 << 20), 1 << 30))  # types are told by the first block
    parse = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    convert = csv.ConvertOptions(null_values=list(MISSING), strings_can_be_null=True, quoted_strings_can_be_null=True)
    try:
        table = csv.read_csv(path, read, parse, convert)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        fix = "save it as UTF-8, one row a line, with as many fields as the header"
        raise DataError(f"{path}: cannot be read as CSV ({_first(error)}); {fix}") from None
    for name, kind in zip(table.schema.names, table.schema.types, strict=True):
        fix = "save it as UTF-8"
        require(kind != pyarrow.binary(), str(path), f"column {name!r}", "text", "bytes that are no UTF-8", fix,
                error=DataError)  # fmt: skip
    return _arrow(str(path), table)


def _parquet(path: Path) -> Columns:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({_first(error)})") from None
    return _arrow(str(path), table)


def _arrow(who: str, table: Any) -> Columns:
    names = [name.strip() or f"column {place + 1}" for place, name in enumerate(table.column_names)]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    require(twice is None, who, "names of columns", "different", f"{twice!r} twice", "rename one", error=DataError)
    _check_room(who, table.num_rows, table.num_columns)
    columns = {}
    for name, column in zip(names, table.columns, strict=True):
        values = _arrow_values(column)
        if values is None:
            say(f"{who}: column {name!r} is left out, it holds {column.type}")
        else:
            columns[name] = values
    return _checked(who, columns)


def _arrow_values(column: Any) -> NDArray[Any] | None:
    """Return numbers as float64, dates as days since 1970, texts and categories as objects; ``None`` for the rest."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        return _arrow_values(column.cast(kind.value_type))
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif pa.types.is_temporal(kind) and (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
        return np.array([_days(value) for value in column.to_pylist()], dtype=np.float64)
    elif pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.array([_text(value) for value in column.to_pylist()], dtype=object)
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return None
    return _float64(column.cast(pa.float64()).to_numpy())


def _days(value: Any) -> float:
    if value is None:
        return float("nan")
    day: np.datetime64 = np.datetime64(str(value).partition("+")[0], "s")
    return float(day.astype(np.int64)) / 86_400


def _arrays(path: Path, label: str) -> Columns:
    try:
        with np.errstate(all="ignore"):
            loaded = np.load(path, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return _matrix(str(path), loaded)
            with loaded:
                arrays = {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise DataError(f"{path}: cannot be read as an array file ({_first(error)}); save no objects") from None
    key = next((name for name in _FEATURES if name in arrays and arrays[name].ndim == 2), None)
    fix = f"found {', '.join(arrays) or 'nothing'}"
    must = f"a (N, F) array called {', '.join(_FEATURES[:-1])} or {_FEATURES[-1]}"
    require(key is not None, str(path), "file", must, "none", fix, error=DataError)
    assert key is not None
    matrix = arrays.pop(key)
    names = arrays.pop("columns", None)
    columns = _matrix(str(path), matrix, None if names is None else [str(name) for name in names])
    for name, values in arrays.items():
        if values.shape in ((len(matrix),), (len(matrix), 1)):
            columns[label if name in _LABELS else name] = _values(str(path), name, values.reshape(-1))
    return _checked(str(path), columns)


def _matrix(who: str, matrix: NDArray[Any], names: Sequence[str] | None = None) -> Columns:
    fits = matrix.ndim == 2 and matrix.dtype.kind in "fiub"
    require(fits, who, "table", "(N, F) numbers", f"{matrix.shape} {matrix.dtype}", error=DataError)
    names = [str(place) for place in range(matrix.shape[1])] if names is None else names
    must = f"{matrix.shape[1]}, one a column"
    require(len(names) == matrix.shape[1], who, "names of columns", must, len(names), error=DataError)
    _check_room(who, *matrix.shape)
    return _checked(who, {name: _float64(matrix[:, place]) for place, name in enumerate(names)})


def _mapping(who: str, data: Mapping[Any, Any]) -> Columns:
    return _checked(who, {str(name): _values(who, str(name), np.asarray(values)) for name, values in data.items()})


def _values(who: str, name: str, values: NDArray[Any]) -> NDArray[Any]:
    require(values.ndim == 1, who, f"column {name!r}", "one value a row", values.shape, error=DataError)
    if values.dtype.kind in "fiub":
        return _float64(values)
    if values.dtype.kind == "M":
        days = values.astype("datetime64[s]").astype(np.float64) / 86_400
        return np.where(np.isnat(values), np.nan, days)
    plain = values.tolist()
    if all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in plain):
        return _float64(np.array([np.nan if value is None else value for value in plain], dtype=np.float64))
    return np.array([_text(value) for value in plain], dtype=object)


def _anndata(who: str, data: Any) -> Columns:
    """Return the observations' columns, then one a variable."""
    matrix = data.X
    _check_room(who, *matrix.shape)
    dense = np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix)
    features = _matrix(who, dense, [str(name) for name in data.var_names])
    about = {str(name): np.asarray(data.obs[name]) for name in data.obs.columns if str(name) not in features}
    names = np.array([str(name) for name in data.obs_names], dtype=object)
    own = {} if "id" in about or "id" in features else {"id": names}
    return {**own, **_mapping(who, about), **features} if about or own else features


def _checked(who: str, columns: Columns) -> Columns:
    require(len(columns) > 0, who, "table", "one column or more", "none", error=DataError)
    lengths = {name: len(values) for name, values in columns.items()}
    longest = max(lengths.values())
    short = next((name for name, length in lengths.items() if length != longest), None)
    must = f"{longest} rows, as the others"
    require(short is None, who, f"column {short!r}", must, lengths.get(short or ""), error=DataError)
    require(longest > 0, who, "table", "one row or more", "none", error=DataError)
    return columns


def _check_room(who: str, rows: int, columns: int) -> None:
    size, room = 8 * rows * columns, available_bytes() // 3
    must = f"at most {size_text(room)} in memory, a third of what is left"
    require(size <= room, who, "table", must, size_text(size), "take fewer rows or columns", error=DataError)


def _float64(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)


def _text(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    return None if text in MISSING else text


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
