"""What a table's inputs learn from training rows, and the views of rows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nearfar
from nearfar.data import take
from nearfar.data.table import open_table
from nearfar.encoders import ENCODERS
from nearfar.errors import InputError, NearfarError
from nearfar.modalities.table import TABLE, TableInputs
from nearfar.views.table import TABLE_VIEWS, TableView, change
from tests.modalities.test_contract import HEADS, QUICK


def columns(rows: int = 60) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    label = np.arange(rows) % 2
    age = rng.normal(50, 10, rows) + 10 * label
    age[3] = np.nan
    return {
        "age": age,
        "same": np.full(rows, 4.0),
        "sex": np.array(["f", "m", None], dtype=object)[rng.integers(0, 3, rows)],
        "dose": rng.integers(0, 5, rows).astype(float),
        "label": np.array(["ill", "well"], dtype=object)[label],
    }


def fitted(data: dict[str, Any], rows: Any = None, **options: Any) -> tuple[TableInputs, Any]:
    source = open_table(data)[""]
    return TABLE.fit(source if rows is None else take(source, rows), options), source


def test_scaling_and_filling_are_the_training_rows_alone() -> None:
    data = columns()
    inputs, source = fitted(data, np.arange(30))
    age = next(column for column in inputs.columns if column.name == "age")
    known = data["age"][:30][np.isfinite(data["age"][:30])]
    assert (age.centre, age.spread, age.fill) == pytest.approx((known.mean(), known.std(), known.mean()))
    changed = {**data, "age": np.where(np.arange(60) >= 30, 1e6, data["age"])}
    assert fitted(changed, np.arange(30))[0].to_json() == inputs.to_json()
    x = inputs.raw(source.values)
    assert x[3, 0] == 0
    assert x[3, 1] == 1  # the mark of a gap
    assert x[:30, 0].mean() == pytest.approx(0, abs=1e-6)
    assert np.abs(inputs.raw(open_table(changed)[""].values)).max() <= 10


def test_robust_scaling_and_the_median() -> None:
    data = {"a": np.array([1.0, 2, 3, 4, 1000, np.nan]), "label": np.arange(6.0) % 2}
    inputs, _ = fitted(data, scale="robust", fill="median")
    column = inputs.columns[0]
    assert (column.centre, column.fill) == (3.0, 3.0)
    assert column.spread == pytest.approx(2 / 1.349)


def test_constant_columns_are_dropped_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    inputs, _ = fitted(columns())
    assert inputs.dropped == ("same",)
    assert "1 columns are constant in the training rows and left out: same" in capsys.readouterr().err
    assert "same: number  # constant in the training rows, left out" in inputs.schema()
    with pytest.raises(InputError, match="columns must be one or more that vary"):
        fitted({"same": np.ones(4), "label": np.arange(4.0)})


def test_categories_are_those_of_the_training_rows() -> None:
    data = {"kind": np.array(["a", "b", "a", "c"], dtype=object), "n": np.arange(4.0), "label": np.arange(4.0) % 2}
    inputs, source = fitted(data, np.arange(3))
    assert inputs.columns[0].texts == ("a", "b")
    assert inputs.raw(source.values)[:, :2].tolist() == [[1, 0], [0, 1], [1, 0], [0, 0]]  # c was never seen
    elsewhere = open_table({"kind": np.array(["b", "zzz"], dtype=object), "n": np.zeros(2)},
                           inputs.reading("test", {})["columns"], fixed=True)[""]  # fmt: skip
    assert inputs.raw(elsewhere.values)[:, :2].tolist() == [[0, 1], [0, 0]]


def test_scarf_replaces_three_fifths_by_values_of_the_same_column() -> None:
    rng = np.random.default_rng(0)
    rows = np.arange(1000.0).reshape(100, 10)
    inputs, _ = fitted({f"c{place}": rows[:, place] for place in range(10)} | {"label": np.arange(100.0) % 2})
    assert inputs.marginals is not None
    made = change(rows, TableView(corrupt=0.6), inputs.marginals, np.ones(10), rng)
    assert set((made != rows).sum(axis=1).tolist()) <= set(range(3, 7))  # six, less those that drew their own value
    assert (made != rows).mean() == pytest.approx(0.6 * 0.99, abs=0.02)
    assert (made % 10 == np.arange(10)).all()  # every value is one of its column
    counts = np.bincount((made[made != rows] // 10).astype(int), minlength=100)
    assert counts.min() > 0  # drawn from all training rows


def test_the_marginals_hold_no_row() -> None:
    rows = np.arange(1000.0).reshape(100, 10)
    inputs, _ = fitted({f"c{place}": rows[:, place] for place in range(10)})
    assert inputs.marginals is not None
    assert np.array_equal(np.sort(inputs.marginals, axis=0), rows)
    together = (inputs.marginals // 10 == inputs.marginals[:, :1] // 10).all(axis=1)
    assert not together.any()


def test_vime_subtab_and_noise() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 20))
    vime = change(rows, TABLE_VIEWS.get("vime")()[0], rows, np.ones(20), rng)
    assert (vime != rows).mean() == pytest.approx(0.3, abs=0.02)
    assert len(set((vime != rows).sum(axis=1).tolist())) > 5  # each column by itself, not a number a row
    subset = change(rows, TABLE_VIEWS.get("subtab")()[0], rows, np.ones(20), rng)
    hidden = np.isnan(subset)
    assert set(hidden.sum(axis=1).tolist()) == {20 - round(0.4375 * 20)}
    assert all(np.abs(np.diff(np.append(line, line[0]).astype(int))).sum() == 2 for line in hidden)  # one stretch
    shaken = change(rows, TableView(noise=0.3), rows, np.r_[np.zeros(10), np.full(10, 2.0)], rng)
    assert np.array_equal(shaken[:, :10], rows[:, :10])
    assert (shaken - rows)[:, 10:].std() == pytest.approx(0.6, rel=0.05)
    assert change(rows, TableView(), rows, np.ones(20), rng) is rows
    for wrong in ({"corrupt": 1.0}, {"keep": 0.0}, {"noise": -1.0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            TableView(**wrong)


def test_a_category_and_a_gap_change_as_one() -> None:
    inputs, source = fitted(columns())
    view = inputs.make_views(source.values, [TableView(corrupt=0.7)], np.random.default_rng(0))[0]
    assert isinstance(view, torch.Tensor)
    sizes = [column.size for column in inputs.columns]
    start = sizes[0]
    sex = view[:, start : start + 2]
    assert set(sex.sum(dim=1).tolist()) <= {0.0, 1.0}
    missing = view[:, start + 2]
    assert torch.equal(missing, 1 - sex.sum(dim=1))
    age, gap = view[:, 0], view[:, 1]
    assert (age[gap == 1] == 0).all()


@pytest.mark.parametrize("name", ["table-mlp", "table-resnet", "table-transformer"])
def test_encoders_return_dim_and_reach_every_weight(name: str) -> None:
    inputs, source = fitted(columns())
    encoder, spec = inputs.build_encoder(name, {"width": 16, "depth": 2})
    assert ENCODERS.get(name).modality == "table"
    x = inputs.make_views(source.values, [inputs.evaluation_view()], np.random.default_rng(0))[0]
    h = encoder(x)
    assert h.shape == (60, 16) == (60, spec.dim)
    h.square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    assert encoder(x.bfloat16().float()).dtype == torch.float32


def test_a_transformer_refuses_thousands_of_columns() -> None:
    with pytest.raises(InputError, match="columns must be <= 512, got 600; take table-mlp or table-resnet"):
        ENCODERS.get("table-transformer")(sizes=[1] * 600)


def test_sixty_rows_of_thousands_of_columns_train(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label = np.arange(60) % 2
    data = rng.normal(size=(60, 3000)) + (label[:, None] * (np.arange(3000) < 50))
    np.savez(tmp_path / "genes.npz", x=data, y=label)
    settings: dict[str, Any] = {**QUICK, "method_options": HEADS["simclr"], "epochs": 1}
    run = nearfar.pretrain(tmp_path / "genes.npz", out=tmp_path / "run", encoder_options={"width": 16}, **settings)
    report = nearfar.evaluate(run.path, tmp_path / "genes.npz", protocol=["auc"], options={"resamples": 50})
    assert 0 <= report["roc_auc"].value <= 1


def test_compare_refuses_rows_in_memory(tmp_path: Path) -> None:
    with pytest.raises(NearfarError, match="compare: data in memory must be images, got rows; save them as a file"):
        nearfar.compare(columns(), methods=["simclr"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_new_rows_need_the_columns_of_the_training_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "age,sex,label\n" + "".join(f"{place % 7 + 0.5},{'fm'[place % 3 // 2]},{place % 2}\n" for place in range(40))
    (tmp_path / "t.csv").write_text(text)
    settings = {**QUICK, "epochs": 1, "method_options": HEADS["simclr"], "encoder_options": {"width": 8}}
    run = nearfar.pretrain(tmp_path / "t.csv", out=tmp_path / "run", **settings)
    (tmp_path / "new.csv").write_text("sex,extra,age\nf,1,3\nx,2,\n")
    out = nearfar.embed(run.path, tmp_path / "new.csv", out=tmp_path / "e.parquet")
    assert out.is_file()
    assert "column 'sex': 1 values such as 'x' are no category of the training rows" in capsys.readouterr().err
    (tmp_path / "less.csv").write_text("sex\nf\n")
    with pytest.raises(
        NearfarError, match="columns must be those that the encoder was trained on, got none called 'age'"
    ):
        nearfar.embed(run.path, tmp_path / "less.csv", out=tmp_path / "f.parquet")
    assert not (tmp_path / "f.parquet").exists()
    schema = (run.path / "inputs" / "schema.yaml").read_text()
    assert "sex: ignore" not in schema
    assert dataclasses.is_dataclass(nearfar.PretrainConfig)
