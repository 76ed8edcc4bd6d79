"""Images with captions: two encoders in one space; images are found by words, words by images."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from nearfar.config import check_options, from_mapping, to_mapping
from nearfar.data import DecodedSource, Glance, Source, Views, open_splits
from nearfar.data.captions import CAPTIONS, PATHS, CaptionSource, ImageText, open_captions
from nearfar.data.picture import SUFFIXES
from nearfar.data.source import origin
from nearfar.data.text_files import holds_lines, suffix_of
from nearfar.data.texts import TextSource, open_text_splits
from nearfar.encoders import EncoderSpec, load_weights
from nearfar.errors import ConfigError, DataError, require
from nearfar.modalities.base import Inputs, Modality, Seen
from nearfar.modalities.drawn_text import text_picture
from nearfar.modalities.image import IMAGE, ImageInputs
from nearfar.modalities.text import TEXT, TextInputs, TextOptions
from nearfar.progress import say
from nearfar.views import VIEWS, ImageView
from nearfar.views.text import TextView

__all__ = ["IMAGE_TEXT", "ImageTextInputs", "ImageTextOptions"]

NAME = "image-text"
"""Of the modality and of its encoder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageTextOptions:
    """How images with captions are read.

    Attributes:
        caption: the column of captions; found by its usual names when absent.
        encoding: of the manifest.
        image_size: side of the square views in pixels; the images' own, but at most 224, when absent.
        channels: channels to convert all images to; the images' own when absent.
        length: the most tokens of a caption.
        vocabulary: how many tokens the tokenizer makes.
        lowercase: put captions into lower case, when the tokenizer is trained on them.
        model: a folder or hub name of a Hugging Face model for the texts' side.
    """

    caption: str | None = None
    encoding: str = "utf-8"
    image_size: int | None = None
    channels: int | None = None
    length: int = 32
    vocabulary: int = 8192
    lowercase: bool = True
    model: str = ""


@dataclasses.dataclass(frozen=True)
class AnySide:
    """The evaluation view: of an image the image, of a text the text, of an image with a caption the image."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageTextInputs(Inputs):
    """What is known of images and of their captions.

    Attributes:
        image: what is known of the images.
        text: what is known of the captions.
        read_with: the settings that the training data were read with, the images' size and channels written out.
    """

    modality: ClassVar[str] = NAME
    raw_name: ClassVar[str] = "raw pixels"
    default_views: ClassVar[str] = "clip"  # type: ignore[misc]
    default_encoder: ClassVar[str] = NAME  # type: ignore[misc]

    image: ImageInputs
    text: TextInputs
    read_with: ImageTextOptions

    @property
    def options(self) -> dict[str, Any]:
        """All settings of reading, the images' size and channels among them."""
        return to_mapping(self.read_with)

    def to_json(self) -> dict[str, Any]:
        """Return both sides' values."""
        own = to_mapping(self.read_with)
        return {"image": self.image.to_json(), "text": self.text.to_json(), "reading": own}

    def files(self) -> dict[str, bytes]:
        """Return the captions' tokenizer."""
        return self.text.files()

    def views(self, name: str) -> tuple[ImageView | TextView, ...]:
        """Return the images' view, ``clip`` or one of the images' own names, and the captions'."""
        own = _views("clip" if name == "auto" else name, self.image.image_size, self.text.read_with.length)
        return (dataclasses.replace(own[0], mean=self.image.mean, std=self.image.std), own[1])

    def evaluation_view(self) -> AnySide:
        """Return the view that takes either kind of item."""
        return AnySide()

    @property
    def view_words(self) -> str:
        """Both views in words."""
        return f"images: {self.image.view_words}; texts: {self.text.view_words}"

    def make_views(self, items: Any, views: Sequence[Any], rng: np.random.Generator) -> Sequence[Views]:
        """Return a tensor of images for each view of images, tokens for each of texts."""
        return [self._make(items, view, rng) for view in views]

    def _make(self, items: Any, view: Any, rng: np.random.Generator) -> Views:
        texts = isinstance(view, TextView) or (isinstance(view, AnySide) and isinstance(items[0], str | tuple)
                                               and not isinstance(items[0], ImageText))  # fmt: skip
        if texts:
            made = view if isinstance(view, TextView) else self.text.evaluation_view()
            return self.text.make_views([_text(item) for item in items], [made], rng)[0]
        shown = view if isinstance(view, ImageView) else self.image.evaluation_view()
        return self.image.make_views([_image(item) for item in items], [shown], rng)[0]

    def build_encoder(
        self, name: str, options: Mapping[str, Any], *, pretrained: bool = False
    ) -> tuple[nn.Module, EncoderSpec]:
        """Build both sides and the maps into their space; ``pretrained`` is for the images' side."""
        named = {side: str(options.get(side) or "auto") for side in ("image", "text")}
        for side, own in (("image", self.image), ("text", self.text)):
            named[side] = own.default_encoder if named[side] == "auto" else named[side]
        image, image_spec = self.image.build_encoder(
            named["image"], options.get("image_options") or {}, pretrained=pretrained
        )
        text, text_spec = self.text.build_encoder(named["text"], options.get("text_options") or {})
        from nearfar.encoders.pair import ImageTextEncoder

        sides: dict[str, Any] = {"image_spec": to_mapping(image_spec), "text_spec": to_mapping(text_spec)}
        chosen = {"image_options": dict(image_spec.options), "text_options": dict(text_spec.options)}
        checked = check_options(f"encoder {NAME}", ImageTextEncoder, {**options, **named, **chosen}, without=sides)
        encoder = ImageTextEncoder(**sides, **checked)
        encoder.image.load_state_dict(image.state_dict())
        encoder.text.load_state_dict(text.state_dict())
        if encoder.image_init:
            say(load_weights(encoder.image, encoder.image_init).line())
        spec = EncoderSpec(
            name=NAME, dim=encoder.dim, modality=NAME, options=encoder.settings(), arguments=sides,
            inputs=self.to_json(),
        )  # fmt: skip
        return encoder, spec

    def encoder_arguments(self) -> dict[str, Any]:
        """Return what a run fills in by itself."""
        return {"image_spec": {}, "text_spec": {}}

    side_names: ClassVar[tuple[str, str]] = ("image", "text")

    def sides(self, item: Any) -> tuple[NDArray[Any], str]:
        """Return the image and its caption."""
        fix = "give a manifest with the columns path and caption"
        require(isinstance(item, ImageText), "pairs", "items", "images with captions", "one side alone", fix,
                error=DataError)  # fmt: skip
        return item.image, item.text

    def raw(self, items: Any) -> NDArray[np.float32]:
        """Return pixels of images, hashed word counts of texts."""
        if isinstance(items[0], ImageText) or not isinstance(items[0], str | tuple):
            return self.image.raw([_image(item) for item in items])
        return self.text.raw(items)

    def keep(self, source: Source, **settings: Any) -> DecodedSource:
        """Decode every image once, and keep its caption."""
        whole, _ = origin(source, 0)
        if not isinstance(whole, CaptionSource):
            return self.image.keep(source, **settings)
        kept = self.image.keep(_Images(source), **settings)
        places = {name: row for row, name in enumerate(source.ids)}
        captions = [_caption(source, places[name]) for name in kept.ids]
        skipped = [*whole.skipped, *kept.skipped]
        without = sum(item.reason == "no caption" for item in whole.skipped)
        if without:
            say(f"{without} images have no caption, and were left out")
        return DecodedSource(
            CaptionSource(kept, captions), skipped, kept.where, notes={"cut": whole.cut} if whole.cut else None
        )

    def thumbnail(self, item: Any) -> NDArray[Any]:
        """Return the image, or a text as a picture."""
        if isinstance(item, str) or (isinstance(item, tuple) and not isinstance(item, ImageText)):
            return text_picture(_text(item))
        return _image(item)

    def words(self, item: Any) -> str:
        """Return the caption."""
        return _text(item) if isinstance(item, str | tuple) else ""

    def seen(self, items: Sequence[Any], views: Sequence[Any], rng: np.random.Generator) -> Seen:
        """Return images, what becomes of them, and their captions as drawn texts."""
        seen = self.image.seen([_image(item) for item in items], [v for v in views if isinstance(v, ImageView)], rng)
        made, captions = list(seen.views), list(seen.captions)
        for view in (v for v in views if isinstance(v, TextView)):
            tokens = self.text.make_views([_text(item) for item in items], [view], rng)[0]
            drawn = [self.text.picture(tokens, row) for row in range(len(items))]
            made.append([np.repeat(picture, 3, axis=2).astype(np.float32) / 255 for picture in drawn])
            captions.append([f"caption {row + 1}" for row in range(len(items))])
        return Seen(seen.originals, made, captions, seen.value_range)

    def remedies(self, views: Sequence[Any]) -> list[str]:
        """Return those of the images."""
        return self.image.remedies([view for view in views if isinstance(view, ImageView)])

    def preprocessing(self) -> dict[str, Any]:
        """Return both sides' preprocessing."""
        return {"image": self.image.preprocessing(), "text": self.text.preprocessing()}


class _Images:
    """The images of a source of images with captions."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.ids, self.labels, self.class_names = source.ids, source.labels, source.class_names

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int) -> NDArray[Any]:
        """Return one image."""
        whole, row = origin(self.source, index)
        assert isinstance(whole, CaptionSource)
        return np.asarray(whole.images.read(row))

    def fingerprint(self) -> str | None:
        """The source's."""
        return self.source.fingerprint()


class ImageTextModality(Modality):
    """Images with captions."""

    name = NAME
    items = "images with captions"
    labels_fix = "add a column label to the manifest"
    query = "a text, an image file, or a folder of images"
    options = ImageTextOptions
    inputs = ImageTextInputs
    fixed = frozenset({"size", "mean", "std", "length", "column"})
    given = ("image_spec", "text_spec")

    def recognises(self, seen: Glance) -> bool:
        """Whether there is a manifest with a column of image files and one of captions."""
        names = {name.strip().lower() for name in seen.columns}
        place = next((name for name in seen.columns if name.strip().lower() in PATHS), None)
        texts = bool(names & set(CAPTIONS))
        return place is not None and texts and seen.path_suffix(place) in SUFFIXES

    def open_splits(self, data: Any, options: Mapping[str, Any]) -> dict[str, Source]:
        """Open a manifest with captions, or one side alone: images, or texts.

        Texts are files of lines, and tables without a column of image files; everything else is images.
        """
        if isinstance(data, str | os.PathLike) and Path(data).is_file():
            suffix, encoding = suffix_of(Path(data)), options.get("encoding") or "utf-8"
            if suffix in (".csv", ".tsv", ".jsonl", ".parquet"):
                return _open_table(data, options, encoding)
            if holds_lines(suffix):
                return open_text_splits(data, encoding=encoding)
        if isinstance(data, list) and data and isinstance(data[0], str):
            return open_text_splits(data)
        return open_splits(data, channels=options.get("channels"))

    def check_encoder(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Check the encoder of both; the sides are its settings."""
        fix = f"name the sides: --encoder-options.image {name}, --encoder-options.text text-small"
        require(name == NAME, "encoder", "name", NAME, repr(name), fix, error=ConfigError)
        return super().check_encoder(name, options)

    def fit(self, source: Source, options: Mapping[str, Any]) -> ImageTextInputs:
        """Look at the first images for size and channels, and at all captions for the tokenizer."""
        reading = from_mapping(ImageTextOptions, options, "data of image-text")
        whole, _ = origin(source, 0)
        fix = "give a manifest with the columns path and caption"
        require(isinstance(whole, CaptionSource), "data of image-text", "items", "images with captions",
                "one side alone", fix, error=DataError)  # fmt: skip
        image = IMAGE.fit(_Images(source), {key: options.get(key) for key in ("image_size", "channels")})
        keys = {field.name for field in dataclasses.fields(TextOptions)} & set(to_mapping(reading))
        texts = [_caption(source, row) for row in range(len(source))]
        text = TEXT.fit(TextSource([(text,) for text in texts]), {key: getattr(reading, key) for key in keys})
        reading = dataclasses.replace(reading, image_size=image.image_size, channels=image.channels)
        return ImageTextInputs(image=image, text=text, read_with=reading)

    def views(self, name: str) -> tuple[ImageView | TextView, ...]:
        """Return the views of a name at usual sizes."""
        return _views(name, 224, 32)

    def view_names(self) -> list[str]:
        """Return ``clip`` and the images' names."""
        return ["clip", *VIEWS.names()]

    def restore(self, values: Mapping[str, Any], folder: Path | None = None) -> ImageTextInputs:
        """Restore both sides."""
        return ImageTextInputs(
            image=_image_inputs(IMAGE.restore(values["image"])),
            text=TEXT.restore(values["text"], folder),
            read_with=from_mapping(ImageTextOptions, values["reading"], "inputs of image-text"),
        )

    def open_query(self, query: Any, inputs: Inputs) -> Source:
        """Open an image file, a folder of images or a file of texts; anything else that is text is itself the query."""
        if isinstance(query, str) and not Path(query).exists():
            return TEXT.open_query(query, inputs)
        return self.open_splits(query, inputs.options)[""]


def _open_table(data: Any, options: Mapping[str, Any], encoding: str) -> dict[str, Source]:
    from nearfar.data.text_files import read_columns

    header = [name.lower() for name in read_columns(Path(data), encoding, [*PATHS, *CAPTIONS]).header]
    if any(name in header for name in PATHS):
        return open_captions(data, caption=options.get("caption"), channels=options.get("channels"), encoding=encoding)
    return open_text_splits(data, encoding=encoding)


def _views(name: str, size: int, length: int) -> tuple[ImageView, TextView]:
    """CLIP's only augmentation of images is a random crop, here of three quarters of the area or more."""
    image = ImageView(size=size, scale=(0.75, 1.0)) if name == "clip" else VIEWS.get(name)(size)[0]
    return image, TextView(length=length)


def _image_inputs(inputs: Inputs) -> ImageInputs:
    assert isinstance(inputs, ImageInputs)
    return inputs


def _image(item: Any) -> NDArray[Any]:
    return np.asarray(item.image if isinstance(item, ImageText) else item)


def _text(item: Any) -> str:
    if isinstance(item, ImageText):
        return item.text
    return item if isinstance(item, str) else str(item[0])


def _caption(source: Source, row: int) -> str:
    whole, place = origin(source, row)
    assert isinstance(whole, CaptionSource)
    return whole.captions[place]


IMAGE_TEXT = ImageTextModality()
