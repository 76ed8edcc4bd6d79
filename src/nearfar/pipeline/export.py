"""Leaving: a run's encoder as files for other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from torch import nn

from nearfar.errors import ConfigError, RunError, nearest, require
from nearfar.files import write_atomic
from nearfar.pipeline.exporting import Contents, read_run
from nearfar.pipeline.inputs import save_with_inputs
from nearfar.progress import say

__all__ = ["FORMATS", "export"]

Format = Literal["safetensors", "timm", "torch-export", "onnx", "huggingface"]

FORMATS: dict[str, tuple[str, ...]] = {
    "safetensors": (),
    "timm": (".safetensors", ".pth", ".pt"),
    "torch-export": (".pt2",),
    "onnx": (".onnx",),
    "huggingface": (),
}
"""The formats with the endings of their file; without any they are folders."""

IMAGES_ONLY = ("timm", "huggingface")
"""Formats that have words for images only."""

HUB = ("config.json", "model.safetensors", "preprocessor_config.json", "README.md")
OWN = ("encoder.safetensors", "encoder.json")


def export(
    run: str | Path,
    *,
    format: Format,  # noqa: A002 - the flag's name
    out: str | Path,
    overwrite: bool = False,
    module: nn.Module | None = None,
) -> Path:
    """Write a run's encoder for another program. Nothing is uploaded.

    No format normalises pictures: what goes in is what goes into the encoder, and every export says which mean,
    deviation, size and crop that needs.

    - ``safetensors``: a folder with ``encoder.safetensors`` and ``encoder.json``, which `nearfar.load_encoder` reads.
    - ``timm``: one state dict with the names of the timm model, as ``.safetensors`` or, by ``torch.save``, ``.pth``;
      ``OUT.json`` beside it says how to build the model.
    - ``torch-export``: a ``.pt2`` program with a free batch, which needs neither nearfar nor timm; ``OUT.json`` beside.
    - ``onnx``: an ``.onnx`` model with a free batch, compared with torch by onnxruntime; needs ``nearfar[onnx]``.
    - ``huggingface``: a folder with ``config.json``, ``model.safetensors``, ``preprocessor_config.json`` and a model
      card of what the run knows: data, method, settings, and the numbers of ``nearfar evaluate``.

    Args:
        run: a run folder, or any folder with ``encoder.safetensors`` and ``encoder.json``.
        format: the format.
        out: the file or folder to write.
        overwrite: replace files that are there; no other file of a folder is touched.
        module: a freshly built encoder of your own, for a run that trained one.

    Returns:
        The path of the file or folder.

    Raises:
        ConfigError: on an unknown format, a wrong ending, or ``timm`` for an encoder that is no timm model.
        MissingExtraError: when ONNX's packages are not installed.
        RunError: when there is no encoder, ``out`` exists, or a graph cannot be made.
    """
    if format not in FORMATS:
        raise ConfigError(f"export: format must be known, got {format!r}; {nearest(format, FORMATS)}")
    path = Path(out)
    names = _names(format, path)
    folder = path if names in (HUB, OWN) else path.parent
    _check_free(path, folder, names, overwrite=overwrite)
    contents = read_run(Path(run), module)
    only = format not in IMAGES_ONLY or contents.spec.modality == "image"
    must, got = "one for images", f"one for {contents.spec.modality}"
    require(only, f"export --format {format}", "the encoder", must, got, "take safetensors", error=ConfigError)
    if format == "safetensors":
        folder.mkdir(parents=True, exist_ok=True)
        more = {key: value for key, value in contents.card.items() if key in ("method", "epochs")}
        more["preprocessing"] = contents.preprocessing()
        save_with_inputs(folder, contents.encoder, contents.spec, contents.inputs, more)
    else:
        files = _files(format, contents, path.name)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_atomic(folder / name, content)
    image = contents.spec.modality == "image"
    how = f"; pictures are to be normalised with mean {contents.spec.mean} and std {contents.spec.std}" if image else ""
    say(f"done: {path}{how}")
    return path


def _names(form: str, path: Path) -> tuple[str, ...]:
    """Return the names of the files to write, checked against the ending that was asked for."""
    endings = FORMATS[form]
    if not endings:
        return HUB if form == "huggingface" else OWN
    known, must = path.suffix.lower() in endings, " or ".join(endings)
    require(known, f"export --format {form}", "ending of --out", must, repr(path.suffix), error=ConfigError)
    return (path.name, f"{path.name}.json")


def _check_free(path: Path, folder: Path, names: tuple[str, ...], *, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: must be a folder, got a file; choose another --out")
    if path.is_dir() and folder != path:
        raise RunError(f"{path}: must be a file, got a folder; choose another --out")
    taken = [name for name in names if (folder / name).exists()]
    if taken and not overwrite:
        raise RunError(f"{folder / taken[0]}: already exists; choose another --out, or add --overwrite")


def _files(form: str, contents: Contents, name: str) -> Mapping[str, bytes | str]:
    if form in ("timm", "huggingface"):
        from nearfar.pipeline.exporting.weights import hub_files, timm_files

        return timm_files(contents, name) if form == "timm" else hub_files(contents)
    from nearfar.pipeline.exporting.graphs import onnx_bytes, program_bytes

    graph = onnx_bytes(contents) if form == "onnx" else program_bytes(contents)
    return {name: graph, f"{name}.json": json.dumps(contents.description(), indent=2)}
