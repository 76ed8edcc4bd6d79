"""One frozen record per modality: its reader, its views, its encoder. The only place where a modality is put together.

May import data, views and encoders; knows neither methods nor training.
"""

from nearfar.modalities.base import Modality
from nearfar.modalities.image import IMAGE

__all__ = ["IMAGE", "Modality"]
