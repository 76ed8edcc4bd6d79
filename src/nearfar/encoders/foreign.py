"""Reading weights that somebody else wrote: nothing is unpickled but tensors and plain values."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nearfar.encoders.google import convert, is_google
from nearfar.encoders.layouts import flatten
from nearfar.errors import RunError, require

__all__ = ["read_weights"]

_FOLDER = ("encoder.safetensors", "model.safetensors")
_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".tar")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file under dotted names, on the CPU.

    Args:
        path: a run folder, a folder with ``model.safetensors``, a ``.safetensors`` file, a state dict or checkpoint of
            torch or Lightning (``.pt``, ``.pth``, ``.ckpt``, ``.bin``, ``.tar``; read with ``weights_only=True``), or
            an ``.npz`` of names and arrays, such as the variables of Google's SimCLR.

    Raises:
        RunError: when it cannot be read, or holds no tensor.
    """
    file = _file(path)
    ending = file.suffix.lower()
    must = f".safetensors, .npz, {', '.join(_PICKLES)}"
    known = ending in (".safetensors", ".npz", *_PICKLES)
    require(known, str(path), "ending", f"one of {must}", repr(ending), "write a state dict with torch.save",
            error=RunError)  # fmt: skip
    try:
        if ending == ".safetensors":
            tensors = _safetensors(file)
        elif ending == ".npz":
            tensors = _arrays(file)
        else:
            tensors = _pickled(file)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(f"{file}: cannot be read as weights ({first}); copy it again") from None
    require(bool(tensors), str(file), "content", "named tensors", "none", error=RunError)
    return tensors


def _file(path: Path) -> Path:
    if path.is_dir():
        found = [path / name for name in _FOLDER if (path / name).is_file()]
        must = f"a folder with {' or '.join(_FOLDER)}"
        require(bool(found), str(path), "folder of weights", must, "neither", "give a finished run, or a file",
                error=RunError)  # fmt: skip
        return found[0]
    require(path.is_file(), str(path), "weights", "an existing file or run folder", "none", "check the path",
            error=RunError)  # fmt: skip
    return path


def _safetensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(file))
    except SafetensorError as error:
        raise ValueError(str(error)) from None


def _arrays(file: Path) -> dict[str, Tensor]:
    with np.load(file, allow_pickle=False) as arrays:
        if is_google(arrays.files):
            return convert(arrays, str(file))
        return {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays.files}


def _pickled(file: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise RunError(
            f"{file}: content must be tensors and plain values, got objects, which are not unpickled; where you trust "
            "it, save its weights alone: torch.save(checkpoint['state_dict'], 'weights.pth')"
        ) from None
    return flatten(content) if isinstance(content, dict) else {}
