"""From a view to a representation h.

Imports torch and the layers below; timm only where one of its models is asked for.
"""

from nearfar.encoders.base import Encoder
from nearfar.encoders.build import ENCODERS, EncoderSpec, build, names
from nearfar.encoders.files import fingerprint, load_encoder, save_encoder

__all__ = ["ENCODERS", "Encoder", "EncoderSpec", "build", "fingerprint", "load_encoder", "names", "save_encoder"]
