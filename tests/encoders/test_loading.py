from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from nearfar.encoders import build, load_weights, save_encoder
from nearfar.errors import RunError

State = dict[str, Tensor]
LAYERS = {"layers": (1, 1, 1, 1)}


def tiny(size: int = 96, channels: int = 3) -> Any:
    """A timm ResNet of one basic block a stage."""
    return build("resnet18", image_size=size, in_channels=channels, options=LAYERS)[0].eval()


def other(seed: int = 0, **kind: Any) -> ResNet:
    """The same network by torchvision, with a classifier, and BatchNorm statistics that are not the initial ones."""
    torch.manual_seed(seed)
    model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5, **kind)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return model.eval()


def named(state: State, prefix: str) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def features(model: ResNet, x: Tensor) -> Tensor:
    model.fc = nn.Identity()
    return model(x)


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def children(model: nn.Module) -> nn.Sequential:
    return nn.Sequential(*list(model.children())[:-1])


LAYOUTS: dict[str, tuple[Callable[[ResNet, ResNet], Any], str]] = {
    "torchvision": (lambda model, late: model.state_dict(), ""),
    "numbered children, as lightly's examples": (
        lambda model, late: {
            **named(children(late).state_dict(), "backbone_momentum."),
            **named(children(model).state_dict(), "backbone."),
            "projection_head.layers.0.weight": torch.randn(4, 4),
        },
        "backbone.",
    ),
    "lightly's benchmarks": (
        lambda model, late: {
            "epoch": 3,
            "state_dict": {
                **named(late.state_dict(), "teacher_backbone."),
                **named(model.state_dict(), "student_backbone."),
                "online_classifier.weight": torch.randn(4, 4),
            },
        },
        "state_dict.student_backbone.",
    ),
    "solo-learn": (
        lambda model, late: {
            "hyper_parameters": {"method": "byol"},
            "optimizer_states": [{"state": {0: {"exp_avg": torch.randn(3)}}}],
            "state_dict": {
                **named(late.state_dict(), "momentum_backbone."),
                **named(model.state_dict(), "backbone."),
                "classifier.weight": torch.randn(4, 4),
                "momentum_projector.0.weight": torch.randn(4, 4),
                "projector.0.weight": torch.randn(4, 4),
            },
        },
        "state_dict.backbone.",
    ),
    "solo-learn, old": (
        lambda model, late: {"state_dict": named(model.state_dict(), "encoder.")},
        "state_dict.encoder.",
    ),
    "MoCo": (
        lambda model, late: {
            "arch": "resnet18",
            "state_dict": {
                **named(late.state_dict(), "module.encoder_k."),
                **named(model.state_dict(), "module.encoder_q."),
                "module.queue": torch.randn(4, 4),
            },
        },
        "state_dict.module.encoder_q.",
    ),
    "MoCo v3": (
        lambda model, late: {
            "state_dict": {
                **named(late.state_dict(), "module.momentum_encoder."),
                **named(model.state_dict(), "module.base_encoder."),
            }
        },
        "state_dict.module.base_encoder.",
    ),
    "DINO": (
        lambda model, late: {
            "teacher": named(late.state_dict(), "backbone."),
            "student": named(model.state_dict(), "module.backbone."),
        },
        "student.module.backbone.",
    ),
    "a teacher alone": (lambda model, late: {"teacher": named(model.state_dict(), "backbone.")}, "teacher.backbone."),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_loaded_encoder_gives_the_features_of_the_other_network(layout: str, tmp_path: Path) -> None:
    write, prefix = LAYOUTS[layout]
    model, encoder = other(), tiny()
    report = load_weights(encoder, saved(write(model, other(seed=1)), tmp_path / "weights.pth"))
    assert report.prefix == prefix
    assert (report.missing, report.left_over, report.reshaped) == ((), (), ())
    assert report.tensors == len(encoder.state_dict())
    assert report.parameters == report.of == sum(p.numel() for p in encoder.parameters())
    x = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x), features(model, x), rtol=1e-4, atol=1e-4)


def test_what_belongs_to_no_encoder_is_counted(tmp_path: Path) -> None:
    content = LAYOUTS["solo-learn"][0](other(), other())
    report = load_weights(tiny(), saved(content, tmp_path / "last.ckpt"))
    size = len(other().state_dict())
    parts = {"momentum_backbone": size, "classifier": 1, "momentum_projector": 1, "projector": 1, "fc": 2}
    assert report.ignored == parts
    assert "no part of the encoder: momentum_backbone" in report.text()
    assert report.line().endswith("all fitted")


def test_a_prefix_can_be_chosen(tmp_path: Path) -> None:
    path = saved(LAYOUTS["DINO"][0](other(), other(seed=1)), tmp_path / "dino.pth")
    encoder = tiny()
    assert load_weights(encoder, path, prefix="teacher.backbone.").prefix == "teacher.backbone."
    assert torch.equal(encoder.model.conv1.weight, other(seed=1).conv1.weight)
    with pytest.raises(RunError, match="must fit at least half"):
        load_weights(encoder, path, prefix="techer.")


def test_lightlys_own_resnet_fits_the_small_stem(tmp_path: Path) -> None:
    from lightly.models import ResNetGenerator

    torch.manual_seed(0)
    model = ResNetGenerator("resnet-9").eval()
    state = named(children(model).state_dict(), "state_dict.backbone.")
    encoder = tiny(size=32)
    report = load_weights(encoder, saved(state, tmp_path / "lightly.ckpt"))
    assert (report.missing, report.left_over, report.reshaped) == ((), (), ())
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        maps = F.relu(model.bn1(model.conv1(x)))
        for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
            maps = stage(maps)
        torch.testing.assert_close(encoder(x), maps.mean(dim=(2, 3)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["small", "resnet10t", "vit_tiny_patch16_224"])
def test_a_run_and_its_file_load_again(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder, spec = build(name, image_size=32)
    save_encoder(tmp_path, encoder, spec)
    for path in (tmp_path, tmp_path / "encoder.safetensors"):
        torch.manual_seed(1)
        fresh, _ = build(name, image_size=32)
        report = load_weights(fresh, path)
        assert report.parameters == report.of
        assert all(
            torch.equal(a, b) for a, b in zip(fresh.state_dict().values(), encoder.state_dict().values(), strict=True)
        )


def test_another_stem_and_a_renamed_block_are_reported_and_left_as_they_were(tmp_path: Path) -> None:
    state = {name.replace("layer4.0.bn2", "layer4.0.norm2"): tensor for name, tensor in other().state_dict().items()}
    encoder = tiny(size=32)
    stem, norm = encoder.model.conv1.weight.clone(), encoder.model.layer4[0].bn2.weight.clone()
    report = load_weights(encoder, saved(state, tmp_path / "weights.pt"))
    assert [item.name for item in report.reshaped] == ["conv1.weight"]
    assert report.reshaped[0][1:] == ((64, 3, 3, 3), (64, 3, 7, 7))
    changed = ("weight", "bias", "running_mean", "running_var")
    assert report.missing == tuple(f"layer4.0.bn2.{name}" for name in changed)
    assert set(report.left_over) == {f"layer4.0.norm2.{name}" for name in (*changed, "num_batches_tracked")}
    assert report.parameters == report.of - stem.numel() - 2 * norm.numel()
    assert torch.equal(encoder.model.conv1.weight, stem)
    assert torch.equal(encoder.model.layer4[0].bn2.weight, norm)
    assert torch.equal(encoder.model.layer1[0].conv1.weight, other().layer1[0].conv1.weight)
    text = report.text()
    assert "4 missing, 5 left over, 1 of another shape" in text.splitlines()[0]
    assert "missing, kept as built: layer4.0.bn2.weight (nearest: layer4.0.norm2.weight)" in text
    assert "conv1.weight: encoder (64, 3, 3, 3), file (64, 3, 7, 7)" in text


def test_long_lists_are_cut() -> None:
    from nearfar.encoders import LoadReport

    names = tuple(f"block{number}" for number in range(30))
    text = LoadReport("w", "", 1, 1, 1, names, (), (), {}).text()
    assert text.count("\n") == 11
    assert text.endswith("and 20 more")


def test_half_precision_is_converted(tmp_path: Path) -> None:
    state = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in other().state_dict().items()
    }
    encoder = tiny()
    load_weights(encoder, saved(state, tmp_path / "half.pth"))
    assert encoder.model.conv1.weight.dtype == torch.float32
    assert torch.equal(encoder.model.conv1.weight, other().conv1.weight.half().float())


def refuse(path: Path, message: str) -> str:
    encoder = tiny(size=32)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    with pytest.raises(RunError, match=message) as caught:
        load_weights(encoder, path)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    return str(caught.value)


def test_weights_of_another_encoder_are_one_error(tmp_path: Path) -> None:
    encoder, spec = build("small", image_size=8)
    save_encoder(tmp_path, encoder, spec)
    said = refuse(tmp_path, "weights must fit at least half of the encoder's 4.90 M parameters, got 0: the encoder has")
    assert "layers.0.weight (32, 3, 3, 3)" in said
    assert "conv1.weight (64, 3, 3, 3)" in said


def test_less_than_half_of_the_weights_is_one_error(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in other().state_dict().items() if not name.startswith("layer4")}
    assert "got 1.2" in refuse(saved(state, tmp_path / "part.pth"), "must fit at least half")


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = other().state_dict()
    state["layer4.0.conv1.weight"][0, 0, 0, 0] = float("nan")
    refuse(saved(state, tmp_path / "nan.pth"), "weights must be finite, got NaN or infinite ones")


class Trap:
    """Something that a pickle would make by running code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("trapped").touch, ())


def test_objects_are_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"state_dict": other().state_dict(), "hyper_parameters": Trap()}
    said = refuse(saved(content, tmp_path / "trap.pth"), "content must be tensors and plain values, got objects")
    assert "torch.save(checkpoint['state_dict']" in said
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.pth", None, "weights must be an existing file or run folder, got none"),
        ("weights.h5", b"x", r"ending must be one of \.safetensors, \.npz, .*, got '\.h5'"),
        ("empty.pth", b"", "cannot be read as weights|must be tensors and plain values"),
        ("text.pth", b"hello, this is text", "cannot be read as weights|must be tensors and plain values"),
        ("cut.safetensors", b"\x10\x00\x00", "cannot be read as weights"),
        ("text.npz", b"hello", "cannot be read as weights"),
    ],
)
def test_what_cannot_be_read_is_one_error(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    refuse(tmp_path / name, message)


def test_folders_and_files_without_weights_are_one_error(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    refuse(tmp_path / "folder", "a folder with encoder.safetensors or model.safetensors, got neither")
    refuse(saved([1, 2], tmp_path / "list.pth"), "content must be named tensors, got none")
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    refuse(tmp_path / "objects.npz", "cannot be read as weights")


# Google's SimCLR


def google(model: ResNet) -> dict[str, NDArray[Any]]:
    """The variables of a TensorFlow checkpoint, numbered as Google's resnet.py makes them, in no order, with others."""
    pairs = [(model.conv1, model.bn1)]
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        for block in stage:
            if block.downsample is not None:
                pairs.append((block.downsample[0], block.downsample[1]))
            pairs += [(block.conv1, block.bn1), (block.conv2, block.bn2)]
            if isinstance(block, Bottleneck):
                pairs.append((block.conv3, block.bn3))
    variables: dict[str, NDArray[Any]] = {"global_step": np.array(7)}
    for number, (conv, norm) in enumerate(pairs):
        end = f"_{number}" if number else ""
        kernel = conv.weight.detach().numpy().transpose(2, 3, 1, 0)
        values = {
            f"conv2d{end}/kernel": kernel,
            f"batch_normalization{end}/gamma": norm.weight.detach().numpy(),
            f"batch_normalization{end}/beta": norm.bias.detach().numpy(),
            f"batch_normalization{end}/moving_mean": norm.running_mean.numpy(),
            f"batch_normalization{end}/moving_variance": norm.running_var.numpy(),
        }
        for name, value in values.items():
            variables[f"base_model/{name}"] = value
            variables[f"base_model/{name}/Momentum"] = value + 1
            variables[f"ema_model/base_model/{name}"] = value + 2
    variables["head_contrastive/nl_0/dense/kernel"] = np.ones((4, 4))
    variables["head_supervised/linear_layer/dense/bias"] = np.ones(4)
    order = np.random.default_rng(0).permutation(len(variables))
    names = list(variables)
    return {names[place]: variables[names[place]] for place in order}


def statistics(model: ResNet) -> ResNet:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.1, 1)
            nn.init.normal_(module.bias)
    return model.eval()


def test_googles_checkpoint_gives_the_same_features(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = statistics(ResNet(Bottleneck, [2, 1, 2, 1], num_classes=5))
    np.savez(tmp_path / "simclr.npz", **google(model))
    encoder = build("resnet50", image_size=96, options={"layers": (2, 1, 2, 1)})[0].eval()
    report = load_weights(encoder, tmp_path / "simclr.npz")
    assert report.parameters == report.of
    assert (report.missing, report.left_over, report.reshaped) == ((), (), ())
    assert set(report.ignored) == {"head_contrastive", "head_supervised", "ema_model"}
    x = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        expected = features(model, x)
        torch.testing.assert_close(encoder(x), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_googles_resnet18_leaves_a_projection_over(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = statistics(ResNet(BasicBlock, [2, 1, 1, 1]))
    model.layer1[0].downsample = nn.Sequential(nn.Conv2d(64, 64, 1, bias=False), nn.BatchNorm2d(64))
    np.savez(tmp_path / "cifar.npz", **google(model))
    encoder = build("resnet18", image_size=96, options={"layers": (2, 1, 1, 1)})[0]
    report = load_weights(encoder, tmp_path / "cifar.npz")
    assert (report.missing, report.reshaped) == ((), ())
    assert {name.rpartition(".")[0] for name in report.left_over} == {"layer1.0.downsample.0", "layer1.0.downsample.1"}
    for name in ("layer1.1.conv2", "layer2.0.downsample.0", "layer4.0.conv1"):
        assert torch.equal(encoder.model.get_submodule(name).weight, model.get_submodule(name).weight), name


def test_a_checkpoint_that_is_no_resnet_is_refused(tmp_path: Path) -> None:
    variables = google(ResNet(Bottleneck, [1, 1, 1, 1]))
    variables["base_model/conv2d_3/kernel"] = np.ones((5, 5, 64, 64))
    np.savez(tmp_path / "odd.npz", **variables)
    refuse(tmp_path / "odd.npz", r"sides of the kernels must be blocks of")
    del variables["base_model/batch_normalization_3/gamma"]
    np.savez(tmp_path / "part.npz", **variables)
    refuse(tmp_path / "part.npz", "each BatchNorm must be beta, gamma, moving_mean, moving_variance")
