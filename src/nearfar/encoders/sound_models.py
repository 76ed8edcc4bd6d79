"""Encoders of sound that others built: timm's models on spectrograms, and transformers' on waves or spectrograms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from nearfar.encoders.base import Encoder
from nearfar.encoders.hub import build_model, missing, published_model
from nearfar.encoders.sound import SILENCE
from nearfar.errors import ConfigError, RunError, require

__all__ = ["TimmSound", "TransformersSound", "windows"]

_WAVES = {"input_values": "wave", "input_features": "mel"}


def windows(mel: Tensor, frames: Tensor | None, width: int) -> tuple[Tensor, Tensor]:
    """Cut spectrograms (N, 1, M, F) into windows of ``width`` frames, silence behind the last.

    Args:
        mel: the spectrograms.
        frames: (N,) how many frames of each are the sound's; all when absent.
        width: of a window.

    Returns:
        (N · W, 1, M, width), and weights (N, W) that average over the windows that hold some of the sound.
    """
    count, _, bands, whole = mel.shape
    number = max(1, -(-whole // width))
    filled = pad(mel, (0, number * width - whole), value=SILENCE)
    cut = filled.reshape(count, 1, bands, number, width).permute(0, 3, 1, 2, 4).reshape(-1, 1, bands, width)
    own = torch.full((count,), whole, device=mel.device) if frames is None else frames
    used = torch.arange(number, device=mel.device) < (-(-own // width)).clamp(1, number)[:, None]
    return cut, used / used.sum(1, keepdim=True)


def _average(h: Tensor, weights: Tensor) -> Tensor:
    return (h.float().reshape(*weights.shape, -1) * weights[..., None]).sum(1)


def _spectrograms(x: Mapping[str, Tensor] | Tensor) -> tuple[Tensor, Tensor | None]:
    return (x, None) if isinstance(x, Tensor) else (x["mel"], x.get("frames"))


class TimmSound(Encoder):
    """A timm model on a log-mel spectrogram, taken as a picture of one channel; longer sounds window by window.

    Args:
        mels: bands of the spectrogram: the picture's height.
        frames: its width; what a sound has beyond is more windows, whose representations are averaged.
        form: what it is fed with; must be ``"mel"``.
        model: the model's name in timm.
        config: further arguments of the model.
        pretrained: load timm's published weights, whose first layer timm adds up over the colours.

    Raises:
        ConfigError: when timm refuses the settings.
    """

    modality: ClassVar[str] = "audio"

    def __init__(
        self,
        *,
        mels: int = 64,
        frames: int = 96,
        form: Literal["mel", "wave"] = "mel",
        model: str = "resnet18",
        config: dict[str, Any] | None = None,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        from nearfar.encoders import timm_models

        require(form == "mel", f"encoder {model}", "input-options.form", "mel", form, error=ConfigError)
        require(timm_models.known(model), "encoder timm-sound", "model", "a timm model", repr(model), error=ConfigError)
        self.mels, self.frames = mels, frames
        self.model = timm_models.create(model, 1, (mels, frames), pretrained, dict(config or {}))[0]
        self.dim = int(getattr(self.model, "head_hidden_size", self.model.num_features))

    def forward(self, x: Mapping[str, Tensor] | Tensor) -> Tensor:
        """Return h of shape (N, dim) for ``{"mel": (N, 1, mels, F), "frames": (N,)}`` or the spectrograms alone."""
        cut, weights = windows(*_spectrograms(x), self.frames)
        return _average(cast(Tensor, self.model(cut)), weights)


class TransformersSound(Encoder):
    """An audio model of ``transformers``: wav2vec 2.0, HuBERT, WavLM and the like on waves, AST and Whisper on mels.

    Waves are brought to mean 0 and deviation 1 each, as those models want them; h is the mean of the last states over
    the sound's own. Spectrograms are ours (the same for every encoder), not those that AST or Whisper were published
    with, and are taken window by window.

    Args:
        mels: bands of the spectrogram.
        frames: width of a window of it.
        form: what it is fed with, which must suit the architecture.
        architecture: the kind of model, as its ``config.json`` has it under ``model_type``.
        config: settings of the model; what is missing is the library's default (12 layers of 768, much for two cores).
        model: the folder or hub name of a model to start from; architecture and config are then its own.

    Raises:
        MissingExtraError: when ``transformers`` is not installed.
        ConfigError: when there is no such architecture, or it does not suit the form.
    """

    modality: ClassVar[str] = "audio"

    def __init__(
        self,
        *,
        mels: int = 64,
        frames: int = 96,
        form: Literal["mel", "wave"] = "wave",
        architecture: str = "wav2vec2",
        config: dict[str, Any] | None = None,
        model: str = "",
    ) -> None:
        super().__init__()
        self.mels, self.frames, self.form, self.architecture = mels, frames, form, architecture
        given = dict(config or {})
        given |= {"apply_spec_augment": False, "layerdrop": 0.0}  # views are drawn by the loader, from its seed
        if form == "mel":
            sizes = {"num_mel_bins": mels, "max_length": frames, "max_source_positions": -(-frames // 2)}
            given = {**sizes, **given}
        whole, made = build_model(architecture, given, encoder="transformers-sound")
        self.whole_input = str(getattr(whole, "main_input_name", ""))
        self.model = cast(nn.Module, whole.encoder if architecture == "whisper" else whole)
        self.config = made
        self._check(architecture)
        self.dim = int(made.hidden_size)

    def _check(self, architecture: str) -> None:
        spectrogram = architecture in ("audio-spectrogram-transformer", "whisper")
        must = "mel" if spectrogram else "wave"
        require(self.form == must, f"encoder {architecture}", "input-options.form", must, self.form, error=ConfigError)
        require(self.whole_input in _WAVES, f"encoder {architecture}", "architecture", "one that reads sound",
                "one that does not", error=ConfigError)  # fmt: skip
        if spectrogram:
            fix = "set --input-options.mels and --input-options.seconds"
            require(self.config.num_mel_bins == self.mels, f"encoder {architecture}", "mels",
                    self.config.num_mel_bins, self.mels, fix, error=ConfigError)  # fmt: skip

    def forward(self, x: Mapping[str, Tensor] | Tensor) -> Tensor:
        """Return h of shape (N, dim) for ``{"wave": (N, T), "samples": (N,)}`` or the mapping of spectrograms."""
        if self.form == "wave":
            wave, samples = (x, None) if isinstance(x, Tensor) else (x["wave"], x.get("samples"))
            return self._of_waves(wave, samples)
        if self.architecture == "whisper":
            cut, weights = windows(*_spectrograms(x), 2 * self.config.max_source_positions)
            return _average(self.model(cut[:, 0]).last_hidden_state.float().mean(1), weights)
        cut, weights = windows(*_spectrograms(x), self.config.max_length)
        return _average(self.model(cut[:, 0].transpose(1, 2)).pooler_output, weights)

    def _of_waves(self, wave: Tensor, samples: Tensor | None) -> Tensor:
        own = torch.full((len(wave),), wave.shape[1], device=wave.device) if samples is None else samples
        inside = torch.arange(wave.shape[1], device=wave.device) < own[:, None]
        mean = (wave * inside).sum(1, keepdim=True) / own[:, None]
        away = (wave - mean) * inside
        level = (away.square().sum(1, keepdim=True) / own[:, None]).sqrt()
        mask = inside.long() if getattr(self.config, "feat_extract_norm", "") == "layer" else None
        states = self.model(away / (level + 1e-7), attention_mask=mask).last_hidden_state.float()
        lengths: Any = self.model._get_feat_extract_output_lengths
        kept = lengths(own).clamp(1, states.shape[1])
        used = (torch.arange(states.shape[1], device=wave.device) < kept[:, None])[..., None]
        return cast(Tensor, (states * used).sum(1) / kept[:, None])

    def load(self, name: str) -> None:
        """Take the weights of a local folder or a hub name.

        Raises:
            RunError: when they cannot be had, or do not fit.
        """
        found: Any = published_model(name)
        found = found.encoder if self.architecture == "whisper" else found
        try:
            self.model.load_state_dict(found.state_dict())
        except RuntimeError as error:
            raise RunError(missing(name, "weights", error)) from None
