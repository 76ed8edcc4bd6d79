from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from nearfar.encoders import ENCODERS, EncoderSpec, build, fingerprint, load_encoder, names, save_encoder
from nearfar.encoders.build import check_name, describe
from nearfar.errors import ConfigError, InputError, RunError
from nearfar.methods import METHODS
from nearfar.recipes import RECIPES
from nearfar.registry import Registry


@pytest.mark.parametrize(("size", "sides"), [(8, [8, 4, 4, 4]), (32, [32, 16, 8, 4]), (96, [96, 48, 24, 12])])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_small_encoder_fits_any_size_and_channels(size: int, sides: list[int], channels: int) -> None:
    encoder, spec = build("small", in_channels=channels, image_size=size, options={"width": 4})
    x = torch.randn(2, channels, size, size)
    assert encoder(x).shape == (2, 32)
    assert (spec.dim, spec.stem, spec.options) == (32, "small", {"width": 4})
    found = []
    for layer in encoder.layers:  # type: ignore[union-attr]
        x = layer(x)
        if isinstance(layer, nn.Conv2d):
            found.append(x.shape[-1])
    assert found == sides


def test_options_that_were_left_out_are_written_out() -> None:
    assert build("small")[1].options == {"width": 32}


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize(("size", "stem", "side"), [(32, "small", 32), (96, "standard", 24)])
def test_a_timm_resnet_gets_the_stem_that_fits(size: int, stem: str, side: int, channels: int) -> None:
    encoder, spec = build("resnet18", in_channels=channels, image_size=size)
    model = encoder.model
    assert (spec.stem, spec.dim, spec.in_channels) == (stem, 512, channels)
    assert model.conv1.kernel_size == ((3, 3) if stem == "small" else (7, 7))
    assert isinstance(model.maxpool, nn.Identity) == (stem == "small")
    x = torch.randn(1, channels, size, size)
    encoder.eval()
    assert encoder(x).shape == (1, 512)
    first = model.maxpool(model.act1(model.bn1(model.conv1(x))))  # type: ignore[operator, union-attr]
    assert first.shape[-1] == side
    line = describe(spec, encoder)
    assert ("3x3 stem without max-pool" in line) == (stem == "small")
    assert f"{channels} x {size}x{size}" in line


def test_a_timm_model_survives_saving(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder, spec = build("resnet10t", in_channels=1, image_size=32, options={"drop_path_rate": 0.1})
    with torch.no_grad():
        encoder.train()(torch.randn(4, 1, 32, 32))
    save_encoder(tmp_path, encoder, spec, {"method": "simclr"})
    loaded, again = load_encoder(str(tmp_path))
    assert again == spec
    assert fingerprint(loaded) == fingerprint(encoder)
    assert not loaded.training
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(x), encoder.eval()(x))


def test_models_of_one_size_are_built_for_the_images() -> None:
    encoder, spec = build("vit_tiny_patch16_224", in_channels=3, image_size=32)
    assert encoder(torch.randn(1, 3, 32, 32)).shape == (1, spec.dim)


def test_an_encoder_returns_float32_under_autocast() -> None:
    encoder, _ = build("small", image_size=8, options={"width": 4})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert encoder(torch.randn(2, 3, 8, 8)).dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: build("resnet81"),
            "encoder: must be small, simclr_resnet or a timm model, got 'resnet81'; did you mean 'resnet",
        ),
        (lambda: check_name("smal"), "did you mean 'small'?"),
        (lambda: build("small", options={"witdh": 3}), "encoder small: unknown setting 'witdh'; did you mean 'width'?"),
        (lambda: build("small", options={"width": "x"}), "encoder small: width must be a valid integer"),
        (lambda: build("small", options={"width": 0}), "SmallConvNet: width must be >= 1, got 0"),
        (lambda: build("small", in_channels=0), "encoder: in_channels must be >= 1, got 0"),
        (lambda: build("resnet10t", options={"nonsense": 1}), "timm refuses it for 3 channels of 224 px"),
    ],
)
def test_a_wrong_encoder_is_one_sentence(call: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        call()  # type: ignore[operator]
    assert message in str(caught.value)


def test_names_are_ours_then_timms() -> None:
    assert names()[0] == "small"
    assert names("r152_*") == ["r152_1x_sk0", "r152_1x_sk1", "r152_2x_sk0", "r152_2x_sk1", "r152_3x_sk1"]
    assert "resnet18" in names("resnet1*")
    assert names("sm*")[0] == "small"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    encoder, spec = build("small", in_channels=1, image_size=8, options={"width": 4})
    save_encoder(tmp_path, encoder, spec)
    return tmp_path


def test_the_fingerprint_changes_with_any_weight_and_buffer() -> None:
    encoder, _ = build("small", in_channels=1, image_size=8, options={"width": 4})
    seen = {fingerprint(encoder)}
    with torch.no_grad():
        for tensor in encoder.state_dict().values():
            tensor.add_(1)
            seen.add(fingerprint(encoder))
    assert len(seen) == 1 + len(encoder.state_dict())


def test_tampered_weights_are_refused(saved: Path) -> None:
    path = saved / "encoder.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x40
    path.write_bytes(bytes(content))
    with pytest.raises(RunError, match=r"fingerprint must be the one in encoder\.json"):
        load_encoder(saved)


@pytest.mark.parametrize("damage", ["truncated", "empty", "missing", "another"])
def test_damaged_weights_are_one_sentence(damage: str, saved: Path, tmp_path: Path) -> None:
    path = saved / "encoder.safetensors"
    if damage == "missing":
        path.unlink()
    elif damage == "another":
        other = tmp_path / "other"
        other.mkdir()
        save_encoder(other, *build("small", in_channels=1, image_size=8, options={"width": 5}))
        path.write_bytes((other / "encoder.safetensors").read_bytes())
    else:
        path.write_bytes(path.read_bytes()[:200] if damage == "truncated" else b"")
    with pytest.raises(RunError, match=r"encoder\.safetensors: cannot be loaded into encoder 'small'") as caught:
        load_encoder(saved)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"format": 1', '"format": 2', r"format must be <= 1, got 2 \(written by nearfar .*\); install a newer"),
        ('"format": 1', '"format": "x"', "content must be an encoder's description"),
        ('"name": "small"', '"name": "smal"', "did you mean 'small'"),
        ('"dim"', '"din"', "its specification cannot be used: .* did you mean 'dim'"),
        ("{", "", "cannot be read"),
        ('"spec"', '"speck"', "its specification cannot be used"),
    ],
)
def test_a_wrong_description_is_one_sentence(before: str, after: str, message: str, saved: Path) -> None:
    path = saved / "encoder.json"
    path.write_text(path.read_text().replace(before, after, 1))
    with pytest.raises((RunError, ConfigError), match=message) as caught:
        load_encoder(saved)
    assert "\n" not in str(caught.value)


def test_a_folder_without_an_encoder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no encoder \(encoder.json is missing\); give a finished run"):
        load_encoder(tmp_path)


def test_a_specification_has_defaults_that_fit_every_image() -> None:
    spec = EncoderSpec(name="small", dim=1, in_channels=7, image_size=8)
    assert (spec.mean, spec.std, spec.modality) == ((0.5,), (0.25,), "image")


def test_the_registries_hold_what_they_name() -> None:
    for registry in (ENCODERS, METHODS, RECIPES):
        for name in registry.builtin:
            assert callable(registry.get(name))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install a tiny package of somebody else's."""
    info = tmp_path / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[nearfar.methods]\npull = others:Pull\nbroken = others:Nothing\nsimclr = others:Pull\n"
        "[nearfar.recipes]\nothers/quick = others:quick\n"
        "[nearfar.encoders]\nflat = others:Flat\n"
    )
    (tmp_path / "others.py").write_text(
        "import torch\n"
        "from nearfar.encoders import Encoder\n"
        "from nearfar.methods import Info, Method, Step\n"
        "from nearfar.pipeline.settings import PretrainConfig\n"
        "class Pull(Method):\n"
        "    info = Info('pulls', 'none', 'https://example.org')\n"
        "    def __init__(self, encoder, *, strength: float = 1.0):\n"
        "        super().__init__()\n"
        "        self.encoder, self.strength = encoder, strength\n"
        "    def step(self, batch):\n"
        "        a, b = (self.encoder(view) for view in batch.views)\n"
        "        return Step((a - b).square().mean() * self.strength, a.detach())\n"
        "class Flat(Encoder):\n"
        "    def __init__(self, *, in_channels: int = 3, image_size: int = 8, dim: int = 6):\n"
        "        super().__init__()\n"
        "        self.dim = dim\n"
        "        self.linear = torch.nn.Linear(in_channels * image_size**2, dim)\n"
        "    def forward(self, x):\n"
        "        return self.linear(x.flatten(1))\n"
        "def quick():\n"
        "    return PretrainConfig(method='pull', method_options={'strength': 0.5}, encoder='flat', epochs=1)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for registry in (METHODS, RECIPES, ENCODERS):
        monkeypatch.delitem(registry.__dict__, "_external", raising=False)
    yield tmp_path
    sys.modules.pop("others", None)
    for registry in (METHODS, RECIPES, ENCODERS):
        registry.__dict__.pop("_external", None)


OTHERWISE = ("simcse", "clip", "ts2vec", "siamese", "triplet", "metric")
"""Methods of texts, captions and series, and metric learning, whose papers set up neither ImageNet nor CIFAR."""


@pytest.mark.parametrize("method", [name for name in METHODS.builtin if name not in OTHERWISE])
def test_a_method_of_images_has_three_recipes(method: str) -> None:
    assert {f"{method}/{kind}" for kind in ("imagenet", "cifar", "small")} <= set(RECIPES.builtin)
    for kind in ("imagenet", "cifar"):
        recipe = RECIPES.get(f"{method}/{kind}")
        assert recipe().method == method
        assert "ublished" in (recipe.__doc__ or "")


def test_another_package_adds_methods_encoders_and_recipes(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    from nearfar.training.run import Run
    from tests.cli.call import call
    from tests.samples import pictures

    assert METHODS.names()[-2:] == ["broken", "pull"]
    assert METHODS.get("simclr").__module__ == "nearfar.methods.simclr"
    with pytest.raises(RunError, match=r"method broken: must be importable from 'others:Nothing', got .*; mend or rem"):
        METHODS.get("broken")
    listed = call(capsys, "methods")
    assert "\npull " in listed.out
    assert "method broken: must be importable" in listed.err
    told = call(capsys, "methods", "pull").out
    assert "strength = 1.0" in told
    assert "Recipe others/quick" in told
    np.save(package / "data.npy", pictures(32)[0])
    out = package / "run"
    small = ("--batch-size", "16", "--threads", "1")
    done = call(capsys, "pretrain", package / "data.npy", "--out", out, "--recipe", "others/quick", *small)
    assert done.code == 0, done.err
    values = Run(out).config()
    assert (values["method"], values["method_options"]) == ("pull", {"strength": 0.5})
    assert values["encoder_options"] == {"dim": 6}
    assert load_encoder(out)[1].name == "flat"


def test_a_registry_offers_the_nearest_name() -> None:
    registry: Registry[object] = Registry("thing", group="nearfar.things", builtin={"alpha": "nearfar.errors:require"})
    with pytest.raises(ConfigError, match=r"thing: name must be a known thing, got 'alpa'; did you mean 'alpha'\?"):
        registry.get("alpa")
    assert "alpha" in registry
    assert registry.get("alpha").__name__ == "require"  # type: ignore[attr-defined]
