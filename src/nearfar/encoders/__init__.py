"""From a view to a representation h.

Imports torch and the layers below; timm only where one of its models is asked for.
"""

from nearfar.encoders.base import Encoder
from nearfar.encoders.build import ENCODERS, EncoderSpec, build, modality_of, names, rebuild
from nearfar.encoders.files import fingerprint, load_encoder, save_encoder
from nearfar.encoders.google_folder import import_google
from nearfar.encoders.heads import first_layers, load_head, save_head
from nearfar.encoders.loading import LoadReport, load_weights
from nearfar.encoders.stages import freeze_stages

__all__ = [
    "ENCODERS",
    "Encoder",
    "EncoderSpec",
    "LoadReport",
    "build",
    "fingerprint",
    "first_layers",
    "freeze_stages",
    "import_google",
    "load_encoder",
    "load_head",
    "load_weights",
    "modality_of",
    "names",
    "rebuild",
    "save_encoder",
    "save_head",
]
