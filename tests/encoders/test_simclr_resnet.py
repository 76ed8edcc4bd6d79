from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nearfar.encoders import ENCODERS, build, freeze_stages, load_encoder, load_weights, save_encoder
from nearfar.encoders.simclr_resnet import SelectiveKernels, SimCLRResNet
from nearfar.errors import InputError, RunError

# millions of parameters in SimCLRv2's table 1 (README of google-research/simclr)
PUBLISHED = {
    "r50_1x_sk0": 24, "r50_1x_sk1": 35, "r50_2x_sk0": 94, "r50_2x_sk1": 140, "r101_1x_sk0": 43, "r101_1x_sk1": 65,
    "r101_2x_sk0": 170, "r101_2x_sk1": 257, "r152_1x_sk0": 58, "r152_1x_sk1": 89, "r152_2x_sk0": 233,
    "r152_2x_sk1": 354, "r152_3x_sk1": 795,
}  # fmt: skip


def tiny(*, selective: bool, image_size: int = 96, in_channels: int = 3) -> SimCLRResNet:
    encoder = SimCLRResNet(
        in_channels=in_channels,
        image_size=image_size,
        layers=(2, 1, 1, 1),
        selective_kernels=selective,
    )
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.2, 1)
            nn.init.normal_(module.bias, 0, 0.2)
    return encoder.eval()


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_the_parameters_are_the_published_ones(name: str) -> None:
    with torch.device("meta"):
        encoder, spec = build(name)
    # Google counts the variables of a checkpoint, BatchNorm's running statistics among them
    count = sum(tensor.numel() for key, tensor in encoder.state_dict().items() if not key.endswith("tracked"))
    assert round(count / 1e6) == PUBLISHED[name]
    assert spec.dim == encoder.dim == 2048 * int(name.split("_")[1][0])
    assert spec.stem == "standard"


def test_the_parameters_of_v1s_widest_are_the_published_ones() -> None:
    with torch.device("meta"):
        encoder, _ = build("r50_4x_sk0")
    assert round(sum(parameter.numel() for parameter in encoder.parameters()) / 1e6) == 375  # v1 leaves statistics out


def test_all_published_names_are_known() -> None:
    assert set(PUBLISHED) <= set(ENCODERS.names())


@pytest.mark.parametrize("selective", [False, True])
@pytest.mark.parametrize(
    ("size", "sides"), [(96, [48, 24, 12, 6, 3]), (100, [50, 25, 13, 7, 4]), (32, [32, 32, 16, 8, 4])]
)
def test_shapes_of_maps(selective: bool, size: int, sides: list[int]) -> None:
    encoder = tiny(selective=selective, image_size=size, in_channels=2)
    x = torch.randn(2, 2, size, size)
    with torch.no_grad():
        maps, h = encoder.feature_maps(x), encoder(x)
    assert [tuple(m.shape) for m in maps] == [
        (2, channels, side, side) for channels, side in zip([64, 256, 512, 1024, 2048], sides, strict=True)
    ]
    torch.testing.assert_close(h, maps[-1].mean(dim=(2, 3)))
    assert encoder.stem == ("small" if size == 32 else "standard")


def pad(x: NDArray[Any], before: int, after: int, value: float = 0.0) -> NDArray[Any]:
    return np.pad(x, ((0, 0), (before, after), (before, after)), constant_values=value)


def conv(x: NDArray[Any], weight: Tensor, stride: int) -> NDArray[Any]:
    """One picture (C, H, W), padded by the side of the kernel alone, in float64 and by loops."""
    w = weight.double().numpy()
    side = w.shape[-1]
    x = pad(x, (side - 1) // 2, side // 2)
    steps = range(0, x.shape[1] - side + 1, stride)
    out = np.zeros((len(w), len(steps), len(steps)))
    for i, top in enumerate(steps):
        for j, left in enumerate(steps):
            out[:, i, j] = np.tensordot(w, x[:, top : top + side, left : left + side], 3)
    return out


def norm(x: NDArray[Any], bn: Any) -> NDArray[Any]:
    scale = (bn.weight / torch.sqrt(bn.running_var + bn.eps)).detach().double().numpy()
    shift = bn.bias.detach().double().numpy() - bn.running_mean.double().numpy() * scale
    return x * scale[:, None, None] + shift[:, None, None]


def relu(x: NDArray[Any]) -> NDArray[Any]:
    return np.maximum(x, 0)


def slow_kernels(x: NDArray[Any], unit: SelectiveKernels, stride: int) -> NDArray[Any]:
    both = relu(norm(conv(x, unit.conv.weight.detach(), stride), unit.bn))
    half = len(both) // 2
    streams = [both[:half], both[half:]]
    pooled = np.array([(streams[0][c] + streams[1][c]).mean() for c in range(half)])[:, None, None]
    mixed = conv(
        relu(norm(conv(pooled, unit.reduce.weight.detach(), 1), unit.reduce_bn)), unit.select.weight.detach(), 1
    )
    out = np.zeros_like(streams[0])
    for c in range(half):
        weights = np.exp([mixed[c, 0, 0], mixed[half + c, 0, 0]])
        weights /= weights.sum()
        out[c] = weights[0] * streams[0][c] + weights[1] * streams[1][c]
    return out


def mean_pool(x: NDArray[Any], stride: int) -> NDArray[Any]:
    """With stride 2 over zeros behind, with stride 1 over what lies inside."""
    side = x.shape[1]
    count = -(-side // stride)
    out = np.zeros((len(x), count, count))
    for i in range(count):
        for j in range(count):
            window = x[:, i * stride : i * stride + 2, j * stride : j * stride + 2]
            out[:, i, j] = window.sum(axis=(1, 2)) / (4 if stride == 2 else window.shape[1] * window.shape[2])
    return out


def max_pool(x: NDArray[Any]) -> NDArray[Any]:
    """TensorFlow's SAME of side 3 and stride 2."""
    side = x.shape[1]
    count = -(-side // 2)
    total = max((count - 1) * 2 + 3 - side, 0)
    x = pad(x, total // 2, total - total // 2, -np.inf)
    return np.array(
        [[x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max(axis=(1, 2)) for j in range(count)] for i in range(count)]
    ).transpose(2, 0, 1)


def slow_encoder(x: NDArray[Any], encoder: Any) -> NDArray[Any]:
    """Google's network, step by step."""
    if encoder.selective_kernels:
        first, bn1, _, second, bn2, _, third = encoder.conv1
        x = relu(norm(conv(x, first.weight.detach(), 2), bn1))
        x = relu(norm(conv(x, second.weight.detach(), 1), bn2))
        x = conv(x, third.weight.detach(), 1)
    else:
        x = conv(x, encoder.conv1.weight.detach(), 2)
    x = max_pool(relu(norm(x, encoder.bn1)))
    for number in range(1, 5):
        for place, block in enumerate(getattr(encoder, f"layer{number}")):
            stride = 2 if number > 1 and place == 0 else 1
            h = relu(norm(conv(x, block.conv1.weight.detach(), 1), block.bn1))
            if encoder.selective_kernels:
                h = slow_kernels(h, block.conv2, stride)
            else:
                h = relu(norm(conv(h, block.conv2.weight.detach(), stride), block.bn2))
            h = norm(conv(h, block.conv3.weight.detach(), 1), block.bn3)
            if place == 0:
                kernel, bn = block.downsample
                if encoder.selective_kernels:
                    x = norm(conv(mean_pool(x, stride), kernel.weight.detach(), 1), bn)
                else:
                    x = norm(conv(x, kernel.weight.detach(), stride), bn)
            x = relu(h + x)
    return x.mean(axis=(1, 2))


@pytest.mark.parametrize("stride", [1, 2])
def test_selective_kernels_agree_with_the_slow_loop(stride: int) -> None:
    torch.manual_seed(0)
    unit = SelectiveKernels(6, 40, stride).eval()
    for bn in (unit.bn, unit.reduce_bn):
        bn.running_mean.normal_(0, 0.1)
        bn.running_var.uniform_(0.5, 2)
        nn.init.normal_(bn.bias, 0, 0.5)
    nn.init.normal_(unit.select.weight, 0, 2)  # far from an even mix
    x = torch.randn(2, 6, 7, 7)
    with torch.no_grad():
        found = unit(x)
    for row in range(2):
        expected = slow_kernels(x[row].double().numpy(), unit, stride)
        np.testing.assert_allclose(found[row], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("selective", [False, True])
@pytest.mark.parametrize("size", [65, 68])
def test_the_whole_encoder_agrees_with_the_slow_loop(selective: bool, size: int) -> None:
    torch.manual_seed(1)
    encoder = tiny(selective=selective, image_size=size)
    x = torch.randn(1, 3, size, size)
    with torch.no_grad():
        found = encoder(x)[0]
    expected = slow_encoder(x[0].double().numpy(), encoder)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * float(np.abs(expected).max()))


def test_the_first_weights_are_tensorflows() -> None:
    torch.manual_seed(0)
    encoder = SimCLRResNet(image_size=32, layers=(1, 1, 1, 1), selective_kernels=True)
    block = encoder.layer2[0]
    weight = block.conv3.weight.detach()
    assert float(weight.std()) == pytest.approx(128**-0.5, rel=0.02)  # 1 / sqrt(fan in)
    assert float(weight.abs().max()) <= 2 * 128**-0.5 / 0.8796 + 1e-6
    assert not block.bn3.weight.detach().any()  # every block begins as its shortcut


def test_it_trains_freezes_and_survives_saving(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder, spec = build("simclr_resnet", image_size=32, options={"layers": (1, 1, 1, 1), "selective_kernels": True})
    assert spec.options == {"depth": 50, "width": 1, "selective_kernels": True, "layers": (1, 1, 1, 1)}
    freeze_stages(encoder, 1)
    encoder.train()
    encoder(torch.randn(4, 3, 32, 32)).square().mean().backward()
    graded = {name.partition(".")[0] for name, p in encoder.named_parameters() if p.grad is not None}
    assert graded == {"layer2", "layer3", "layer4"}
    save_encoder(tmp_path, encoder, spec)
    again, _ = load_encoder(tmp_path)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(again(x), encoder.eval()(x))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"depth": 18}, "depth must be 50, 101 or 152, got 18"),
        ({"width": 0}, "width must be >= 1, got 0"),
        ({"layers": (1, 1)}, "layers must be four numbers >= 1"),
    ],
)
def test_bad_settings_are_one_sentence(change: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        SimCLRResNet(**change)


# Google's checkpoints


def variables_of(encoder: Any) -> dict[str, NDArray[Any]]:
    """The variables of a checkpoint of v2, numbered as Google's resnet.py makes them, with a moving average."""
    units: list[tuple[Any, Any]] = []
    if isinstance(encoder.conv1, nn.Sequential):
        units += [(encoder.conv1[0], encoder.conv1[1]), (encoder.conv1[3], encoder.conv1[4])]
        units.append((encoder.conv1[6], encoder.bn1))
    else:
        units.append((encoder.conv1, encoder.bn1))
    for number in range(1, 5):
        for block in getattr(encoder, f"layer{number}"):
            if block.downsample is not None:
                units.append((block.downsample[0], block.downsample[1]))
            units.append((block.conv1, block.bn1))
            if encoder.selective_kernels:
                sk = block.conv2
                units += [(sk.conv, sk.bn), (sk.reduce, sk.reduce_bn), (sk.select, None)]
            else:
                units.append((block.conv2, block.bn2))
            units.append((block.conv3, block.bn3))
    found: dict[str, NDArray[Any]] = {"global_step": np.array(7)}
    norms = 0
    for number, (kernel, bn) in enumerate(units):
        values = {
            f"conv2d{f'_{number}' if number else ''}/kernel": kernel.weight.detach().numpy().transpose(2, 3, 1, 0)
        }
        if bn is not None:
            name = f"batch_normalization{f'_{norms}' if norms else ''}"
            norms += 1
            values |= {
                f"{name}/gamma": bn.weight.detach().numpy(),
                f"{name}/beta": bn.bias.detach().numpy(),
                f"{name}/moving_mean": bn.running_mean.numpy(),
                f"{name}/moving_variance": bn.running_var.numpy(),
            }
        for name, value in values.items():
            found[f"base_model/{name}"] = value
            found[f"base_model/{name}/Momentum"] = value + 1
            found[f"ema_model/base_model/{name}"] = value * 2
    for layer in range(3):
        found[f"head_contrastive/nl_{layer}/dense/kernel"] = np.ones((4, 4), dtype=np.float32)
        found[f"head_contrastive/nl_{layer}/batch_normalization/gamma"] = np.ones(4, dtype=np.float32)
    return found


def shuffled(variables: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    names = list(variables)
    return {names[place]: variables[names[place]] for place in np.random.default_rng(0).permutation(len(names))}


@pytest.mark.parametrize(("selective", "size"), [(False, 96), (True, 96), (True, 32)])
def test_googles_checkpoints_are_read(selective: bool, size: int, tmp_path: Path) -> None:
    torch.manual_seed(2)
    theirs = tiny(selective=selective, image_size=size)
    np.savez(tmp_path / "simclr.npz", **shuffled(variables_of(theirs)))
    ours = SimCLRResNet(image_size=size, layers=(2, 1, 1, 1), selective_kernels=selective).eval()
    report = load_weights(ours, tmp_path / "simclr.npz")
    assert report.parameters == report.of
    assert (report.missing, report.left_over, report.reshaped) == ((), (), ())
    assert set(report.ignored) == {"head_contrastive", "ema_model"}
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))
    report = load_weights(ours, tmp_path / "simclr.npz", prefix="ema_model.")
    assert report.parameters == report.of
    torch.testing.assert_close(ours.bn1.weight, 2 * theirs.bn1.weight)


def test_squeeze_and_excitation_is_refused(tmp_path: Path) -> None:
    encoder = tiny(selective=True, image_size=32)
    variables = variables_of(encoder)
    del_norm = [name for name in variables if "batch_normalization_2/" in name and name.startswith("base_model")]
    for name in del_norm:
        del variables[name]
    np.savez(tmp_path / "odd.npz", **variables)
    with pytest.raises(RunError, match="variables must be 25 BatchNorms for 30 convolutions, got 24"):
        load_weights(encoder, tmp_path / "odd.npz")
