"""What turns a query into a vector: a record that each modality fills in, so that the service knows none of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import ArrayLike

__all__ = ["Encoder", "Kind"]

Kind = Literal["image", "audio", "text", "table"]


@dataclass(frozen=True)
class Encoder:
    """An encoder with its reader.

    Attributes:
        kind: the modality, by which the service names its routes.
        name: of the run, for people.
        dim: the length of a vector.
        fingerprint: of the weights; the index must have the same.
        read: from the bytes of a request to an item; raises `Refused` or `DataError` on what it cannot read.
        embed: from items to (N, dim) vectors; called from one thread at a time.
        media_types: what a request may hold.
        thumbnail: from the bytes of a request to an encoded small picture that is kept with the item.
    """

    kind: Kind
    name: str
    dim: int
    fingerprint: str
    read: Callable[[bytes], Any]
    embed: Callable[[Sequence[Any]], ArrayLike]
    media_types: tuple[str, ...]
    thumbnail: Callable[[bytes], bytes | None] = lambda content: None
