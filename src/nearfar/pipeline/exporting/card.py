"""The model card: what is known about an encoder from its run folder, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from nearfar._version import __version__
from nearfar.config import dump_yaml
from nearfar.evaluation import Report
from nearfar.evaluation.record import format_score
from nearfar.methods import METHODS
from nearfar.pipeline.exporting.contents import Contents

__all__ = ["model_card"]

UNRECORDED = "The folder that this was exported from does not say."


def model_card(contents: Contents, *, timm: bool) -> str:
    """Return the card as Markdown with Hugging Face's front matter.

    Only the last part of the data's path is written, and no licence: whoever publishes the model chooses it.

    Args:
        contents: the encoder and what its run says.
        timm: whether ``timm.create_model`` can load the folder by itself.
    """
    spec = contents.spec
    count = sum(parameter.numel() for parameter in contents.encoder.parameters())
    method = contents.card.get("method")
    front = {
        "library_name": "timm" if timm else "nearfar",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["nearfar", "self-supervised-learning", *([str(method)] if method else [])],
    }
    sections = [
        f"---\n{dump_yaml(front)}---\n\n# {contents.name}\n\nAn image encoder, {spec.name} with {count / 1e6:.2f} M "
        f"parameters: a picture in, a representation of {spec.dim} numbers out. Pretrained with nearfar {__version__}.",
        f"## Method\n\n{_method(method)}",
        f"## Data\n\n{_data(contents)}",
        f"## Input\n\n{_input(contents)}",
        f"## Use\n\n```python\n{_use(contents, timm)}\n```",
        f"## Numbers\n\n{_numbers(contents.reports)}",
        f"## Settings\n\n{_settings(contents.config)}",
        f"## Machine\n\n{_machine(contents.environment)}",
    ]
    return "\n\n".join(sections) + "\n"


def _method(name: Any) -> str:
    if name not in METHODS:
        return UNRECORDED if name is None else f"{name}, a method of another package."
    info = METHODS.get(name).info
    labels = "Labels were used." if info.labels else "No labels were used."
    return f"{name}: {info.summary} ({info.paper}, {info.url}). {labels}"


def _data(contents: Contents) -> str:
    config = contents.config
    if "data" not in config:
        return UNRECORDED
    parts = [f"`{PurePath(str(config['data'])).name}`"]
    parts += [f"split `{config['split']}`"] if config.get("split") else []
    parts += [f"{config['limit']} items of it, drawn by the seed"] if config.get("limit") else []
    shape = f"{contents.spec.in_channels} channels at {contents.spec.image_size} x {contents.spec.image_size} pixels"
    return f"{', '.join(parts)}; {shape}. What it shows, whom, and under which licence, is for its owner to say."


def _input(contents: Contents) -> str:
    ready = contents.preprocessing()
    return (
        f"Float32 of shape (N, {ready['channels']}, {ready['center_crop']}, {ready['center_crop']}). Values of pixels "
        f"in [0, 1]; the shorter side resized to {ready['resize_shorter_side']} pixels ({ready['interpolation']}), the "
        f"centre cropped to {ready['center_crop']}; then minus mean {ready['mean']}, divided by std {ready['std']}. "
        "The model does none of this itself; `preprocessor_config.json` says the same."
    )


def _use(contents: Contents, timm: bool) -> str:
    if timm:
        return 'import timm\n\nmodel = timm.create_model("local-dir:FOLDER", pretrained=True).eval()'
    spec = contents.spec
    if spec.name == "custom":
        return (
            "import nearfar\n\nencoder = ...  # the module that was trained, freshly built\n"
            'nearfar.load_weights(encoder, "FOLDER")'
        )
    arguments = f"in_channels={spec.in_channels}, image_size={spec.image_size}, options={dict(spec.options)!r}"
    return (
        "import nearfar\nfrom nearfar.encoders import build\n\n"
        f'encoder, spec = build("{spec.name}", {arguments})\nnearfar.load_weights(encoder, "FOLDER")\nencoder.eval()'
    )


def _numbers(reports: Mapping[str, Report]) -> str:
    if not reports:
        return "None: `nearfar evaluate RUN DATA` before the export writes them here."
    texts = []
    for name, report in reports.items():
        subject = "This encoder" if name == "evaluation.json" else PurePath(report.subject).name
        lines = [f"### {subject}\n\n{report.train}; {report.test}.\n", "| score | value | protocol |", "|---|---|---|"]
        for result in report.results:
            for score in result.scores:
                note = f" ({score.note})" if score.note else ""
                lines.append(f"| {_cell(score.name)} | {format_score(score)}{_cell(note)} | {_cell(result.sentence)} |")
        texts.append("\n".join(lines))
    return "\n\n".join(texts)


def _settings(config: Mapping[str, Any]) -> str:
    if not config:
        return UNRECORDED
    shown = {key: value for key, value in config.items() if key not in ("data", "format")}
    if shown.get("init"):
        shown["init"] = PurePath(str(shown["init"])).name
    return f"```yaml\n{dump_yaml(shown)}```"


def _machine(environment: Mapping[str, Any]) -> str:
    if not environment:
        return UNRECORDED
    packages = environment.get("packages") or {}
    rows = {
        "processor": environment.get("cpu"),
        "GPUs": ", ".join(environment.get("gpus") or []) or "none",
        "Python": environment.get("python"),
        **{name: version for name, version in packages.items() if version},
    }
    return "\n".join(f"- {name}: {value}" for name, value in rows.items() if value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
