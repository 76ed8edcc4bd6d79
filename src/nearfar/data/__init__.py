"""Reading data sets, decoding them once, and handing out batches.

Sources, splits, orders and the loader know no modality; the readers of images stand in files of their own. Nothing here
may import views, encoders or torchvision; Pillow, pyarrow and torch are imported where they are used.
"""

from nearfar.data.arrays import ArraySource
from nearfar.data.images import FileSource, open_images, open_splits
from nearfar.data.picture import Kind, read_picture
from nearfar.data.source import BulkSource, ItemError, Joined, Source, Subset, relabel, take
from nearfar.data.splits import hold_out, hold_out_rows
from nearfar.data.torch_dataset import DatasetSource

__all__ = [
    "ArraySource",
    "BulkSource",
    "DatasetSource",
    "FileSource",
    "ItemError",
    "Joined",
    "Kind",
    "Source",
    "Subset",
    "hold_out",
    "hold_out_rows",
    "open_images",
    "open_splits",
    "read_picture",
    "relabel",
    "take",
]
