"""Reading tables: what every column is, and bad input."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from nearfar.data import hold_out, hold_out_rows, take
from nearfar.data.table import MOST_CATEGORIES, code, infer_roles, open_table, read_roles
from nearfar.data.table_files import read_columns
from nearfar.errors import ConfigError, DataError

Capture = pytest.CaptureFixture[str]


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def simple(rows: int = 30) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    label = np.arange(rows) % 2
    return {
        "age": rng.normal(50, 10, rows),
        "sex": np.array(["f", "m"], dtype=object)[rng.integers(0, 2, rows)],
        "label": np.array(["ill", "well"], dtype=object)[label],
    }


def test_a_csv_has_numbers_categories_gaps_and_a_label(tmp_path: Path, capsys: Capture) -> None:
    path = write(tmp_path / "t.csv", "age,sex,stage,diagnosis\n50,f,I,ill\n,m,,well\n61.5,f,II,ill\n47,,I,\n")
    source = open_table(path)[""]
    assert [(column.name, column.kind) for column in source.columns] == [
        ("age", "number"), ("sex", "category"), ("stage", "category"),
    ]  # fmt: skip
    assert source.class_names == ("ill", "well")
    assert source.labels.tolist() == [0, 1, 0, -1]
    assert source.read(0).tolist() == [50.0, code("f"), code("I")]
    assert np.isnan(source.values).tolist() == [
        [False, False, False], [True, False, True], [False, False, False], [False, True, False],
    ]  # fmt: skip
    assert "column 'diagnosis' is the label" in capsys.readouterr().err


def test_all_formats_are_the_same_table(tmp_path: Path) -> None:
    text = "a,b,label\n1,x,0\n2.5,y,1\n,x,0\n"
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text.encode()))
    columns = {"a": [1.0, 2.5, None], "b": ["x", "y", "x"], "label": [0, 1, 0]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    forms = [
        write(tmp_path / "t.csv", text),
        write(tmp_path / "t.tsv", text.replace(",", "\t")),
        tmp_path / "t.csv.gz",
        tmp_path / "t.parquet",
        columns,
    ]
    sources = [open_table(form)[""] for form in forms]
    for source in sources[1:]:
        assert source.fingerprint() == sources[0].fingerprint()


def test_arrays_have_columns_by_number_or_by_name(tmp_path: Path) -> None:
    x = np.arange(12.0).reshape(4, 3)
    assert [column.name for column in open_table(x)[""].columns] == ["0", "1", "2"]
    np.savez(tmp_path / "t.npz", X=x, y=np.array([0, 1, 0, 1]), columns=np.array(["a", "b", "c"]), batch=np.arange(4))
    source = open_table(tmp_path / "t.npz", {"batch": "ignore"})[""]
    assert [column.name for column in source.columns] == ["a", "b", "c"]
    assert source.labels.tolist() == [0, 1, 0, 1]


def test_anndata_brings_its_variables_and_observations(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    frame = __import__("pandas").DataFrame({"label": ["a", "b", "a"]}, index=["c1", "c2", "c3"])
    data = anndata.AnnData(X=np.arange(6, dtype=np.float32).reshape(3, 2), obs=frame)
    data.var_names = ["g1", "g2"]
    data.write_h5ad(tmp_path / "t.h5ad")
    for form in (data, tmp_path / "t.h5ad"):
        source = open_table(form)[""]
        assert [column.name for column in source.columns] == ["g1", "g2"]
        assert list(source.ids) == ["c1", "c2", "c3"]
        assert source.class_names == ("a", "b")


def test_a_column_is_what_its_values_are() -> None:
    many = np.array([f"name {place}" for place in range(200)], dtype=object)
    columns = {
        "empty": np.full(200, np.nan),
        "blank": np.array([None] * 200, dtype=object),
        "mostly": np.array(["1.5"] * 195 + ["?!"] * 5, dtype=object),
        "mixed": np.array(["1.5", "high"] * 100, dtype=object),
        "infinite": np.array([np.inf] * 3 + [1.0] * 197),
        "names": many,
    }
    roles, facts = infer_roles(columns)
    assert roles == {
        "empty": "ignore", "blank": "ignore", "mostly": "number", "mixed": "category", "infinite": "number",
        "names": "ignore",
    }  # fmt: skip
    said = "\n".join(facts)
    assert "'empty' is left out, it is missing in all rows" in said
    assert "'mostly' is of numbers, 5 other values are taken as missing" in said
    assert "'infinite': 3 infinite values are taken as missing" in said
    assert "'names' is left out, 200 different texts are no categories" in said
    assert MOST_CATEGORIES < 200


def test_a_second_label_column_is_left_out_unless_it_is_asked_for() -> None:
    columns = simple()
    columns["outcome_code"] = np.where(columns["label"] == "ill", 7.0, 9.0)
    roles, facts = infer_roles(columns)
    assert roles["outcome_code"] == "ignore"
    assert "'outcome_code' is left out, it tells the label 'label' one to one" in facts[0]
    assert infer_roles(columns, {"outcome_code": "number"})[0]["outcome_code"] == "number"
    assert infer_roles(columns)[0]["sex"] == "category"


def test_a_schema_file_decides(tmp_path: Path) -> None:
    schema = write(tmp_path / "schema.yaml", "columns:\n  age: category\n  sex: ignore\n  label: label\n")
    source = open_table(simple(), read_roles(schema))[""]
    assert [(column.name, column.kind) for column in source.columns] == [("age", "category")]
    with pytest.raises(ConfigError, match="role of column 'age' must be known, got 'nubmer'; did you mean 'number'"):
        read_roles(write(tmp_path / "bad.yaml", "columns:\n  age: nubmer\n"))


def test_groups_stay_together_and_may_not_cross_given_splits() -> None:
    columns = simple(40)
    columns["patient"] = np.array([f"p{place // 4}" for place in range(40)], dtype=object)
    source = open_table(columns)[""]
    kept, held = hold_out(source, share=0.3, seed=1)
    assert not set(kept.groups) & set(held.groups)
    assert len(kept) + len(held) == 40
    assert set(take(source, [0, 1, 5]).groups) == {"p0", "p1"}
    columns["split"] = np.array(["train", "test"] * 20, dtype=object)
    with pytest.raises(DataError, match="rows of group 'p0' must be in one split, got 'train' and 'test'"):
        open_table(columns)
    columns["split"] = np.array((["train"] * 20) + (["test"] * 20), dtype=object)
    parts = open_table(columns)
    assert (len(parts["train"]), len(parts["test"])) == (20, 20)
    with pytest.raises(DataError, match="the number of groups must be >= 2, got 1"):
        hold_out_rows(None, 4, groups=["a"] * 4)


def test_groups_are_drawn_evenly_over_the_classes() -> None:
    groups = [f"g{place // 3}" for place in range(120)]
    labels = np.array([place // 60 for place in range(120)], dtype=np.int64)
    for seed in range(5):
        kept, held = hold_out_rows(labels, 120, share=0.25, seed=seed, groups=groups)
        assert np.bincount(labels[held]).tolist() == [15, 15]
        assert not {groups[row] for row in kept} & {groups[row] for row in held}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be a header and rows, got an empty one"),
        ("a,b\n1,2\n3\n", "cannot be read as CSV"),
        ("a,a\n1,2\n", "names of columns must be different, got 'a' twice"),
        ("a,b\n", "must be one row or more, got none"),
        ("label,name\nx,\ny,\n", "columns must be one number or category at least, got none"),
    ],
)
def test_bad_csv_is_one_sentence(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said) as caught:
        open_table(write(tmp_path / "t.csv", text))
    assert "\n" not in str(caught.value)


def test_broken_encodings_and_files_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,b\n\xff\xfe\xfa,1\nx,2\n")
    with pytest.raises(DataError, match="save it as UTF-8"):
        open_table(tmp_path / "t.csv")
    for name in ("t.parquet", "t.npz", "t.h5ad"):
        (tmp_path / name).write_bytes(b"nonsense")
        with pytest.raises(DataError, match="cannot be read as"):
            open_table(tmp_path / name)
    with pytest.raises(DataError, match="must be an existing file"):
        open_table(tmp_path / "none.csv")
    with pytest.raises(DataError, match="must be a path, an array"):
        read_columns(7)


def test_named_columns_must_be_there() -> None:
    with pytest.raises(DataError, match="none called 'diagnosi'; "):
        open_table(simple(), {"diagnosi": "label"})
    with pytest.raises(DataError, match="those that the encoder was trained on, got none called 'weight'"):
        open_table(simple(), {"age": "number", "weight": "number"}, fixed=True)


def test_ids_must_be_unique() -> None:
    columns = {**simple(3), "key": np.array(["a", "b", "a"], dtype=object)}
    with pytest.raises(DataError, match="ids in column 'key' must be given and unique, got 'a'"):
        open_table(columns, {"key": "id"})
