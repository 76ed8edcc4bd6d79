"""From items to representations: one encoder, frozen and in eval mode, over one source."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nearfar.data import Loader, Source
from nearfar.encoders import EncoderSpec, build, fingerprint, load_encoder
from nearfar.errors import ConfigError, RunError, require
from nearfar.modalities import IMAGE
from nearfar.progress import say, track

__all__ = ["Subject", "features", "iterate_features", "open_subject"]


@dataclasses.dataclass(frozen=True)
class Subject:
    """Something that turns images into vectors.

    Attributes:
        name: for tables and errors.
        encoder: the module, in eval mode; ``None`` stands for the pixels themselves.
        spec: what it is fed with.
        fingerprint: changes with any weight.
        view: the evaluation view in words.
    """

    name: str
    encoder: nn.Module | None
    spec: EncoderSpec
    fingerprint: str

    @property
    def view(self) -> str:
        """The evaluation view in words."""
        size = self.spec.image_size
        part = "whole image" if _view(self.spec).proportion == 1.0 else "centre crop"
        return f"{part} at {size} x {size}, no augmentation"


def open_subject(
    name: str | Path,
    *,
    channels: int | None = None,
    image_size: int = 224,
    pretrained: bool = True,
    module: nn.Module | None = None,
) -> Subject:
    """Open a run, a folder with an encoder, or a stock encoder by name.

    Args:
        name: a run folder, or ``small`` or a timm model's name.
        channels: of the images; a stock encoder is built for them, 3 when absent, and a run must be of them.
        image_size: side in pixels, for a stock encoder that is not built for one size.
        pretrained: load timm's published weights into a stock timm encoder.
        module: a freshly built encoder of the user's own, for a run that trained one.

    Raises:
        RunError: when the folder holds no encoder, or published weights cannot be had.
        ConfigError: when there is no encoder of the name, or the number of channels is not the run's.
    """
    path = Path(name)
    if path.is_dir():
        encoder, spec = load_encoder(path, module)
        fits, fix = channels in (None, spec.in_channels), "leave the setting out"
        require(fits, str(name), "channels", f"the encoder's, {spec.in_channels}", channels, fix, error=ConfigError)
        return Subject(str(name), encoder, spec, fingerprint(encoder))
    if path.exists() or os.sep in str(name):
        raise RunError(f"{name}: must be a run folder or the name of an encoder, got neither; check the path")
    return _stock(str(name), channels or 3, image_size, pretrained)


def untrained(like: EncoderSpec, *, seed: int = 0) -> Subject:
    """Return the encoder of a specification with fresh weights: the baseline ``random``."""
    fix = "score the baseline pixels, or any other encoder"
    must = "one that can be built by name"
    require(like.name != "custom", "baseline random", "encoder", must, "one of your own", fix, error=ConfigError)
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    encoder, spec = build(
        like.name,
        in_channels=like.in_channels,
        image_size=like.image_size,
        options=like.options,
        mean=like.mean,
        std=like.std,
    )
    torch.set_rng_state(state)
    return Subject(f"untrained {like.name}", encoder.eval(), spec, fingerprint(encoder))


def pixels(like: EncoderSpec) -> Subject:
    """Return the pixels of the evaluation view as a subject: the baseline ``pixels``."""
    spec = dataclasses.replace(like, name="pixels", dim=like.in_channels * like.image_size**2, mean=(0.0,), std=(1.0,))
    return Subject("raw pixels", None, spec, "pixels")


def iterate_features(
    subject: Subject,
    source: Source,
    *,
    batch_size: int = 256,
    threads: int | None = None,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    description: str = "embed",
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield row numbers and their float32 representations, in the order of the source, under a progress bar."""
    device = torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")
    view = _view(subject.spec)
    loader = Loader(
        source,
        lambda images, rng: IMAGE.make_views(images, [view], rng),
        batch_size=min(batch_size, len(source)),
        seed=0,
        shuffle=False,
        drop_last=False,
        on_broken="drop",
        threads=threads or min(8, os.cpu_count() or 1),
    )
    encoder = None if subject.encoder is None else subject.encoder.to(device).eval()
    for batch in track(loader, description):
        images = batch.views[0]
        assert isinstance(images, torch.Tensor)
        assert batch.ids is not None
        images = images.to(device)
        with torch.inference_mode():
            h = images.flatten(1) if encoder is None else encoder(images)
        require(h.ndim == 2, f"encoder {subject.spec.name}", "output", "(N, dim)", tuple(h.shape))
        yield batch.ids.numpy(), h.float().cpu().numpy()
    for item in loader.skipped:
        say(f"skipped {item.id}: {item.reason}")


def features(subject: Subject, source: Source, **settings: Any) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the row numbers that could be read, and their representations (N, dim) float32."""
    rows, parts = zip(*iterate_features(subject, source, **settings), strict=True)
    return np.concatenate(rows), np.concatenate(parts)


def _view(spec: EncoderSpec) -> Any:
    return IMAGE.evaluation_view(spec.image_size, mean=spec.mean, std=spec.std)


def _stock(name: str, channels: int, image_size: int, pretrained: bool) -> Subject:
    from nearfar.encoders import ENCODERS

    if name in ENCODERS:
        encoder, spec = build(name, in_channels=channels, image_size=image_size)
        return Subject(name, encoder.eval(), spec, fingerprint(encoder))
    try:
        encoder, spec = build(name, in_channels=channels, image_size=image_size, pretrained=pretrained)
    except (OSError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise RunError(
            f"encoder {name}: its published weights cannot be had ({first}); go online, or add --no-pretrained"
        ) from None
    config = getattr(getattr(encoder, "model", None), "pretrained_cfg", None) or {}
    if pretrained and config.get("mean"):
        spec = dataclasses.replace(spec, mean=tuple(config["mean"]), std=tuple(config["std"]))
        if channels != len(config["mean"]):
            average = (sum(config["mean"]) / 3,), (sum(config["std"]) / 3,)
            spec = dataclasses.replace(spec, mean=average[0], std=average[1])
    return Subject(name, encoder.eval(), spec, fingerprint(encoder))
