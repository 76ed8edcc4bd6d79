"""From a run to the records of the service: the only place here that knows modalities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.data import open_images
from nearfar.serving.encoding import Encoder
from nearfar.serving.media import ImageMedia, Media
from nearfar.serving.pictures import MEDIA_TYPES, open_picture
from nearfar.serving.settings import Limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["open_encoder", "open_media"]


def open_encoder(run: str | Path, limits: Limits) -> Encoder:
    """Open what embedded an index.

    Raises:
        RunError: when there is no such run or encoder.
    """
    from nearfar.pipeline.embedder import embedder
    from nearfar.pipeline.features import open_subject

    subject = open_subject(run)

    def read(content: bytes) -> NDArray[Any]:
        return open_picture(content, pixels=limits.pixels, channels=subject.spec.in_channels)

    return Encoder("image", subject.name, subject.spec.dim, subject.fingerprint, read, embedder(subject), MEDIA_TYPES)


def open_media(data: Any) -> Media:
    """Open the items that were embedded, to be shown.

    Raises:
        DataError: when there are none.
    """
    return ImageMedia(open_images(data))
