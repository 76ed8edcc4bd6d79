import json

import pytest

from benchmarks import merging, record, report
from nearfar.errors import DataError, InputError

ENVIRONMENT = {"cpu": "a CPU", "commit": "abc"}


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def write(name: str, **changes) -> None:
    rows = [["simclr", 0.87654, 12, None], ["raw | pixels", "81.0 ± 0.3", 12345.6, 1e-5]]
    table = record.table("Accuracy", ["method", "kNN", "s", "MiB"], rows)
    values = {"title": f"About {name}", "tables": [table], "notes": ["seeds 0, 1, 2"], "command": "run it"}
    record.write(name, **(values | changes), measured_on=ENVIRONMENT)


def test_results_are_rendered_in_order_with_environment_and_command(results):
    write("zebra")
    write("ape")
    text = report.render(results)
    assert text == report.render(results)
    assert "Edit nothing here" in text
    assert text.index("About ape") < text.index("About zebra")
    for part in ("```sh\nrun it\n```", "cpu: a CPU; commit: abc.", "- seeds 0, 1, 2", "| --- | ---: | ---: | ---: |"):
        assert part in text
    assert "| simclr | 0.8765 | 12 | – |" in text
    assert "| raw \\| pixels | 81.0 ± 0.3 | 12,346 | 1e-05 |" in text


def test_nothing_measured_is_said(results):
    assert "Nothing was measured yet." in report.render(results)


def test_a_broken_result_is_named(results):
    write("good")
    (results / "bad.json").write_text("{")
    with pytest.raises(DataError, match=r"bad\.json: must be JSON"):
        report.render(results)
    (results / "bad.json").write_text(json.dumps({"name": "bad"}))
    with pytest.raises(DataError, match=r"bad\.json: content must be"):
        report.render(results)


def test_records_are_checked_before_anything_is_written(results):
    with pytest.raises(InputError, match="length of each row"):
        record.table("t", ["a", "b"], [[1]])
    with pytest.raises(InputError, match="name must be"):
        write("../evil")
    with pytest.raises(ValueError, match="JSON"):
        write("nan", tables=[record.table("t", ["a"], [[float("nan")]])])
    assert not list(results.glob("*"))


def test_environment_says_machine_versions_and_commit():
    values = record.environment()
    assert {"cpu", "cores", "memory", "threads", "gpu", "python", "torch", "commit", "date"} <= values.keys()
    assert all(str(value) for value in values.values())
    assert record.peak_memory_mib() > 10


def test_seeds_of_several_runs_come_together_and_other_settings_begin_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(merging, "FOLDER", tmp_path / "seeds")

    def ran(*accuracies):
        row = {"name": "simclr", "baseline": False, "protocols": ["p"], "by_seed": [{"knn": a} for a in accuracies]}
        return {"small": {"rows": [row | {key: [1.0] * len(accuracies) for key in merging.LISTS}]}}

    merging.merge("m", {"epochs": 1}, ran(0.5, 0.7), 0)
    (row,) = merging.merge("m", {"epochs": 1}, ran(0.6), 2)["small"]
    assert row["seeds"] == [0, 1, 2]
    assert row["over_seeds"]["knn"]["mean"] == pytest.approx(0.6)
    assert row["over_seeds"]["knn"]["sd"] == pytest.approx(0.1)
    assert row["spread"] == [1.0] * 3
    (row,) = merging.merge("m", {"epochs": 1}, ran(0.9), 1)["small"]  # measured again: the newer number counts
    assert row["over_seeds"]["knn"]["mean"] == pytest.approx(2 / 3)
    (row,) = merging.merge("m", {"epochs": 2}, ran(0.1), 0)["small"]
    assert row["seeds"] == [0]
