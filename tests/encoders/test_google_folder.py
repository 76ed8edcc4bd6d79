from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nearfar.encoders import build, import_google, load_encoder
from nearfar.encoders.google_folder import _architecture
from nearfar.encoders.heads import load_head
from nearfar.errors import RunError
from nearfar.fewlabels.predictor import load_predictor
from tests.cli.call import call
from tests.encoders.test_simclr_resnet import tiny, variables_of
from tests.samples import pictures


def head_variables(dim: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """v2's head of three layers; the last BatchNorm has no shift."""
    found = {}
    for number, width in enumerate((dim, dim, 16)):
        start = f"head_contrastive/nl_{number}"
        found[f"{start}/dense/kernel"] = rng.normal(size=(dim, width)).astype(np.float32) / dim**0.5
        values = {"gamma": rng.uniform(0.5, 1, width), "moving_mean": rng.normal(size=width),
                  "moving_variance": rng.uniform(0.5, 2, width)}  # fmt: skip
        if number < 2:
            values["beta"] = rng.normal(size=width)
        found |= {f"{start}/batch_normalization/{key}": value.astype(np.float32) for key, value in values.items()}
    return found


def slow_head(h: np.ndarray, variables: dict[str, np.ndarray]) -> np.ndarray:
    for number in range(3):
        start = f"head_contrastive/nl_{number}"
        norm = {key: variables.get(f"{start}/batch_normalization/{key}", 0.0) for key in ("gamma", "beta")}
        mean, variance = (variables[f"{start}/batch_normalization/moving_{key}"] for key in ("mean", "variance"))
        h = (h @ variables[f"{start}/dense/kernel"] - mean) / np.sqrt(variance + 1e-5) * norm["gamma"] + norm["beta"]
        h = np.maximum(h, 0) if number < 2 else h
    return h


def test_a_checkpoint_becomes_a_folder_with_encoder_and_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = tiny(selective=True, image_size=32)
    plain = {name: array for name, array in variables_of(theirs).items() if not name.startswith("head_contrastive")}
    variables = plain | head_variables(theirs.dim, np.random.default_rng(0))
    np.savez(tmp_path / "simclr.npz", **variables)
    report = import_google(tmp_path / "simclr.npz", tmp_path / "run")
    assert report.parameters == report.of
    encoder, spec = load_encoder(tmp_path / "run")
    assert (spec.name, spec.image_size, spec.mean, spec.std) == ("simclr_resnet", 32, (0.0,), (1.0,))
    assert tuple(spec.options["layers"]) == (2, 1, 1, 1)
    x = torch.rand(2, 3, 32, 32)
    head = load_head(tmp_path / "run")
    assert head is not None
    with torch.no_grad():
        h = theirs(x)
        torch.testing.assert_close(encoder(x), h)
        np.testing.assert_allclose(head(h), slow_head(h.double().numpy(), variables), rtol=1e-3, atol=1e-4)


def test_the_moving_average_and_v1_without_a_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = tiny(selective=False, image_size=96)
    variables = {name: array for name, array in variables_of(theirs).items() if "head_contrastive" not in name}
    np.savez(tmp_path / "simclr.npz", **variables)
    import_google(tmp_path / "simclr.npz", tmp_path / "run", ema=True)
    encoder, spec = load_encoder(tmp_path / "run")
    assert spec.image_size == 224
    assert torch.equal(encoder.get_submodule("bn1").weight, 2 * theirs.bn1.weight)  # type: ignore[operator]
    assert load_head(tmp_path / "run") is None


def test_what_is_no_checkpoint_is_one_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", weight=np.ones((3, 3), np.float32))
    with pytest.raises(RunError, match="variables must be those of a ResNet of bottlenecks"):
        import_google(tmp_path / "other.npz", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_stands_in_the_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("x")
    with pytest.raises(RunError, match="folder must be new or empty"):
        import_google(tmp_path / "simclr.npz", tmp_path / "run")


def test_a_published_depth_gets_its_published_name() -> None:
    with torch.device("meta"):
        encoder, _ = build("r101_2x_sk1")
    assert _architecture(dict(encoder.state_dict()), "test") == ("r101_2x_sk1", {}, False)


def test_fine_tuning_begins_within_googles_head(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    theirs = tiny(selective=False, image_size=32)
    variables = variables_of(theirs) | head_variables(theirs.dim, np.random.default_rng(0))
    np.savez(tmp_path / "simclr.npz", **variables)
    import_google(tmp_path / "simclr.npz", tmp_path / "google")
    images, labels = pictures(12, size=32, channels=3, classes=2)
    np.savez(tmp_path / "data.npz", train_images=images, train_labels=labels, test_images=images[:4],
             test_labels=labels[:4])  # fmt: skip
    done = call(
        capsys, "finetune", tmp_path / "google", tmp_path / "data.npz", "--out", tmp_path / "tuned", "--from-layer", 1,
        "--per-class", 2, "--epochs", 1, "--least-steps", 1, "--batch-size", 4, "--lr", 1e-12, "--optimizer", "sgd",
        "--accelerator", "cpu", "--threads", 1, "--precision", "32-true",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "top-1" in done.out
    model = load_predictor(tmp_path / "tuned")[0]
    kernel = torch.from_numpy(variables["head_contrastive/nl_0/dense/kernel"])
    assert [type(layer).__name__ for layer in model.neck] == ["Linear", "BatchNorm1d", "ReLU"]
    torch.testing.assert_close(model.neck[0].weight, kernel.T, rtol=0, atol=1e-6)
    torch.testing.assert_close(model.encoder.get_submodule("conv1").weight, theirs.conv1.weight, rtol=0, atol=1e-6)
