"""The verb schema: what it shows can be edited and given back."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import nearfar
from nearfar.training.run import Run
from tests.cli.call import call

TEXT = "age,sex,ward,notes,patient,diagnosis\n" + "".join(
    f"{40 + row % 9},{'fm'[row % 3 // 2]},7,note {row},p{row // 2},{'ill' if row % 2 else 'well'}\n"
    for row in range(40)
)


def test_a_schema_is_shown_edited_and_given_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, schema = tmp_path / "patients.csv", tmp_path / "schema.yaml"
    data.write_text(TEXT)
    shown = call(capsys, "schema", data)
    assert shown.code == 0, shown.err
    roles = yaml.safe_load(shown.out)["columns"]
    assert roles == {
        "age": "number", "sex": "category", "ward": "number", "notes": "ignore", "patient": "group",
        "diagnosis": "label",
    }  # fmt: skip
    assert "ward: number  # constant in the training rows, left out" in shown.out
    assert "sex: category  # f, m" in shown.out
    assert call(capsys, "schema", data, "--out", schema).code == 0
    assert schema.read_text() == shown.out
    schema.write_text(
        schema.read_text().replace("age: number", "age: ignore").replace("ward: number", "ward: category")
    )
    done = call(
        capsys, "pretrain", data, "--out", tmp_path / "run", "--input-options.schema", schema, "--epochs", "1",
        "--batch-size", "16", "--threads", "1", "--encoder-options.width", "8", "--precision", "32-true",
    )  # fmt: skip
    assert done.code == 0, done.err
    kept = yaml.safe_load((tmp_path / "run" / "inputs" / "schema.yaml").read_text())["columns"]
    assert (kept["age"], kept["sex"]) == ("ignore", "category")
    assert Run(tmp_path / "run").config()["input_options"]["schema"] == str(schema)
    resumed = nearfar.pretrain(data, out=tmp_path / "run", resume=True)
    assert resumed.finished


def test_what_is_no_table_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = call(capsys, "schema", tmp_path / "none.csv")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "must be an existing file" in done.err
    (tmp_path / "t.csv").write_text(TEXT)
    assert "unknown setting 'lable'" in call(capsys, "schema", tmp_path / "t.csv", "--input-options.lable", "x").err
