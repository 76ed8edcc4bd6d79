from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

import nearfar
from nearfar.encoders import build, load_weights, save_encoder
from nearfar.errors import ConfigError, MissingExtraError, RunError
from nearfar.evaluation import Report
from tests.cli.call import call, refused
from tests.samples import pictures, train, write_folder

KINDS: dict[str, dict[str, Any]] = {
    "small": {"in_channels": 1, "image_size": 8, "options": {"width": 4}},
    "resnet10t": {"in_channels": 3, "image_size": 96},
    "resnet18": {"in_channels": 1, "image_size": 32, "options": {"layers": (1, 1, 1, 1)}},
    "vit_tiny_patch16_224": {"in_channels": 3, "image_size": 64, "options": {"depth": 2}},
}
"""Our own; a timm ResNet with a stem of its own; one with the small stem; a transformer built for one size."""


def made(name: str, folder: Path) -> Any:
    """Save an encoder whose BatchNorms have seen something, and return it in eval mode."""
    torch.manual_seed(0)
    encoder, spec = build(name, **KINDS[name])
    with torch.no_grad():
        encoder.train()(inputs(name, 8))
    folder.mkdir(parents=True, exist_ok=True)
    save_encoder(folder, encoder, spec, {"method": "simclr", "epochs": 3})
    return encoder.eval()


def inputs(name: str, count: int) -> Tensor:
    kind = KINDS[name]
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, kind["in_channels"], kind["image_size"], kind["image_size"], generator=generator)


def out_of(encoder: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        return encoder(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", KINDS)
def test_safetensors_loads_again(name: str, tmp_path: Path) -> None:
    encoder = made(name, tmp_path / "run")
    out = nearfar.export(tmp_path / "run", format="safetensors", out=tmp_path / "new" / "folder")
    again, spec = nearfar.load_encoder(out)
    x = inputs(name, 3)
    assert torch.equal(out_of(again, x), out_of(encoder, x))
    card = json.loads((out / "encoder.json").read_text())
    assert (card["method"], card["epochs"]) == ("simclr", 3)
    assert card["preprocessing"]["mean"] == [0.5] * spec.in_channels
    assert card["preprocessing"]["included_in_the_model"] is False
    assert sorted(path.name for path in out.iterdir()) == ["encoder.json", "encoder.safetensors"]


@pytest.mark.parametrize("name", ["resnet10t", "resnet18", "vit_tiny_patch16_224"])
@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_timm_loads_its_state_dict(name: str, ending: str, tmp_path: Path) -> None:
    import timm
    from safetensors.torch import load_file

    encoder = made(name, tmp_path / "run")
    out = nearfar.export(tmp_path / "run", format="timm", out=tmp_path / f"weights{ending}")
    state = load_file(out) if ending == ".safetensors" else torch.load(out, weights_only=True)
    recipe = json.loads((tmp_path / f"weights{ending}.json").read_text())["timm"]
    assert recipe["architecture"] == name
    names: dict[str, Any] = {"timm": timm, "torch": torch}
    for step in recipe["build"]:  # what the description tells a reader to type
        exec(step, names)
    model = names["model"].eval()
    model.load_state_dict(state)
    x = inputs(name, 3)
    torch.testing.assert_close(out_of(model, x), out_of(encoder, x), rtol=0, atol=0)
    assert len(recipe["build"]) == (3 if name == "resnet18" else 1)


def test_our_own_encoder_is_no_timm_model(tmp_path: Path) -> None:
    made("small", tmp_path / "run")
    with pytest.raises(ConfigError, match="the encoder must be a timm model for --format timm, got small"):
        nearfar.export(tmp_path / "run", format="timm", out=tmp_path / "weights.pth")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


@pytest.mark.parametrize("name", KINDS)
def test_a_program_gives_the_same_numbers_for_any_batch(name: str, tmp_path: Path) -> None:
    encoder = made(name, tmp_path / "run")
    out = nearfar.export(tmp_path / "run", format="torch-export", out=tmp_path / "encoder.pt2")
    told = {"nearfar.json": ""}
    program = torch.export.load(out, extra_files=told).module()
    for count in (1, 2, 7):
        x = inputs(name, count)
        torch.testing.assert_close(program(x), out_of(encoder, x), rtol=1e-5, atol=1e-5)
    description = json.loads(told["nearfar.json"])
    assert description == json.loads((tmp_path / "encoder.pt2.json").read_text())
    assert description["encoder"]["name"] == name
    assert description["preprocessing"]["std"] == [0.25] * KINDS[name]["in_channels"]


@pytest.mark.parametrize("name", ["small", "resnet18", "vit_tiny_patch16_224"])
def test_onnx_gives_the_same_numbers_for_any_batch(name: str, tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    encoder = made(name, tmp_path / "run")
    out = nearfar.export(tmp_path / "run", format="onnx", out=tmp_path / "encoder.onnx")
    onnx.checker.check_model(str(out), full_check=True)
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    assert [item.name for item in session.get_inputs()] == ["images"]
    assert session.get_inputs()[0].shape[1:] == list(inputs(name, 1).shape[1:])
    assert [item.name for item in session.get_outputs()] == ["embedding"]
    for count in (1, 2, 7):
        x = inputs(name, count)
        (got,) = session.run(None, {"images": x.numpy()})
        np.testing.assert_allclose(got, out_of(encoder, x).numpy(), rtol=1e-4, atol=1e-4)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["nearfar.preprocessing"])["mean"] == [0.5] * KINDS[name]["in_channels"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder.onnx", "encoder.onnx.json", "run"]


def test_a_graph_with_other_numbers_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nearfar.pipeline.exporting import graphs

    made("small", tmp_path / "run")
    monkeypatch.setattr(graphs, "_session", lambda content: lambda x: torch.zeros(len(x), 32))
    with pytest.raises(RunError, match=r"numbers of the graph must be the encoder's to 0.0001, got off by"):
        nearfar.export(tmp_path / "run", format="onnx", out=tmp_path / "encoder.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_without_its_packages_onnx_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    made("small", tmp_path / "run")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'nearfar\[onnx\]'"):
        nearfar.export(tmp_path / "run", format="onnx", out=tmp_path / "encoder.onnx")


class Branch(nn.Module):
    """An encoder of somebody's own, whose path depends on the numbers: no graph can hold it."""

    dim = 2

    def __init__(self, *, branch: bool) -> None:
        super().__init__()
        self.branch, self.weight = branch, nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        h = x.mean(dim=(1, 2, 3))[:, None] * self.weight
        return h * 2 if self.branch and float(h.detach().sum()) > 0 else h


def test_an_encoder_of_ones_own_leaves_as_well(tmp_path: Path) -> None:
    images, _ = pictures(32)
    run = train(images, tmp_path / "run", module=Branch(branch=False), epochs=1)
    out = nearfar.export(run.path, format="torch-export", out=tmp_path / "own.pt2", module=Branch(branch=False))
    x = torch.randn(5, 1, 8, 8)
    encoder, _ = nearfar.load_encoder(run.path, Branch(branch=False))
    torch.testing.assert_close(torch.export.load(out).module()(x), out_of(encoder, x))
    nearfar.export(run.path, format="huggingface", out=tmp_path / "hub", module=Branch(branch=False))
    assert "freshly built" in (tmp_path / "hub" / "README.md").read_text()
    with pytest.raises(RunError, match=r"must be one that torch.export can trace, got .*; take safetensors") as caught:
        nearfar.export(run.path, format="torch-export", out=tmp_path / "no.pt2", module=Branch(branch=True))
    assert "\n" not in str(caught.value)
    with pytest.raises(RunError, match="pass a freshly built one as module="):
        nearfar.export(run.path, format="onnx", out=tmp_path / "no.onnx")


# the folder in the style of Hugging Face


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with evaluations."""
    root = tmp_path_factory.mktemp("export")
    data = write_folder(root / "secret place" / "shapes", channels=3)
    path = train(data, root / "first", seed=3).path
    for baseline, name in ((None, "evaluation.json"), ("pixels", "evaluation-pixels.json")):
        nearfar.evaluate(path, data, baseline=baseline, protocol=["knn", "linear"], out=path / name)  # type: ignore[arg-type]
    return path


def test_the_card_says_what_the_run_knows_and_no_more(run: Path, tmp_path: Path) -> None:
    out = nearfar.export(run, format="huggingface", out=tmp_path / "hub")
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "preprocessor_config.json",
    ]  # fmt: skip
    card = (out / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["library_name"] == "nearfar"
    assert "license" not in front
    assert "simclr" in front["tags"]
    for heading in ("Method", "Data", "Input", "Use", "Numbers", "Settings", "Machine"):
        assert f"\n## {heading}\n\n" in card
    assert "https://arxiv.org/abs/2002.05709" in card
    assert "No labels were used." in card
    assert "`shapes`" in card
    assert "secret place" not in card
    for name in ("evaluation.json", "evaluation-pixels.json"):
        report = Report.from_json((run / name).read_text())
        assert f"{report['knn'].value:.4f}" in card
        assert report.results[0].sentence in card
    assert "### This encoder" in card
    assert "### raw pixels" in card
    settings = yaml.safe_load(card.split("```yaml\n")[1].split("```")[0])
    assert (settings["seed"], settings["batch_size"], settings["method_options"]["temperature"]) == (3, 16, 0.1)
    assert f"torch: {torch.__version__.partition('+')[0]}" in card
    assert "minus mean [0.5, 0.5, 0.5], divided by std [0.25, 0.25, 0.25]" in card


def test_the_cards_python_loads_the_folder(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = nearfar.export(run, format="huggingface", out=tmp_path / "FOLDER")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec((out / "README.md").read_text().split("```python\n")[1].split("```")[0], names)
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(out_of(names["encoder"], x), out_of(nearfar.load_encoder(run)[0], x))


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224"])
def test_timm_reads_the_folder_by_itself(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = made(name, tmp_path / "run")
    out = nearfar.export(tmp_path / "run", format="huggingface", out=tmp_path / "FOLDER")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec((out / "README.md").read_text().split("```python\n")[1].split("```")[0], names)
    x = inputs(name, 2)
    assert torch.equal(out_of(names["model"], x), out_of(encoder, x))
    assert names["model"].pretrained_cfg["mean"] == [0.5] * 3
    assert names["model"].pretrained_cfg["input_size"] == tuple(x.shape[1:])


def test_a_small_stem_is_not_called_timms(tmp_path: Path) -> None:
    encoder = made("resnet18", tmp_path / "run")
    out = nearfar.export(tmp_path / "run", format="huggingface", out=tmp_path / "hub")
    assert "library_name: nearfar" in (out / "README.md").read_text()
    fresh, _ = build("resnet18", **KINDS["resnet18"])
    assert load_weights(fresh, out).line().endswith("all fitted")
    x = inputs("resnet18", 2)
    assert torch.equal(out_of(fresh.eval(), x), out_of(encoder, x))


@pytest.mark.parametrize(("size", "edge"), [(8, 8), (64, 64), (96, 110), (224, 256)])
def test_the_preprocessor_is_the_evaluation_view(size: int, edge: int, tmp_path: Path) -> None:
    encoder, spec = build(
        "small", in_channels=3, image_size=size, options={"width": 2}, mean=(0.1, 0.2, 0.3), std=(0.25,) * 3
    )
    save_encoder(tmp_path, encoder, spec)
    out = nearfar.export(tmp_path, format="huggingface", out=tmp_path / "hub")
    values = json.loads((out / "preprocessor_config.json").read_text())
    assert (values["size"], values["crop_size"]) == ({"shortest_edge": edge}, {"height": size, "width": size})
    assert (values["image_mean"], values["image_std"]) == ([0.1, 0.2, 0.3], [0.25] * 3)
    card = (out / "README.md").read_text()
    assert card.count("The folder that this was exported from does not say.") == 4


# the verb


def test_the_verb_writes_and_refuses(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "hub"
    done = call(capsys, "export", run, "--format", "huggingface", "--out", out)
    assert (done.code, done.out.strip()) == (0, str(out))
    assert "mean (0.5,) and std (0.25,)" in done.err
    before = (out / "README.md").read_bytes()
    (out / "README.md").write_text("mine")
    (out / "notes.txt").write_text("mine")
    said = refused(call(capsys, "export", run, "--format", "huggingface", "--out", out))
    assert "config.json: already exists; choose another --out, or add --overwrite" in said
    assert (out / "README.md").read_text() == "mine"
    assert call(capsys, "export", run, "--format", "huggingface", "--out", out, "--overwrite").code == 0
    assert (out / "README.md").read_bytes() == before
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "onnx", "--out", "a.pt2"), r"ending of --out must be .onnx, got '.pt2'"),
        (("--format", "timm", "--out", "a"), "ending of --out must be .safetensors or .pth or .pt, got ''"),
        (("--format", "safetensors", "--out", "file"), "file: must be a folder, got a file"),
        (("--format", "onnx", "--out", "folder.onnx"), "folder.onnx: must be a file, got a folder"),
        (("--format", "onnx", "--out", "taken.onnx"), "taken.onnx.json: already exists"),
    ],
)
def test_a_wrong_place_is_one_sentence(
    arguments: tuple[str, ...], message: str, run: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("folder.onnx").mkdir()
    Path("taken.onnx.json").touch()
    assert message in refused(call(capsys, "export", run, *arguments))
    assert len(list(tmp_path.iterdir())) == 3


def test_other_folders_and_formats_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no encoder"):
        nearfar.export(tmp_path, format="safetensors", out=tmp_path / "out")
    with pytest.raises(ConfigError, match="format must be known, got 'onxn'; did you mean 'onnx'"):
        nearfar.export(run, format="onxn", out=tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_read_beside_the_encoder_is_left_out(run: Path, tmp_path: Path) -> None:
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    (copied / "evaluation.json").write_text("{")
    (copied / "environment.json").write_text("[]")
    (copied / "config.yaml").write_text("a: [")
    card = (nearfar.export(copied, format="huggingface", out=tmp_path / "hub") / "README.md").read_text()
    assert "### This encoder" not in card
    assert "### raw pixels" in card
