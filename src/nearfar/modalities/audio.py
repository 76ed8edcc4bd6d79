"""Sound: read from folders and manifests; seen through waves and log-mel spectrograms; encoded by convolutions."""

from __future__ import annotations

import dataclasses
import io
import math
import wave
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nearfar.config import check_options
from nearfar.data import DecodedSource, Glance, Source, Views
from nearfar.data.manifest import MANIFESTS
from nearfar.data.sound import LONGEST, SOUNDS, head
from nearfar.data.sounds import SoundFiles, open_sound_splits
from nearfar.data.sounds_kept import keep_sounds
from nearfar.data.source import origin
from nearfar.encoders import ENCODERS, EncoderSpec
from nearfar.errors import DataError, require
from nearfar.modalities.base import Inputs, Media, Modality, Seen
from nearfar.modalities.spectrogram import spectrogram_picture
from nearfar.views.mel import log_mel
from nearfar.views.sound import SoundView
from nearfar.views.sound_apply import apply_sounds, make_sound_views
from nearfar.views.sound_plan import draw_sounds
from nearfar.views.sound_ready import SOUND_VIEWS

__all__ = ["AUDIO", "AudioInputs", "AudioOptions"]

MEAN, STD = (0.5,), (0.25,)
"""What every spectrogram is normalised with: its middle is at -40 dB, a deviation is 20 dB."""

MOST_SECONDS = 2.0
"""The longest crop by default; sounds of which 95 % are shorter are seen whole."""

_LOOKED_AT = 256
_TIMM, _TRANSFORMERS = "timm-sound", "transformers-sound"


@dataclasses.dataclass(frozen=True, kw_only=True)
class AudioOptions:
    """How sounds are read.

    Attributes:
        rate: samples per second; by default the most common one of the files, at most 16,000.
        seconds: the longest crop that training sees; by default what 95 % of the sounds are shorter than, at most 2.
        pattern: how the names of a folder's files are made up: ``{label}_{group}_{take}``; a group is a speaker.
        classes: ``label``, or ``group`` to take the speakers as the classes.
        longest: seconds of an item that are read at most.
        mels: bands of the spectrogram.
        window: length of its window in seconds.
        form: what encoders are fed with: ``mel``, or ``wave`` for transformers that read waves.
    """

    rate: int | None = None
    seconds: float | None = None
    pattern: str | None = None
    classes: Literal["label", "group"] = "label"
    longest: float = LONGEST
    mels: int = 64
    window: float = 0.025
    form: Literal["mel", "wave"] = "mel"


@dataclasses.dataclass(frozen=True, kw_only=True)
class AudioInputs(Inputs):
    """What is known of sounds.

    Attributes:
        rate: samples per second.
        seconds: the longest crop that training sees.
        mels: bands of the spectrogram.
        window: length of its window in seconds.
        form: what encoders are fed with.
        pattern: how file names are made up.
        classes: what the classes are.
        longest: seconds of an item that are read at most.
    """

    modality: ClassVar[str] = "audio"
    raw_name: ClassVar[str] = "mean and deviation of log-mels"

    rate: int
    seconds: float
    mels: int = 64
    window: float = 0.025
    form: Literal["mel", "wave"] = "mel"
    pattern: str | None = None
    classes: Literal["label", "group"] = "label"
    longest: float = LONGEST

    @property
    def default_views(self) -> str:  # type: ignore[override]
        """Views of utterances for short sounds, BYOL-A's for others."""
        return "speech" if self.seconds < MOST_SECONDS else "byol-a"

    @property
    def default_encoder(self) -> str:  # type: ignore[override]
        """The small convolutional one."""
        return "sound" if self.form == "mel" else _TRANSFORMERS

    @property
    def options(self) -> dict[str, Any]:
        """All settings."""
        return dataclasses.asdict(self)

    def reading(self, who: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the run's settings; of further data only pattern, classes and longest may differ."""
        for name in ("rate", "seconds", "mels", "window", "form"):
            own = getattr(self, name)
            value, fix = given.get(name, own), "leave the setting out"
            require(value == own, who, f"input-options.{name}", f"the encoder's, {own}", value, fix, error=DataError)
        return {**self.options, **given}

    def views(self, name: str) -> tuple[SoundView, ...]:
        """Return the views of a name, of these sounds' rate, length and spectrogram."""
        made = SOUND_VIEWS.get(self.default_views if name == "auto" else name)(
            rate=self.rate, seconds=self.seconds, mels=self.mels
        )
        return tuple(dataclasses.replace(view, **self._form) for view in made)

    @property
    def _form(self) -> dict[str, Any]:
        return {"window": self.window, "output": self.form, "mean": MEAN, "std": STD}

    def evaluation_view(self) -> SoundView:
        """Return all of a sound, up to 30 seconds about its middle, at one loudness."""
        return SoundView(rate=self.rate, seconds=self.seconds, mels=self.mels, crop="whole", **self._form)

    @property
    def view_words(self) -> str:
        """The evaluation view in words."""
        form = f"{self.mels} log-mels" if self.form == "mel" else "wave"
        return f"whole sound up to {self.evaluation_view().longest:g} s at {self.rate} Hz, {form}, no augmentation"

    def make_views(self, items: Any, views: Sequence[Any], rng: np.random.Generator) -> Sequence[Views]:
        """Return ``{"mel": (N, 1, mels, F), "frames": (N,)}`` a view, or ``{"wave": (N, T), "samples": (N,)}``."""
        return make_sound_views(items, views, rng)

    def encoder_arguments(self) -> dict[str, Any]:
        """Return bands, frames of a crop, and the form."""
        view = SoundView(rate=self.rate, seconds=self.seconds, mels=self.mels, window=self.window)
        return {"mels": self.mels, "frames": view.size[1], "form": self.form}

    def build_encoder(
        self, name: str, options: Mapping[str, Any], *, pretrained: bool = False
    ) -> tuple[nn.Module, EncoderSpec]:
        """Build one of our encoders of sound, a timm model on spectrograms, or a model of transformers."""
        if name == _TRANSFORMERS and options.get("model"):
            return self._of_transformers(dict(options))
        if name not in ENCODERS and _is_timm(name):
            name, options = _TIMM, {"model": name, "config": dict(options)}
        if name == _TIMM and pretrained:
            return self._of_timm(dict(options))
        return super().build_encoder(name, options, pretrained=pretrained)

    def _of_timm(self, options: dict[str, Any]) -> tuple[nn.Module, EncoderSpec]:
        """Build with published weights; the specification builds without them, as the run's own take their place."""
        _, spec = super().build_encoder(_TIMM, options)
        encoder = ENCODERS.get(_TIMM)(**spec.arguments, **{**spec.options, "pretrained": True})
        return encoder, spec

    def _of_transformers(self, options: dict[str, Any]) -> tuple[nn.Module, EncoderSpec]:
        from nearfar.encoders.hub import read_config
        from nearfar.encoders.sound_models import TransformersSound

        options = check_options(_TRANSFORMERS, TransformersSound, options, without=self.encoder_arguments())
        model = str(options.pop("model"))
        architecture, config = read_config(model)
        encoder, spec = super().build_encoder(
            _TRANSFORMERS, {**options, "architecture": architecture, "config": {**config, **options.get("config", {})}}
        )
        assert isinstance(encoder, TransformersSound)
        encoder.load(model)
        return encoder, spec

    def raw(self, items: Any) -> NDArray[np.float32]:
        """Return mean and deviation over time of every band of the log-mel spectrogram, (N, 2 · mels)."""
        view = dataclasses.replace(self.evaluation_view(), output="mel")
        made = make_sound_views(items, [view], np.random.default_rng(0))[0]
        inside = (torch.arange(made["mel"].shape[-1]) < made["frames"][:, None])[:, None].float()
        mel, count = made["mel"][:, 0], made["frames"][:, None]
        mean = (mel * inside).sum(2) / count
        variance = ((mel - mean[..., None]).square() * inside).sum(2) / count
        features: NDArray[np.float32] = torch.cat([mean, variance.sqrt()], 1).numpy()
        return features

    def keep(
        self,
        source: Source,
        *,
        cache: Literal["memory", "disk", "off"] = "memory",
        threads: int | None = None,
        limit_bytes: int | None = None,
        whole: bool = False,
    ) -> DecodedSource:
        """Decode and resample every sound once, into memory."""
        return keep_sounds(source, cache=cache, threads=threads, limit_bytes=limit_bytes)

    def thumbnail(self, item: Any) -> NDArray[Any]:
        """Return the spectrogram, low bands below."""
        view = dataclasses.replace(self.evaluation_view(), output="mel", mean=None, std=None)
        part = apply_sounds(draw_sounds(view, [len(item)], np.random.default_rng(0)), [np.asarray(item, np.float32)])
        return spectrogram_picture(part["mel"][0, 0, :, : int(part["frames"][0])].numpy())

    def media(self, item: Any) -> Media | None:
        """Return the sound as WAV of 16 bits."""
        return Media("audio/wav", wav_bytes(np.asarray(item, np.float32), self.rate))

    def words(self, item: Any) -> str:
        """Return the sound's length."""
        return f"{len(item) / self.rate:.2f} s"

    def picture(self, view: Views, row: int) -> NDArray[Any]:
        """Return one row of a view as a spectrogram."""
        if isinstance(view, Tensor) or "mel" in view:
            mel = view if isinstance(view, Tensor) else view["mel"]
            return spectrogram_picture(mel[row, 0].float().numpy() * STD[0] + MEAN[0])
        shown = SoundView(rate=self.rate, mels=self.mels, window=self.window)
        return spectrogram_picture(log_mel(view["wave"][row : row + 1].float(), shown)[0].numpy())

    def seen(self, items: Sequence[Any], views: Sequence[Any], rng: np.random.Generator) -> Seen:
        """Return spectrograms of the sounds and of their views, and the numbers of each view's plan."""
        lengths = [len(item) for item in items]
        made, captions = [], []
        for view in views:
            plan = draw_sounds(view, lengths, rng)
            part = apply_sounds(plan, items)
            made.append([self.picture(part, row) for row in range(len(items))])
            texts = [plan.describe(row).items() for row in range(len(items))]
            captions.append(["\n".join(f"{key} {value}" for key, value in pairs) for pairs in texts])
        return Seen([self.thumbnail(item) for item in items], made, captions)

    def remedies(self, views: Sequence[Any]) -> list[str]:
        """Return fewer seconds, no change of speed and no noise, where they are dear."""
        found = []
        if any(view.speed != (1.0, 1.0) for view in views):
            found.append("--view-options.speed 1 1 (no change of speed)")
        if any(view.noise > 0 or view.reverb > 0 for view in views):
            found.append("--view-options.noise 0 --view-options.reverb 0")
        return [*found, "a smaller --input-options.seconds"]

    def preprocessing(self) -> dict[str, Any]:
        """Return how a sound becomes what the encoder takes; nothing of it is part of the encoder or a graph."""
        view = self.evaluation_view()
        return {
            "rate": self.rate, "channels": 1, "loudness_db": view.loudness, "form": self.form, "mels": self.mels,
            "window_samples": view.window_samples, "hop_samples": view.hop_samples, "low_hz": view.low,
            "high_hz": view.top, "range_db": 80.0, "mean": list(MEAN), "std": list(STD),
            "included_in_the_model": False,
        }  # fmt: skip

    def example(self, count: int) -> Views:
        """Return noise with the spread of normalised spectrograms, or of waves."""
        generator = torch.Generator().manual_seed(count)
        size = self.evaluation_view().frames(math.ceil(self.seconds * self.rate))
        if self.form == "wave":
            return torch.randn(count, max(1600, round(self.seconds * self.rate)), generator=generator)
        return torch.randn(count, 1, self.mels, size, generator=generator)


class AudioModality(Modality):
    """Sound."""

    name = "audio"
    items = "sounds"
    labels_fix = "put sounds into one folder per class, add a label column or a pattern, or use simclr"
    query = "a sound file, a folder of sounds"
    options = AudioOptions
    inputs = AudioInputs
    fixed = frozenset({"rate", "crop", "seconds", "longest", "loudness", "output", "mels", "window", "hop", "low",
                       "high", "mean", "std"})  # fmt: skip

    given = ("mels", "frames", "form")

    def recognises(self, seen: Glance) -> bool:
        """Whether there are sound files, a manifest of them, or a source of sounds."""
        if seen.kind == "object":
            return hasattr(seen.data, "rate") and callable(getattr(seen.data, "read", None))
        if seen.suffix in MANIFESTS:
            return seen.path_suffix() in SOUNDS
        return seen.suffix in SOUNDS

    def open_splits(self, data: Any, options: Mapping[str, Any]) -> dict[str, Source]:
        """Open sounds at one rate."""
        names = ("rate", "pattern", "longest", "classes")
        given = {name: options[name] for name in names if options.get(name) is not None}
        return open_sound_splits(data, **given)

    def check_encoder(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Accept encoders of sound, and any timm model, whose options are timm's affair."""
        if name not in ENCODERS and _is_timm(name):
            return dict(options)
        return super().check_encoder(name, options)

    def fit(self, source: Source, options: Mapping[str, Any]) -> AudioInputs:
        """Take the rate from the source, and the longest crop from the training sounds' lengths."""
        rate: Any = _rate(source) or options.get("rate")
        must, fix = "known", "give a source an attribute rate, or set --input-options.rate"
        require(isinstance(rate, int), "audio", "samples per second", must, "none", fix, error=DataError)
        plain = {name: value for name, value in options.items() if value is not None}
        return AudioInputs(**{"seconds": _typical_seconds(source, int(rate)), **plain, "rate": int(rate)})

    def views(self, name: str) -> tuple[SoundView, ...]:
        """Return the views of a name with their own defaults."""
        return tuple(SOUND_VIEWS.get(name)())

    def view_names(self) -> list[str]:
        """Return the names of the registry."""
        return SOUND_VIEWS.names()


def wav_bytes(samples: NDArray[np.float32], rate: int) -> bytes:
    """Return a sound as a WAV file of one channel of 16 bits; what is louder than full scale is clipped."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).round().astype("<i2").tobytes())
    return buffer.getvalue()


def _rate(source: Source) -> Any:
    """Return the samples per second of the source that all others stand on, kept in memory or not."""
    place: Source | None = source
    while place is not None and not hasattr(place, "rate"):
        inner = origin(place, 0)[0]
        place = getattr(place, "source", None) if inner is place else inner
    return getattr(place, "rate", None)


def _typical_seconds(source: Source, rate: int) -> float:
    """Return what 95 % of up to 256 sounds spread evenly over all are shorter than, in steps of 0.05, at most 2."""
    rows = np.unique(np.linspace(0, len(source) - 1, _LOOKED_AT).round().astype(int))
    lengths = [length for row in rows if (length := _seconds(source, int(row), rate)) > 0]
    must = "of a length above 0 in some of the files looked at"
    require(bool(lengths), "audio", "sounds", must, "none", "check the files", error=DataError)
    typical = math.ceil(float(np.quantile(lengths, 0.95)) * 20) / 20
    return min(MOST_SECONDS, max(0.1, typical))


def _seconds(source: Source, row: int, rate: int) -> float:
    base, at = origin(source, row)
    try:
        if isinstance(base, SoundFiles):
            place = base.rows[at]
            found = head(place.path)
            whole = 0.0 if found is None else found.seconds
            return min(whole, place.end if place.end is not None else whole) - place.start
        return len(source.read(row)) / rate
    except DataError:
        return 0.0


def _is_timm(name: str) -> bool:
    from nearfar.encoders import timm_models

    return timm_models.known(name)


AUDIO = AudioModality()
