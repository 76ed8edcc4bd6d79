"""A calibration is kept with its index: in the index's own description, whichever the back end."""

from __future__ import annotations

from nearfar.errors import InputError, RunError
from nearfar.evaluation.distance_calibration import Calibration
from nearfar.indexing import Index

__all__ = ["keep_calibration", "kept_calibration"]


def keep_calibration(index: Index, calibration: Calibration) -> None:
    """Store a calibration with an opened index, in place of one that is there, and save it where it has a folder.

    Raises:
        RunError: when the file system or the database refuses.
    """
    index.calibration = calibration.to_mapping()
    if not index.lasting and index.path is not None:
        index.save()


def kept_calibration(index: Index) -> Calibration | None:
    """Return the calibration of an index, or None when it has none.

    Raises:
        RunError: when what is there cannot be read.
    """
    if index.calibration is None:
        return None
    try:
        return Calibration.from_mapping(index.calibration)
    except InputError as error:
        raise RunError(f"index {index.path or ''}: its calibration cannot be used ({error}); calibrate again") from None
