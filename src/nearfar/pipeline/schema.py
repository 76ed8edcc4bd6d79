"""The schema of a table: what every column is taken for, to look at and to edit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nearfar.files import write_atomic
from nearfar.modalities.table import TABLE, TableInputs
from nearfar.pipeline.data import open_training_data

__all__ = ["schema"]


def schema(data: Any, *, out: str | Path | None = None, **options: Any) -> str:
    """Return what the columns of a table are taken for, as YAML with a remark on each.

    Edited, it goes back by ``nearfar.pretrain(data, input_options={"schema": "schema.yaml"}, ...)``.

    Args:
        data: a table, as for `nearfar.pretrain`; of its splits the training rows are looked at.
        out: a file to write it to as well; an older one is replaced.
        options: settings of `nearfar.modalities.table.TableOptions`, such as ``label="diagnosis"``.

    Raises:
        ConfigError: on an unknown setting.
        DataError: when the data are no table.
        RunError: when ``out`` cannot be written.
    """
    checked = TABLE.check_options(options)
    inputs = TABLE.fit(open_training_data(TABLE, data, checked, split=None), checked)
    assert isinstance(inputs, TableInputs)
    text = inputs.schema()
    if out is not None:
        write_atomic(Path(out), text)
    return text
