"""Reading data sets, decoding them once, and handing out batches.

Sources, splits, orders and the loader know no modality; the readers of images stand in files of their own. Nothing here
may import views, encoders or torchvision; Pillow, pyarrow and torch are imported where they are used.
"""

from nearfar.data.arrays import ArraySource
from nearfar.data.batch import Batch, Views, concat
from nearfar.data.decode import DecodedSource, decode_all
from nearfar.data.glance import ArrayFact, Glance, glance
from nearfar.data.grouped import Apart, ClassBalanced, Hierarchical, Together
from nearfar.data.images import FileSource, open_images, open_splits
from nearfar.data.labels import encode_labels
from nearfar.data.loader import Loader, MakeViews
from nearfar.data.order import Balanced, Nearby, Order, Sequential, Shuffled
from nearfar.data.picture import Kind, read_picture
from nearfar.data.relations import RelatedSource, Relation, Relations, read_relations
from nearfar.data.sampling import SAMPLERS, Rows, build_order
from nearfar.data.shards import PackedSource, open_shards
from nearfar.data.skipped import MOST_BROKEN, Skipped, check_skipped, write_skipped
from nearfar.data.source import (
    BulkSource,
    ItemError,
    Joined,
    Source,
    Subset,
    TargetSource,
    check_source,
    digest,
    groups_of,
    relabel,
    take,
)
from nearfar.data.splits import hold_out, hold_out_rows
from nearfar.data.torch_dataset import DatasetSource

__all__ = [
    "MOST_BROKEN",
    "SAMPLERS",
    "Apart",
    "ArrayFact",
    "ArraySource",
    "Balanced",
    "Batch",
    "BulkSource",
    "ClassBalanced",
    "DatasetSource",
    "DecodedSource",
    "FileSource",
    "Glance",
    "Hierarchical",
    "ItemError",
    "Joined",
    "Kind",
    "Loader",
    "MakeViews",
    "Nearby",
    "Order",
    "PackedSource",
    "RelatedSource",
    "Relation",
    "Relations",
    "Rows",
    "Sequential",
    "Shuffled",
    "Skipped",
    "Source",
    "Subset",
    "TargetSource",
    "Together",
    "Views",
    "build_order",
    "check_skipped",
    "check_source",
    "concat",
    "decode_all",
    "digest",
    "encode_labels",
    "glance",
    "groups_of",
    "hold_out",
    "hold_out_rows",
    "open_images",
    "open_shards",
    "open_splits",
    "read_picture",
    "read_relations",
    "relabel",
    "take",
    "write_skipped",
]
