from __future__ import annotations

import dataclasses
import io
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from nearfar.errors import InputError
from nearfar.evaluation import KNN, FewShot, Labelled, Report, comparison, encode_labels, evaluate
from nearfar.evaluation.record import USUAL
from tests.evaluation.samples import clusters


@pytest.fixture(scope="module")
def report():
    x, y = clusters(120, spread=1.5)
    queries, truth = clusters(60, spread=1.5, seed=1)
    truth[:4] = -1
    train, test = Labelled(x, y, "train", "centre crop"), Labelled(queries, truth, "test", "centre crop")
    return evaluate(train, test, subject="clusters [8]")


def test_all_protocols_give_numbers_with_their_sentences(report):
    assert [result.protocol for result in report.results] == list(USUAL)
    for result in report.results:
        assert result.scores
        assert all(np.isfinite(score.value) for score in result.scores)
        for name, value in result.settings.items():
            text = f"{value:,}" if name.startswith("max_") else str(value)
            if isinstance(value, int | float) and name != "validation":
                assert text in result.sentence or f"{value:g}" in result.sentence, (result.protocol, name)


def test_the_record_says_rows_views_and_what_was_left_out(report):
    assert report.train == "learnt from train split: 120 rows, view: centre crop"
    assert report.test == "scored on test split: 56 rows (4 more of unknown label left out), view: centre crop"


def test_json_gives_back_the_same_record(report):
    assert Report.from_json(report.to_json()) == report


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 99}'])
def test_foreign_json_is_one_sentence(text):
    with pytest.raises(InputError, match=r"^report: "):
        Report.from_json(text)


def test_text_and_table_show_every_number(report):
    console = Console(width=200, file=io.StringIO())
    console.print(report.table())
    shown = console.file.getvalue()
    for result in report.results:
        assert result.sentence in report.text()
        for score in result.scores:
            assert f"{score.value:.4f}" in shown
            assert f"{score.value:.4f}" in report.text()
    assert "clusters [8]" in shown


def test_a_score_is_found_by_name_and_a_near_miss_is_offered(report):
    assert report["knn, 5 per class"].sd is not None
    with pytest.raises(InputError, match="did you mean 'recall@10'"):
        report["recall@100"]


def test_encoders_stand_side_by_side(report):
    other = dataclasses.replace(report, subject="another")
    table = comparison([report, other], ["knn", "linear"])
    assert [column.header.plain for column in table.columns[1:]] == ["clusters [8]", "another"]
    assert table.row_count == 2


def test_different_protocols_are_not_compared():
    x, y = clusters(60)
    rows = Labelled(x, y)
    with pytest.raises(InputError, match="made by the same protocols"):
        comparison([evaluate(rows, rows, [KNN(k=5)]), evaluate(rows, rows, [KNN(k=6)])])


def test_an_unknown_protocol_is_one_sentence():
    x, y = clusters(60)
    with pytest.raises(InputError, match="unknown protocol 'retreival'; did you mean 'retrieval'"):
        evaluate(Labelled(x, y), Labelled(x, y), ["retreival"])


def test_a_better_embedding_scores_better():
    good, bad = (
        evaluate(Labelled(*clusters(200, spread=s)), Labelled(*clusters(200, spread=s, seed=1)), [KNN(), FewShot()])
        for s in (0.5, 4.0)
    )
    assert good["knn"].low > bad["knn"].high
    assert good["linear, 5 per class"].value > bad["linear, 5 per class"].value + 0.2


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (np.ones((2, 3, 4)), np.zeros(2, int), "shape must be"),
        (np.ones((0, 3)), np.zeros(0, int), "N and D > 0"),
        (np.ones((2, 3)), np.zeros(3, int), r"labels must be of shape \(2,\)"),
        (np.ones((2, 3)), np.zeros(2), "labels must be whole numbers"),
        (np.ones((2, 3)), np.array([0, -2]), "-1 for unknown, got -2"),
        (np.array([[1.0], [np.nan]]), np.zeros(2, int), "NaN or infinity in row 1"),
        (np.array([["a"]]), np.zeros(1, int), "a real number's"),
    ],
)
def test_bad_rows_are_one_sentence(embeddings, labels, message):
    with pytest.raises(InputError, match=message):
        Labelled(embeddings, labels)


def test_no_known_label_is_one_sentence():
    x, _ = clusters(5)
    rows = Labelled(x, np.full(5, -1))
    with pytest.raises(InputError, match="known for some, got none"):
        evaluate(rows, rows, ["knn"])


def test_labels_of_two_splits_get_one_numbering():
    (train, test), names = encode_labels(["b", "a", None], ["c", "a"])
    assert names == ("a", "b", "c")
    assert (train.tolist(), test.tolist()) == ([1, 0, -1], [2, 0])
    (numbers,), names = encode_labels([10, 9, None])
    assert (numbers.tolist(), names) == ([1, 0, -1], ("9", "10"))
    with pytest.raises(InputError, match="got both"):
        encode_labels(["a"], [1])


def test_importing_needs_neither_torch_nor_scikit_learn():
    code = "import sys, nearfar.evaluation; print([m for m in ('torch', 'sklearn', 'lightning') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
