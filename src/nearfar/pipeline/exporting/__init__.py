"""The ways an encoder leaves: files for nearfar, timm, torch, ONNX and Hugging Face's hub; nothing is sent."""

from nearfar.pipeline.exporting.contents import Contents, read_run

__all__ = ["Contents", "read_run"]
