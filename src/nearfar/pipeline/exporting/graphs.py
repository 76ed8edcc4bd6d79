"""An encoder as a graph that runs without its Python code: a program of torch.export, and ONNX.

The batch is free, the picture's sides are those of the training. Normalisation is not part of the graph: the same
numbers go in as into the encoder itself, and the description beside and inside the file says what they are. Every
graph is run here on two batch sizes and compared with the encoder before it is written.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from nearfar.errors import RunError, extra, require
from nearfar.pipeline.exporting.contents import Contents

__all__ = ["TOLERANCE", "onnx_bytes", "program_bytes"]

TOLERANCE = 1e-4
"""How far a graph's numbers may be from the encoder's, relative to the largest of them (and to 1 at least)."""

MOST_BYTES = 2**31 - 1
"""A protocol buffer, and so an ONNX file in one piece, holds no more."""


def program_bytes(contents: Contents) -> bytes:
    """Return a ``.pt2`` program; ``torch.export.load(file).module()`` runs it.

    Raises:
        RunError: when torch cannot trace the encoder, or the program gives other numbers.
    """
    program = _traced(contents)
    _compare(contents, program.module(), "torch-export")
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={"nearfar.json": json.dumps(contents.description())})
    return buffer.getvalue()


def onnx_bytes(contents: Contents) -> bytes:
    """Return an ONNX model with input ``images``, output ``embedding`` and the description in its metadata.

    Raises:
        MissingExtraError: when onnx, onnxscript or onnxruntime is not installed.
        RunError: when the encoder cannot be written as ONNX, or onnxruntime gives other numbers.
    """
    for module in ("onnx", "onnxscript", "onnxruntime"):
        extra(module, "onnx", "export --format onnx")
    try:
        with warnings.catch_warnings():  # of torch's own code, which nobody here can act on
            warnings.simplefilter("ignore")
            made = torch.onnx.export(
                _traced(contents), dynamo=True, input_names=["images"], output_names=["embedding"], verbose=False
            )
            assert made is not None
            model = made.model_proto
    except (RuntimeError, ValueError, TypeError) as error:
        raise RunError(_refusal("onnx", error)) from error
    for key, value in contents.description().items():
        item = model.metadata_props.add()
        item.key, item.value = f"nearfar.{key}", json.dumps(value)
    size = int(model.ByteSize())
    require(size <= MOST_BYTES, "export", "an ONNX file", "at most 2 GiB", f"{size / 2**30:.1f} GiB",
            "take torch-export", error=RunError)  # fmt: skip
    content = bytes(model.SerializeToString())
    _compare(contents, _session(content), "onnx")
    return content


def _traced(contents: Contents) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch")
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            return torch.export.export(contents.encoder, (contents.example(2),), dynamic_shapes=({0: batch},))
    except Exception as error:  # tracing somebody's module can fail in any way
        raise RunError(_refusal("torch.export", error)) from error


def _session(content: bytes) -> Callable[[Tensor], Tensor]:
    onnxruntime = extra("onnxruntime", "onnx", "export --format onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(["embedding"], {"images": x.numpy()})[0])


def _compare(contents: Contents, run: Callable[[Tensor], Tensor], form: str) -> None:
    for count in (1, 3):
        x = contents.example(count)
        with torch.no_grad():
            expected, got = contents.encoder(x), run(x)
        error = float((got - expected).abs().max() / expected.abs().max().clamp(min=1.0))
        must, fix = f"the encoder's to {TOLERANCE}", "take another format"
        require(error <= TOLERANCE, f"export --format {form}", "numbers of the graph", must, f"off by {error:.2g}", fix,
                error=RunError)  # fmt: skip


def _refusal(form: str, error: Exception) -> str:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return (
        f"export: the encoder must be one that {form} can trace, got {type(error).__name__}: {first}; take safetensors"
    )
