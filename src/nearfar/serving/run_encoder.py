"""From a run to the records of the service: the only place here that knows modalities."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.errors import ConfigError
from nearfar.serving.encoding import Encoder, Kind
from nearfar.serving.media import EDGE, Content, Media, SourceMedia, encoded
from nearfar.serving.pictures import MEDIA_TYPES, open_picture
from nearfar.serving.settings import Limits

if TYPE_CHECKING:
    from nearfar.modalities import Inputs
    from nearfar.pipeline.features import Subject

__all__ = ["encoder_of", "media_of", "open_run"]

Read = Callable[[bytes], Any]

SOUND_TYPES = ("audio/wav", "audio/flac", "audio/ogg", "audio/mpeg", "audio/aiff")


def encoder_of(subject: Subject, limits: Limits) -> Encoder:
    """Return what turns the bodies of requests into vectors.

    Raises:
        ConfigError: when items of the run's modality do not come as the body of a request.
    """
    from nearfar.pipeline.embedder import embedder

    inputs = subject.inputs
    kind, read, types = _reader(inputs, limits)

    def thumbnail(content: bytes) -> bytes:
        return encoded(inputs.thumbnail(read(content)), EDGE).data

    return Encoder(
        kind, subject.name, subject.spec.dim, subject.fingerprint, read, embedder(subject), types, thumbnail
    )  # fmt: skip


def _reader(inputs: Inputs, limits: Limits) -> tuple[Kind, Read, tuple[str, ...]]:
    """Return a modality's name, the reader of its items from bytes, and the types of the bytes.

    The readers here look at bytes alone: a modality's own `open_query` would take a text for a path.
    """
    options = inputs.options
    if inputs.modality == "image":
        channels = int(options["channels"])
        return "image", lambda content: open_picture(content, pixels=limits.pixels, channels=channels), MEDIA_TYPES
    if inputs.modality == "audio":
        return "audio", _sounds(options), SOUND_TYPES
    if inputs.modality == "text":
        return "text", lambda content: (content.decode("utf-8", "replace"),), ()
    must, fix = "one of images, sounds or texts", "serve without --run: search by vector and by id"
    raise ConfigError(f"serve: the run must be {must}, got one of {inputs.modality}; {fix}")


def _sounds(options: Any) -> Read:
    from nearfar.data.sound import LONGEST, read_sound

    rate, longest = int(options["rate"]), float(options.get("longest") or LONGEST)

    def read(content: bytes) -> Any:
        return read_sound(io.BytesIO(content), rate=rate, longest=longest, name="sound").samples

    return read


def media_of(data: Any, subject: Subject | None) -> Media:
    """Open the items that were embedded, to be shown as their modality shows them.

    Raises:
        DataError: when there are none.
    """
    from nearfar.modalities import choose

    modality = choose("auto", data) if subject is None else subject.modality
    options = {} if subject is None else subject.inputs.reading("serve", {})
    source = modality.open_splits(data, options)[""]
    inputs = modality.fit(source, options) if subject is None else subject.inputs

    def play(item: Any) -> Content | None:
        media = inputs.media(item)
        return None if media is None else Content(media.kind, media.content)

    return SourceMedia(source, inputs.modality, picture=inputs.thumbnail, play=play)


def open_run(run: str | Path) -> Subject:
    """Open a run.

    Raises:
        RunError: when there is no such run or encoder.
    """
    from nearfar.pipeline.features import open_subject

    return open_subject(run)
