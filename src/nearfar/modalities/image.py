"""Images: read from folders, manifests and arrays; seen through crops and colours; encoded by convolutions or ViTs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nearfar.data import DecodedSource, Glance, Source, Views, decode_all, open_splits
from nearfar.data.array_files import ARRAY_FILES
from nearfar.data.manifest import MANIFESTS
from nearfar.data.parquet_shard import holds_images
from nearfar.data.picture import SUFFIXES
from nearfar.data.shards import SHARDS
from nearfar.encoders import EncoderSpec, build, modality_of
from nearfar.encoders.build import ENCODERS, check_name
from nearfar.errors import ConfigError, DataError, RunError, require
from nearfar.modalities.base import Inputs, Media, Modality, Seen
from nearfar.progress import say
from nearfar.views import VIEWS, ImageView, apply, draw, make_views
from nearfar.views.ready import evaluation

__all__ = ["IMAGE", "MEAN", "SIDE", "STD", "ImageInputs", "ImageOptions"]

SIDE = 224
"""The longest side of images by default, in pixels."""

SMALL = 64
"""Images of at most that many pixels a side get small encoders and no blur."""

MEAN, STD = (0.5,), (0.25,)
"""What every view is normalised with, whatever the data set: the encoder then fits data of another kind as well."""

_LOOKED_AT = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """How images are read.

    Attributes:
        image_size: side of the square views in pixels; the images' own, but at most 224, when absent.
        channels: channels to convert all images to, 1 or 3; the images' own when absent.
    """

    image_size: int | None = None
    channels: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageInputs(Inputs):
    """What is known of images.

    Attributes:
        image_size: side of the square views in pixels.
        channels: of all images.
        mean: subtracted from each channel of an image in [0, 1].
        std: what each channel is then divided by.
    """

    modality: ClassVar[str] = "image"
    raw_name: ClassVar[str] = "raw pixels"

    image_size: int
    channels: int
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD

    @property
    def default_views(self) -> str:  # type: ignore[override]
        """Views of the images' kind and size."""
        if self.channels != 3:
            return "gray"
        return "cifar" if self.image_size <= SMALL else "simclr"

    @property
    def default_encoder(self) -> str:  # type: ignore[override]
        """Small for small images, resnet18 for others."""
        return "small" if self.image_size <= SMALL else "resnet18"

    @property
    def options(self) -> dict[str, Any]:
        """Size and channels."""
        return {"image_size": self.image_size, "channels": self.channels}

    def reading(self, who: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return size and channels, which no data may depart from."""
        channels = given.get("channels", self.channels)
        fix, must = "leave the setting out", f"the encoder's, {self.channels}"
        require(channels == self.channels, who, "channels", must, channels, fix, error=ConfigError)
        return self.options

    def views(self, name: str) -> tuple[ImageView, ...]:
        """Return the views of a name, of these images' size and normalisation."""
        views = VIEWS.get(self.default_views if name == "auto" else name)(self.image_size)
        return tuple(dataclasses.replace(view, mean=self.mean, std=self.std) for view in views)

    def evaluation_view(self) -> ImageView:
        """Return the whole of a small image, the centre of a large one."""
        view = evaluation(self.image_size)[0]
        proportion = 1.0 if self.image_size <= SMALL else view.proportion
        return dataclasses.replace(view, proportion=proportion, mean=self.mean, std=self.std)

    def light_view(self, view: ImageView) -> ImageView:
        """Return the crop and the mirror of a view and nothing else, as SimCLR and SimCLRv2 fine-tune.

        A view without a crop keeps the turn, the shift and the zoom that stand in its place.
        """
        plain = dataclasses.replace(
            view, vflip=0.0, jitter=0.0, grayscale=0.0, blur=0.0, solarize=0.0, erase=0.0, mean=self.mean, std=self.std
        )
        cropped = view.crop == "random" and view.scale != (1.0, 1.0)
        return dataclasses.replace(plain, rotate=0.0, translate=0.0, zoom=(1.0, 1.0)) if cropped else plain

    @property
    def view_words(self) -> str:
        """The evaluation view in words."""
        part = "whole image" if self.evaluation_view().proportion == 1.0 else "centre crop"
        return f"{part} at {self.image_size} x {self.image_size}, no augmentation"

    def make_views(self, items: Any, views: Sequence[Any], rng: np.random.Generator) -> Sequence[Views]:
        """Return one (N, C, S, S) float32 tensor a view, on one thread: the loader runs several batches."""
        return make_views(items, views, rng, threads=1)

    def build_encoder(
        self, name: str, options: Mapping[str, Any], *, pretrained: bool = False
    ) -> tuple[nn.Module, EncoderSpec]:
        """Build one of our encoders for images, or any timm model."""
        return build(
            name,
            in_channels=self.channels,
            image_size=self.image_size,
            pretrained=pretrained,
            options=options,
            mean=self.mean,
            std=self.std,
        )

    def spec(self, name: str, dim: int = 0) -> EncoderSpec:
        """Return a specification that has these inputs in its own fields."""
        return EncoderSpec(
            name=name, dim=dim, in_channels=self.channels, image_size=self.image_size, mean=self.mean, std=self.std
        )

    def raw(self, items: Any) -> NDArray[np.float32]:
        """Return the pixels of the evaluation view in [0, 1], without normalisation."""
        view = dataclasses.replace(self.evaluation_view(), mean=(0.0,), std=(1.0,))
        made = self.make_views(items, [view], np.random.default_rng(0))[0]
        assert isinstance(made, torch.Tensor)
        pixels: NDArray[np.float32] = made.flatten(1).numpy()
        return pixels

    def keep(
        self,
        source: Source,
        *,
        cache: Literal["memory", "disk", "off"] = "memory",
        threads: int | None = None,
        limit_bytes: int | None = None,
        whole: bool = False,
    ) -> DecodedSource:
        """Decode every image once; its shorter side to at most 256 pixels for training views of 224."""
        side = None if whole else max(self.image_size, round(self.image_size / 0.875))
        return decode_all(source, side=side, cache=cache, threads=threads, limit_bytes=limit_bytes)

    def thumbnail(self, item: Any) -> NDArray[Any]:
        """Return the image itself."""
        return np.asarray(item)

    def media(self, item: Any) -> Media | None:
        """Return nothing: the picture is its own thumbnail."""
        return None

    def seen(self, items: Sequence[Any], views: Sequence[Any], rng: np.random.Generator) -> Seen:
        """Return images, views in [0, 1], and the numbers of each view's plan."""
        images = [np.asarray(item) for item in items]
        sizes = np.array([image.shape[:2] for image in images])
        made, captions = [], []
        for view in views:
            plain = dataclasses.replace(view, mean=None, std=None)
            plan = draw(plain, sizes, rng, channels=images[0].shape[2])
            made.append(list(apply(plan, images).permute(0, 2, 3, 1).numpy()))
            texts = [plan.describe(row).items() for row in range(len(images))]
            captions.append(["\n".join(f"{key} {value}" for key, value in pairs) for pairs in texts])
        return Seen(images, made, captions, (0.0, 1.0))

    def remedies(self, views: Sequence[Any]) -> list[str]:
        """Return cheaper colours, interpolation and size, where they are dear."""
        found = []
        if any(view.jitter > 0 and (view.saturation or view.hue) and view.color == "exact" for view in views):
            found.append("--view-options.color matrix (cheaper colours, close to the exact ones)")
        if any(view.interpolation == "bicubic" for view in views):
            found.append("--view-options.interpolation bilinear")
        if max((view.size for view in views), default=0) > SMALL:
            found.append("a smaller --image-size")
        return found

    def preprocessing(self) -> dict[str, Any]:
        """Return resize, crop and normalisation: nothing of them is part of the encoder or of any exported graph."""
        view = self.evaluation_view()
        return {
            "channels": self.channels,
            "value_range": [0.0, 1.0],
            "resize_shorter_side": max(self.image_size, round(self.image_size / view.proportion)),
            "interpolation": f"{view.interpolation}, antialiased",
            "center_crop": self.image_size,
            "mean": _per_channel(self.mean, self.channels),
            "std": _per_channel(self.std, self.channels),
            "included_in_the_model": False,
        }

    def example(self, count: int) -> Views:
        """Return noise with the spread of normalised pictures, from a generator of its own."""
        generator = torch.Generator().manual_seed(count)
        return torch.randn(count, self.channels, self.image_size, self.image_size, generator=generator)


class ImageModality(Modality):
    """Images."""

    name = "image"
    items = "images"
    labels_fix = "put images into one folder per class, add a label column, or use simclr"
    query = "an image file, a folder of images"
    options = ImageOptions
    inputs = ImageInputs
    fixed = frozenset({"size", "mean", "std"})
    given = ("in_channels", "image_size")

    def recognises(self, seen: Glance) -> bool:
        """Whether there are image files, shards, arrays of pixels, or a torch data set."""
        if seen.kind == "array" or seen.suffix in ARRAY_FILES:
            return any(len(fact.shape) == 4 or (fact.dtype == np.uint8 and len(fact.shape) == 3)
                       for fact in seen.arrays.values())  # fmt: skip
        if seen.kind == "object":
            return not seen.columns
        if seen.suffix in MANIFESTS:
            return holds_images(seen.columns) or seen.path_suffix() in SUFFIXES
        return bool((SUFFIXES | SHARDS) & set(seen.suffixes))

    def check_encoder(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Check one of our encoders for images; timm checks the settings of its own."""
        if name in ENCODERS and modality_of(name) == "image":
            return super().check_encoder(name, options)
        check_name(name)
        return dict(options)

    def open_splits(self, data: Any, options: Mapping[str, Any]) -> dict[str, Source]:
        """Open images with one number of channels."""
        return open_splits(data, channels=options.get("channels"))

    def fit(self, source: Source, options: Mapping[str, Any]) -> ImageInputs:
        """Take size and channels from the first readable image, where the options leave them open."""
        size, channels = options.get("image_size"), options.get("channels")
        if size is None or channels is None:
            height, width, depth = _first_image(source).shape
            size, channels = size or min(SIDE, height, width), channels or depth
        return ImageInputs(image_size=size, channels=channels)

    def fit_for(self, encoder: str, source: Source, options: Mapping[str, Any]) -> ImageInputs:
        """Take large images at 64 pixels for the encoder ``small``: at 224 two cores make ten of them a second."""
        inputs = self.fit(source, options)
        if encoder != "small" or options.get("image_size") or inputs.image_size <= SMALL:
            return inputs
        side = inputs.image_size
        say(f"encoder small: images of {side} pixels are taken at {SMALL}; --image-size {side} keeps them as they are")
        return dataclasses.replace(inputs, image_size=SMALL)

    def views(self, name: str) -> tuple[ImageView, ...]:
        """Return the views of a name at 224 pixels."""
        return tuple(VIEWS.get(name)(SIDE))

    def view_names(self) -> list[str]:
        """Return the names of the registry."""
        return VIEWS.names()

    def from_spec(self, spec: EncoderSpec, folder: Any = None) -> ImageInputs:
        """Read the specification's own fields."""
        return ImageInputs(image_size=spec.image_size, channels=spec.in_channels, mean=spec.mean, std=spec.std)

    def stock(self, name: str, options: Mapping[str, Any], *, pretrained: bool) -> tuple[nn.Module, EncoderSpec]:
        """Return one of our encoders, or a timm model with its published weights and normalisation."""
        size, channels = options.get("image_size") or SIDE, options.get("channels") or 3
        if name in ENCODERS:
            return ImageInputs(image_size=size, channels=channels).build_encoder(name, {})
        try:
            encoder, spec = build(name, in_channels=channels, image_size=size, pretrained=pretrained)
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
        return encoder, spec


def _first_image(source: Source) -> NDArray[Any]:
    """Return the first readable image.

    Raises:
        DataError: when none of the first 100 can be read.
    """
    reason = ""
    for index in range(min(_LOOKED_AT, len(source))):
        try:
            return np.asarray(source.read(index))
        except DataError as error:
            reason = reason or str(error)
    raise DataError(f"data: one of the first 100 images must be readable, got none; the first: {reason}")


def _per_channel(values: tuple[float, ...], channels: int) -> list[float]:
    return list(values * channels) if len(values) == 1 else list(values)


IMAGE = ImageModality()
