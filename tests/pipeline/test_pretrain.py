from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import nearfar
from nearfar.config import from_mapping, load_yaml
from nearfar.data import ArraySource
from nearfar.encoders import fingerprint, load_encoder
from nearfar.errors import ConfigError, DataError, RunError
from nearfar.training.run import Run
from tests.samples import pictures, timeless, train, write_folder

WITHOUT_MLFLOW = pytest.mark.skipif(importlib.util.find_spec("mlflow") is not None, reason="MLflow is installed here")


class Pairs(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """What torch users have: (image, label) pairs of channels-first tensors."""

    def __init__(self, count: int = 32) -> None:
        self.images, self.labels = pictures(count, channels=3)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return torch.from_numpy(self.images[index]).permute(2, 0, 1), int(self.labels[index])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "classes", channels=3)


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(folder, tmp_path_factory.mktemp("runs") / "first")


def test_a_run_leaves_all_its_files(run: Run) -> None:
    for name in (
        "config.yaml", "metrics.jsonl", "views.png", "encoder.safetensors", "encoder.json", "checkpoints/last.ckpt",
        "environment.json",
    ):  # fmt: skip
        assert (run.path / name).stat().st_size > 0, name
    assert list((run.path / "tensorboard").glob("events.out.tfevents.*"))
    assert not (run.path / "skipped.csv").exists()
    assert not list(run.path.rglob("*.tmp"))
    with Image.open(run.path / "views.png") as sheet:
        sheet.verify()
    machine = json.loads((run.path / "environment.json").read_text())
    assert machine["packages"]["torch"]
    assert machine["nearfar"] == nearfar.__version__


def test_the_metrics_have_a_row_a_step_and_a_row_an_epoch(run: Run) -> None:
    rows = run.metrics()
    steps = [row for row in rows if "loss" in row]
    epochs = [row for row in rows if "epoch_loss" in row]
    assert [row["step"] for row in steps] == list(range(1, 7))
    assert [row["step"] for row in epochs] == [3, 6]
    assert epochs[0]["epoch_loss"] == pytest.approx(np.mean([row["loss"] for row in steps[:3]]))
    for name in ("probe_loss", "probe_accuracy", "knn_accuracy", "feature_std", "effective_rank", "images_per_second"):
        assert np.isfinite(epochs[-1][name]), name
    assert steps[-1]["lr"] == pytest.approx(0.0, abs=1e-12)


def test_tensorboard_gets_the_same_numbers(run: Run) -> None:
    content = next((run.path / "tensorboard").glob("events.*")).read_bytes()
    assert all(name in content for name in (b"epoch_loss", b"probe_accuracy", b"effective_rank"))


def test_the_configuration_is_complete_and_resolved(run: Run) -> None:
    values = run.config()
    assert values.pop("data").endswith("classes")
    config = from_mapping(nearfar.PretrainConfig, values, "config.yaml")
    assert set(values) == set(vars(config))
    for name in ("lr", "warmup_epochs", "image_size", "channels", "devices", "threads"):
        assert values[name] is not None, name
    assert "auto" not in values.values()
    assert (config.views, config.image_size, config.channels) == ("cifar", 8, 3)
    assert config.method_options["temperature"] == 0.1
    assert config.encoder_options == {"width": 4}


def test_the_configuration_gives_the_same_run_again(run: Run, folder: Path, tmp_path: Path) -> None:
    values = load_yaml(run.path / "config.yaml")
    for name in ("format", "nearfar", "data"):
        values.pop(name)
    config = from_mapping(nearfar.PretrainConfig, values, "config.yaml")
    again = nearfar.pretrain(folder, out=tmp_path / "again", config=config)
    assert timeless(again) == timeless(run)
    assert fingerprint(load_encoder(again.path)[0]) == fingerprint(load_encoder(run.path)[0])
    assert again.config() == run.config()


def test_another_seed_gives_another_run(run: Run, folder: Path, tmp_path: Path) -> None:
    other = train(folder, tmp_path / "other", seed=1)
    assert timeless(other) != timeless(run)


def test_the_number_of_threads_changes_nothing(run: Run, folder: Path, tmp_path: Path) -> None:
    other = train(folder, tmp_path / "other", threads=3, cache="off")
    assert timeless(other) == timeless(run)


def test_the_encoder_is_the_trained_one(run: Run) -> None:
    encoder, spec = nearfar.load_encoder(run.path)
    assert (spec.name, spec.dim, spec.in_channels, spec.image_size) == ("small", 32, 3, 8)
    assert not encoder.training
    checkpoint = torch.load(run.checkpoint, weights_only=True)["state_dict"]
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(value, checkpoint[f"method.encoder.{name}"], rtol=0, atol=0)


def _flat(root: Path) -> Any:
    return write_folder(root / "flat", 32, nested=False)


def _npz(root: Path) -> Any:
    images, labels = pictures(32, channels=5)
    np.savez(root / "five.npz", images=images, labels=labels)
    return root / "five.npz"


def _manifest(root: Path) -> Any:
    write_folder(root / "files", 40, nested=False, dtype=np.uint16)
    rows = [f"files/{row:03d}.png,{row % 2 if row % 3 else ''},{'train' if row < 32 else 'test'}" for row in range(40)]
    (root / "list.csv").write_text("\n".join(["path,label,split", *rows]))
    return root / "list.csv"


@pytest.mark.parametrize(
    ("make", "channels", "labelled"),
    [
        (_flat, 1, False),
        (_npz, 5, True),
        (_manifest, 1, True),
        (lambda root: Pairs(), 3, True),
        (lambda root: pictures(32)[0], 1, False),
    ],
    ids=["flat folder", "npz of five channels", "manifest of 16 bits, partly labelled", "torch data set", "array"],
)
def test_every_kind_of_data_trains(make: Any, channels: int, labelled: bool, tmp_path: Path) -> None:
    made = train(make(tmp_path), tmp_path / "run", epochs=1)
    epochs = [row for row in made.metrics() if "epoch_loss" in row]
    assert epochs[-1]["step"] == 2
    assert np.isfinite(epochs[-1]["epoch_loss"])
    assert ("probe_accuracy" in epochs[-1]) == labelled
    assert nearfar.load_encoder(made.path)[1].in_channels == channels
    assert made.config()["channels"] == channels


@pytest.mark.parametrize("method", ["supcon", "siamese", "triplet"])
def test_supervised_methods_differ_in_one_word(method: str, folder: Path, tmp_path: Path) -> None:
    made = train(folder, tmp_path / "run", epochs=1, method=method)
    assert made.config()["method"] == method
    assert made.finished


def test_a_module_of_ones_own_trains_and_is_read_back(folder: Path, tmp_path: Path) -> None:
    def build() -> Any:
        module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 6), torch.nn.BatchNorm1d(6))
        module.dim = 6  # type: ignore[assignment]
        return module

    mine = build()
    made = train(folder, tmp_path / "run", module=mine, encoder="auto", encoder_options={})
    loaded, spec = load_encoder(made.path, build())
    assert spec.name == "custom"
    assert fingerprint(loaded) == fingerprint(mine)
    with pytest.raises(RunError, match="pass a freshly built one as module="):
        load_encoder(made.path)
    report = nearfar.evaluate(made.path, folder, protocol=["knn"], module=build())
    assert 0 <= report["knn"].value <= 1


def test_broken_files_are_skipped_named_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_folder(tmp_path / "data", 200, nested=False)
    (data / "007.png").write_bytes(b"")
    made = train(data, tmp_path / "run", epochs=1)
    text = (made.path / "skipped.csv").read_text()
    assert text.splitlines()[0] == "id,reason"
    assert "007.png,the file is empty" in text
    assert "1 of 200 items could not be read" in capsys.readouterr().err


def test_without_a_cache_broken_files_are_met_while_training(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", 200, nested=False)
    whole = (data / "007.png").read_bytes()
    (data / "007.png").write_bytes(whole[: len(whole) // 2])
    made = train(data, tmp_path / "run", epochs=1, cache="off", batch_size=50)
    assert "007.png," in (made.path / "skipped.csv").read_text()


def test_limit_takes_that_many_evenly(tmp_path: Path) -> None:
    images, labels = pictures(48)
    made = train(ArraySource(images, labels), tmp_path / "run", limit=16, epochs=1)
    assert [row["step"] for row in made.metrics() if "epoch_loss" in row] == [1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 3}, "pretrain: unknown setting 'epoch'; did you mean 'epochs'?"),
        ({"epochs": "many"}, "pretrain: epochs must be a valid integer"),
        ({"epochs": 0}, "pretrain: epochs must be >= 1, got 0"),
        ({"optimizer": "adam"}, "pretrain: optimizer must be 'lars', 'sgd' or 'adamw', got 'adam'"),
        ({"method": "simlcr"}, "did you mean 'simclr'?"),
        ({"method_options": {"temprature": 1}}, "method simclr: unknown setting 'temprature'; did you mean 'temper"),
        ({"method_options": {"temperature": "hot"}}, "method simclr: temperature must be a valid number"),
        ({"encoder": "smal"}, "did you mean 'small'?"),
        ({"encoder_options": {"widht": 4}}, "encoder small: unknown setting 'widht'; did you mean 'width'?"),
        ({"encoder_options": {"in_channels": 4}}, "encoder small: unknown setting 'in_channels'"),
        ({"views": "simcrl"}, "did you mean 'simclr'?"),
        ({"view_options": {"hflp": 1}}, "views cifar: unknown setting 'hflp'; did you mean 'hflip'?"),
        ({"batch_size": 64}, "batch-size must be <= 48, the number of images, got 64; lower --batch-size to 48"),
        ({"batch_size": 1}, "batch-size must be >= 2"),
        (
            {"method": "moco-v2", "batch_size": 48, "method_options": {"queue_size": 16}},
            "method moco-v2: method-options.queue-size must be >= 48, the batch size, got 16; give it 48 or more, or "
            "lower --batch-size to 16 or less",
        ),
        (
            {"method": "simclr-v2", "batch_size": 16, "method_options": {"memory": 8}},
            "method simclr-v2: method-options.memory must be >= 16, the batch size, got 8",
        ),
        ({"track": ["wnb"]}, "track.0 must be 'wandb' or 'mlflow', got"),
        pytest.param({"track": ["mlflow"]}, "pip install 'nearfar[mlflow]'", marks=WITHOUT_MLFLOW),
        ({"split": "tset"}, "has no split 'tset'"),
        ({"limit": 1}, "limit must be >= 2"),
        ({"channels": 4}, "must have 4 channels, got 3"),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_leaves_nothing(
    changes: dict[str, Any], message: str, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(nearfar.NearfarError) as caught:
        train(folder, tmp_path / "run", **changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_settings_are_checked_in_the_record_as_well() -> None:
    with pytest.raises(ConfigError, match="optimizer must be 'lars', 'sgd' or 'adamw', got 'adam'"):
        nearfar.PretrainConfig(optimizer="adam")  # type: ignore[arg-type]
    assert nearfar.PretrainConfig(epochs="3").epochs == 3  # type: ignore[arg-type]


def test_labels_are_asked_for_where_they_are_needed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"method supcon: labels must be given, got none; .* use simclr"):
        train(pictures(32)[0], tmp_path / "run", method="supcon")
    assert not (tmp_path / "run").exists()


def test_an_existing_run_is_refused_and_overwritten_only_when_asked(tmp_path: Path) -> None:
    data = pictures(32)[0]
    first = train(data, tmp_path / "run", epochs=1)
    before = (first.path / "encoder.json").read_bytes()
    with pytest.raises(RunError, match="got one with a run; add --resume to go on, --overwrite to start again"):
        train(data, tmp_path / "run", epochs=1)
    assert (first.path / "encoder.json").read_bytes() == before
    again = train(data, tmp_path / "run", epochs=1, seed=1, overwrite=True)
    assert (again.path / "encoder.json").read_bytes() != before
    assert sum(1 for row in again.metrics() if "epoch_loss" in row) == 1
    assert len(list((again.path / "tensorboard").glob("events.*"))) == 1


def test_overwriting_is_refused_before_the_old_run_is_lost(tmp_path: Path) -> None:
    first = train(pictures(32)[0], tmp_path / "run", epochs=1)
    with pytest.raises(nearfar.NearfarError, match="batch-size"):
        train(pictures(32)[0], tmp_path / "run", batch_size=99, overwrite=True)
    assert first.finished


@pytest.mark.parametrize("config", [None, "lr: 1\n", "format: 1\n"])
def test_overwrite_never_deletes_what_is_no_run(config: str | None, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    if config is not None:
        (tmp_path / "config.yaml").write_text(config)
    with pytest.raises(RunError, match="what --overwrite deletes must be a run, got other files"):
        train(pictures(32)[0], tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_overwrite_never_deletes_what_stands_in_a_run(tmp_path: Path) -> None:
    run = train(pictures(32)[0], tmp_path / "run", epochs=1)
    (run.path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match=r"must be a run alone, got also thesis\.txt"):
        train(pictures(32)[0], run.path, overwrite=True)
    assert run.finished


def test_out_may_be_an_empty_folder_but_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match=r"must be a new or empty folder \(Not a directory\)"):
        train(pictures(32)[0], tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert train(pictures(32)[0], tmp_path / "empty", epochs=1).finished


def test_a_run_of_a_later_format_is_refused(tmp_path: Path) -> None:
    run = train(pictures(32)[0], tmp_path / "run", epochs=1)
    path = run.path / "config.yaml"
    path.write_text(path.read_text().replace("format: 1", "format: 9"))
    with pytest.raises(RunError, match=r"format must be <= 1, got 9 \(written by nearfar .*\); use the nearfar that"):
        train(pictures(32)[0], run.path, resume=True)
    card = run.path / "encoder.json"
    card.write_text(card.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(RunError, match="format must be <= 1, got 9"):
        nearfar.evaluate(run.path, pictures(32)[0])
