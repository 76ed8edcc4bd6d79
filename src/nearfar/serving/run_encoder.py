"""From a run to the records of the service: the only place here that knows modalities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.errors import ConfigError
from nearfar.serving.encoding import Encoder
from nearfar.serving.media import EDGE, Content, Media, SourceMedia, encoded
from nearfar.serving.pictures import MEDIA_TYPES, open_picture
from nearfar.serving.settings import Limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nearfar.pipeline.features import Subject

__all__ = ["encoder_of", "media_of", "open_run"]


def encoder_of(subject: Subject, limits: Limits) -> Encoder:
    """Return what turns the bodies of requests into vectors.

    Raises:
        ConfigError: when items of the run's modality do not come as the body of a request.
    """
    from nearfar.pipeline.embedder import embedder

    if subject.inputs.modality != "image":
        must, fix = "one of images", "serve without --run: search by vector and by id"
        raise ConfigError(f"serve: the run must be {must}, got one of {subject.inputs.modality}; {fix}")

    def read(content: bytes) -> NDArray[Any]:
        return open_picture(content, pixels=limits.pixels, channels=subject.spec.in_channels)

    def thumbnail(content: bytes) -> bytes:
        return encoded(read(content), EDGE).data

    return Encoder(
        "image", subject.name, subject.spec.dim, subject.fingerprint, read, embedder(subject), MEDIA_TYPES, thumbnail
    )


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
