"""Encoders of sound: any length, no influence of the company, and those that others built."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nearfar.encoders.hub import read_config
from nearfar.encoders.sound import SoundConvNet
from nearfar.encoders.sound_models import TimmSound, TransformersSound, windows
from nearfar.errors import ConfigError, InputError, RunError

TINY = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "conv_dim": [8, 8],
    "conv_kernel": [10, 3], "conv_stride": [5, 2], "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


def mels(frames: list[int], width: int = 48, bands: int = 16) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    mel = torch.full((len(frames), 1, bands, width), -2.0)
    for row, count in enumerate(frames):
        mel[row, :, :, :count] = torch.randn(1, bands, count)
    return {"mel": mel, "frames": torch.tensor(frames)}


def test_the_small_net_takes_any_length_and_ignores_what_is_behind_a_sound() -> None:
    torch.manual_seed(0)
    net = SoundConvNet(mels=16, width=4).eval()
    x = mels([20, 48, 7])
    h = net(x)
    assert h.shape == (3, net.dim)
    assert h.dtype == torch.float32
    longer = {"mel": torch.nn.functional.pad(x["mel"], (0, 40), value=-2.0), "frames": x["frames"]}
    torch.testing.assert_close(net(longer), h)
    whole = {"mel": x["mel"], "frames": torch.tensor([48, 48, 48])}
    torch.testing.assert_close(net(x["mel"]), net(whole))
    assert not torch.allclose(net(whole)[0], h[0])


def test_pooling_is_mean_and_maximum_over_the_sounds_own_frames() -> None:
    torch.manual_seed(0)
    net = SoundConvNet(mels=16, width=4).eval()
    x = mels([20])
    maps = net.feature_map(x["mel"][..., :20])[0].flatten(0, 1)  # 20 frames at a quarter
    torch.testing.assert_close(net(x)[0], maps.mean(1) + maps.amax(1))


def test_every_parameter_of_the_small_net_learns() -> None:
    net = SoundConvNet(mels=16, width=4)
    net(mels([20, 48])).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    assert sorted(name for stage in net.stages() for name in stage) == sorted(n for n, _ in net.named_parameters())
    with pytest.raises(InputError, match="width must be >= 1"):
        SoundConvNet(width=0)
    with pytest.raises(ConfigError, match="form must be mel"):
        SoundConvNet(form="wave")


def test_windows_average_over_those_that_hold_some_of_the_sound() -> None:
    x = mels([5, 48, 17], bands=2)
    cut, weights = windows(x["mel"], x["frames"], 16)
    assert cut.shape == (9, 1, 2, 16)
    assert torch.equal(cut[4], x["mel"][1, :, :, 16:32])
    third = 1 / 3
    torch.testing.assert_close(weights, torch.tensor([[1, 0, 0], [third] * 3, [0.5, 0.5, 0]]))


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_timm_models_see_spectrograms_as_pictures(name: str) -> None:
    torch.manual_seed(0)
    config = {"embed_dim": 16, "depth": 1, "num_heads": 2, "patch_size": 8} if name.startswith("vit") else {}
    net = TimmSound(mels=32, frames=40, model=name, config=config).eval()
    x = mels([30, 80], width=80, bands=32)
    h = net(x)
    assert h.shape == (2, net.dim)
    halves = net({"mel": torch.cat([x["mel"][1:, ..., :40], x["mel"][1:, ..., 40:]]), "frames": torch.tensor([40, 40])})
    torch.testing.assert_close(h[1], halves.mean(0), atol=1e-5, rtol=1e-4)
    with pytest.raises(ConfigError, match="must be a timm model"):
        TimmSound(model="resnet17")


@pytest.mark.parametrize(("architecture", "norm"), [("wav2vec2", "group"), ("hubert", "layer")])
def test_wave_models_of_transformers_ignore_what_is_behind_a_sound(architecture: str, norm: str) -> None:
    torch.manual_seed(0)
    net = TransformersSound(architecture=architecture, config={**TINY, "feat_extract_norm": norm}).eval()
    wave = torch.randn(2, 2000)
    wave[0, 800:] = 0
    x = {"wave": wave, "samples": torch.tensor([800, 2000])}
    h = net(x)
    assert h.shape == (2, 16)
    louder = net({"wave": 3 * wave + 0.0, "samples": x["samples"]})
    torch.testing.assert_close(louder, h, atol=1e-4, rtol=1e-3)
    if norm == "layer":  # with group norm the published models look at the silence as well
        alone = net({"wave": wave[:1, :800], "samples": torch.tensor([800])})
        torch.testing.assert_close(h[:1], alone, atol=1e-4, rtol=1e-3)


def test_spectrogram_models_of_transformers() -> None:
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    net = TransformersSound(mels=32, frames=40, form="mel", architecture="audio-spectrogram-transformer", config=small)
    assert net.eval()(mels([30, 80], width=80, bands=32)).shape == (2, 16)
    whisper = {
        "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "vocab_size": 10,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "pad_token_id": 0,
        "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
    }  # fmt: skip
    net = TransformersSound(mels=32, frames=40, form="mel", architecture="whisper", config=whisper).eval()
    assert net(mels([30, 80], width=80, bands=32)).shape == (2, 16)
    with pytest.raises(ConfigError, match="form must be wave"):
        TransformersSound(form="mel", architecture="wav2vec2", config=TINY)
    with pytest.raises(ConfigError, match="architecture must be"):
        TransformersSound(architecture="wav3vec")


def test_a_folder_of_transformers_is_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = TransformersSound(config=TINY).eval()
    first.model.save_pretrained(tmp_path)
    architecture, config = read_config(str(tmp_path))
    assert architecture == "wav2vec2"
    torch.manual_seed(1)
    second = TransformersSound(architecture=architecture, config=config).eval()
    x = {"wave": torch.randn(2, 2000), "samples": torch.tensor([2000, 2000])}
    assert not torch.allclose(first(x), second(x))
    second.load(str(tmp_path))
    torch.testing.assert_close(first(x), second(x))
    with pytest.raises(RunError, match=r"its config\.json cannot be had"):
        read_config(str(tmp_path / "nothing"))
