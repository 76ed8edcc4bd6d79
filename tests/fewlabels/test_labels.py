from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearfar.errors import ConfigError, DataError
from nearfar.fewlabels.label_files import read_labels, write_labels
from nearfar.fewlabels.parts import Data, open_data
from nearfar.fewlabels.settings import LabelChoice
from nearfar.modalities import MODALITIES
from tests.samples import write_folder


def opened(data: Any, **choice: Any) -> Data:
    return open_data(data, LabelChoice(**choice), MODALITIES.get("image"), {})


def table(path: Path, rows: dict[str, str]) -> str:
    write_labels(path, list(rows), list(rows.values()))
    return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path / "photos" / "train", 32)
    return write_folder(tmp_path / "photos" / "test", 8).parent


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "flat", 20, nested=False)


def test_draws_are_stratified_seeded_and_nested(data: Path) -> None:
    few, more = opened(data, per_class=2), opened(data, per_class=5)
    assert few.per_class() == {str(n): 2 for n in range(4)}
    assert set(few.rows) < set(more.rows)
    assert np.array_equal(few.rows, opened(data, per_class=2).rows)
    assert not np.array_equal(few.rows, opened(data, per_class=2, draw=1).rows)
    assert not np.array_equal(few.rows, opened(data, per_class=2, draw_seed=1).rows)
    share = opened(data, fraction=0.25)
    assert share.per_class() == {str(n): 3 for n in range(4)}
    assert set(few.rows) < set(share.rows)
    assert opened(data, fraction=0.001).per_class() == {str(n): 1 for n in range(4)}
    assert len(opened(data).rows) == 48


def test_a_table_says_which_labels_are_known(folder: Path, tmp_path: Path) -> None:
    wanted = {"train/class0/000.png": "class0", "train/class1/001.png": "class1", "train/class1/005.png": "class1"}
    found = opened(folder, labels=table(tmp_path / "labels.csv", wanted))
    assert [found.train.ids[row] for row in found.rows] == sorted(wanted)
    assert found.targets.names == ("class0", "class1", "class2", "class3")
    assert found.per_class() == {"class0": 1, "class1": 2, "class2": 0, "class3": 0}
    assert found.test_values is not None
    assert len(found.test_values) == 8


def test_without_splits_a_fifth_of_the_labels_is_scored(flat: Path, tmp_path: Path) -> None:
    rows = {f"{n:03d}.png": "ab"[n % 2] for n in range(10)}
    found = opened(flat, labels=table(tmp_path / "labels.csv", rows))
    assert found.test is not None
    assert found.test_values is not None
    assert sorted(found.test_values) == [0, 1]
    assert len(found.train) == 18
    assert len(found.rows) == 8
    assert not set(found.test.ids) & set(found.train.ids)


def test_labels_of_what_is_scored_may_come_from_a_table_too(flat: Path, tmp_path: Path) -> None:
    learnt = table(tmp_path / "labels.csv", {"000.png": "a", "001.png": "b"})
    scored = table(tmp_path / "test.csv", {"010.png": "b", "011.png": "a", "012.png": "a"})
    found = opened(flat, labels=learnt, test_labels=scored)
    assert found.test is not None
    assert list(found.test.ids) == ["010.png", "011.png", "012.png"]
    assert list(found.test_values) == [1, 0, 0]  # type: ignore[arg-type]
    assert len(found.train) == 17


def test_several_labels_and_numbers(flat: Path, tmp_path: Path) -> None:
    several = table(tmp_path / "several.csv", {"000.png": "cat|dog", "001.png": "dog", "002.png": "cat | bird"})
    found = opened(flat, labels=several, task="multilabel", test_split="none")
    assert found.targets.names == ("bird", "cat", "dog")
    assert found.values[found.rows].tolist() == [[0, 1, 1], [0, 0, 1], [1, 1, 0]]
    numbers = table(tmp_path / "numbers.csv", {"000.png": "1", "001.png": "3", "002.png": "5"})
    found = opened(flat, labels=numbers, task="regression", test_split="none")
    assert found.targets.offset == (3.0,)
    assert found.targets.scale == pytest.approx((np.std([1, 3, 5]),))


@pytest.mark.parametrize(
    ("rows", "choice", "sentence"),
    [
        ({}, {"per_class": 9}, "labels: class 'class0' must be one with at least 9 labels, got 8; ask for 8 or fewer"),
        ({"nowhere.png": "class0"}, {}, "ids must be among the 32 items of the data, got 'nowhere.png'"),
        ({"test/class0/000.png": "class0"}, {}, "got 'test/class0/000.png', which is a test item; take its labels out"),
        ({"train/class0/000.png": "class0"}, {}, "labels must be of two or more classes, got only 'class0'"),
        ({"train/class0/000.png": "class9"}, {}, "every label must be a name or a place"),
        ({"train/class0/000.png": ""}, {}, "labels must be at least one, got none; fill in the column label"),
    ],
)
def test_wrong_labels_are_one_clear_sentence(
    folder: Path, tmp_path: Path, rows: dict[str, str], choice: dict[str, Any], sentence: str
) -> None:
    labels = {"labels": table(tmp_path / "labels.csv", rows)} if rows else {}
    with pytest.raises(DataError) as error:
        opened(folder, **labels, **choice)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_an_item_that_is_scored_by_a_table_is_not_learnt_from(flat: Path, tmp_path: Path) -> None:
    learnt = table(tmp_path / "labels.csv", {"000.png": "a", "001.png": "b", "010.png": "b"})
    scored = table(tmp_path / "test.csv", {"010.png": "b", "011.png": "a"})
    with pytest.raises(DataError, match=r"got '010\.png', which is a test item; take its labels out.*leakage"):
        opened(flat, labels=learnt, test_labels=scored)


def test_a_class_without_any_label_cannot_be_drawn_from(folder: Path, tmp_path: Path) -> None:
    labels = table(tmp_path / "labels.csv", {"train/class0/000.png": "class0", "train/class1/001.png": "class1"})
    with pytest.raises(DataError, match=r"class 'class2' must be one with at least 1 labels, got 0; label some"):
        opened(folder, labels=labels, per_class=1)


def test_an_id_with_two_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,label\na.png,cat\nb.png,dog\na.png,cat\na.png,dog\n")
    with pytest.raises(DataError, match=r"row 4: id 'a.png' must be given one label, 'cat' as before, got 'dog'"):
        read_labels(path)
    path.write_text("id,label\na.png,cat\na.png,cat\n")
    assert read_labels(path) == {"a.png": "cat"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"id,name\na,b\n", "columns must be named id and label, got id, name"),
        (b"", "columns must be named id and label, got none"),
        (b"id,label\na\n", "row 1: cells must be 2, got 1"),
        (b"\xff\xfe", "must be text in UTF-8"),
    ],
)
def test_a_table_that_cannot_be_read(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        read_labels(path)
    with pytest.raises(DataError, match=r"cannot be read"):
        read_labels(tmp_path / "none.csv")


def test_no_labels_at_all(flat: Path) -> None:
    with pytest.raises(DataError, match="labels of the training items must be given, got none"):
        opened(flat)


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ({"per_class": 1, "fraction": 0.1}, "fraction and per-class must be given one at a time, got both"),
        ({"fraction": 0.0}, r"fraction must be in \(0, 1\], got 0.0"),
        ({"per_class": 0}, "per_class must be >= 1, got 0"),
        ({"per_class": 2, "task": "regression"}, "must be given for classes alone, got regression"),
    ],
)
def test_choices_that_contradict_themselves(choice: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        LabelChoice(**choice)
