"""Two encoders, one of images and one of texts, each with a linear map into one space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.config import from_mapping
from nearfar.encoders.base import Encoder
from nearfar.encoders.build import EncoderSpec, rebuild
from nearfar.errors import require

__all__ = ["ImageTextEncoder"]


class ImageTextEncoder(Encoder):
    """x = W f(image) or y = V g(text), on the unit sphere: a tensor goes to one side, a mapping to the other.

    Args:
        image_spec: the specification of the images' encoder, as plain values.
        text_spec: that of the texts' encoder.
        image: the name of the images' encoder, as for a run on images; auto takes what fits their size.
        text: the name of the texts' encoder: text-small, or transformers.
        image_options: settings of the images' encoder.
        text_options: settings of the texts' encoder.
        image_init: start the images' side from the weights in this file or run folder.
        output_dim: the length of a representation.

    Raises:
        InputError: when ``output_dim`` is below 1.
        ConfigError: when an encoder cannot be built.
    """

    modality: ClassVar[str] = "image-text"

    def __init__(
        self,
        *,
        image_spec: dict[str, Any],
        text_spec: dict[str, Any],
        image: str = "auto",
        text: str = "auto",
        image_options: dict[str, Any] | None = None,
        text_options: dict[str, Any] | None = None,
        image_init: str = "",
        output_dim: int = 128,
    ) -> None:
        super().__init__()
        require(output_dim >= 1, "ImageTextEncoder", "output_dim", ">= 1", output_dim)
        self.dim = self.output_dim = output_dim
        self.names = {"image": image, "text": text}
        self.image_options, self.text_options, self.image_init = image_options, text_options, image_init
        self.image = rebuild(from_mapping(EncoderSpec, image_spec, "encoder of images"))
        self.text = rebuild(from_mapping(EncoderSpec, text_spec, "encoder of texts"))
        self.image_map = nn.Linear(int(self.image.dim), output_dim, bias=False)  # type: ignore[arg-type]
        self.text_map = nn.Linear(int(self.text.dim), output_dim, bias=False)  # type: ignore[arg-type]

    def forward(self, x: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Return (N, output_dim) unit vectors of images (N, C, H, W), or of texts' tokens, (N, L) each."""
        z = self.image_map(self.image(x)) if isinstance(x, Tensor) else self.text_map(self.text(x))
        return F.normalize(z.float(), dim=-1)

    def settings(self) -> dict[str, Any]:
        """Return what was chosen, as the run's settings keep it."""
        return {
            **self.names,
            "image_options": dict(self.image_options or {}),
            "text_options": dict(self.text_options or {}),
            "image_init": self.image_init,
            "output_dim": self.output_dim,
        }
