"""From items to representations: one encoder, frozen and in eval mode, over one source."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nearfar.data import Loader, MakeViews, Source, Views
from nearfar.encoders import EncoderSpec, fingerprint, load_encoder, rebuild
from nearfar.errors import ConfigError, RunError, require
from nearfar.modalities import CUSTOM, MODALITIES, Inputs, Modality, choose, inputs_of
from nearfar.pipeline.data import open_training_data
from nearfar.progress import say, track

__all__ = ["Subject", "features", "iterate_features", "open_subject", "raw", "to_device", "untrained"]


@dataclasses.dataclass(frozen=True)
class Subject:
    """Something that turns items into vectors.

    Attributes:
        name: for tables and errors.
        encoder: the module, in eval mode; ``None`` stands for the raw items themselves: pixels, columns, words.
        spec: what builds it.
        fingerprint: changes with any weight.
        inputs: what is known about the items; taken from the specification when absent.
    """

    name: str
    encoder: nn.Module | None
    spec: EncoderSpec
    fingerprint: str
    inputs: Inputs = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Take the inputs from the specification where none are given."""
        if cast(Any, self.inputs) is None:
            object.__setattr__(self, "inputs", inputs_of(self.spec))

    @property
    def modality(self) -> Modality:
        """What it reads."""
        return MODALITIES.get(self.inputs.modality)

    @property
    def view(self) -> str:
        """The evaluation view in words."""
        return self.inputs.view_words


def open_subject(
    name: str | Path,
    *,
    data: Any = None,
    modality: str = "auto",
    options: Mapping[str, Any] | None = None,
    pretrained: bool = True,
    module: nn.Module | None = None,
) -> Subject:
    """Open a run, a folder with an encoder, or a stock encoder by name.

    Args:
        name: a run folder, or the name of an encoder.
        data: what it will read; a stock encoder that needs to know them looks at their training rows.
        modality: of the data, for a stock encoder.
        options: settings that data are read with; those of a run must not contradict it.
        pretrained: load published weights into a stock encoder that has any.
        module: a freshly built encoder of the user's own, for a run that trained one.

    Raises:
        RunError: when the folder holds no encoder, or published weights cannot be had.
        ConfigError: when there is no encoder of the name, or a setting is not the run's.
    """
    path = Path(name)
    if path.is_dir():
        encoder, spec = load_encoder(path, module)
        inputs = inputs_of(spec, path)
        inputs.reading(str(name), MODALITIES.get(spec.modality).check_options(options or {}))
        return Subject(str(name), encoder, spec, fingerprint(encoder), inputs)
    if path.exists() or os.sep in str(name):
        raise RunError(f"{name}: must be a run folder or the name of an encoder, got neither; check the path")
    return _stock(str(name), data, choose(modality, data), options or {}, pretrained)


def untrained(like: EncoderSpec, *, seed: int = 0, inputs: Inputs | None = None) -> Subject:
    """Return the encoder of a specification with fresh weights: the baseline ``random``."""
    fix = "score the baseline raw, or any other encoder"
    must = "one that can be built by name"
    require(like.name != CUSTOM, "baseline random", "encoder", must, "one of your own", fix, error=ConfigError)
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    encoder = rebuild(like)
    torch.set_rng_state(state)
    return Subject(f"untrained {like.name}", encoder.eval(), like, fingerprint(encoder), inputs or inputs_of(like))


def raw(inputs: Inputs) -> Subject:
    """Return the items themselves as a subject, the baseline ``raw``: pixels, columns, counts of words."""
    return Subject(inputs.raw_name, None, inputs.spec("raw"), inputs.raw_name.replace("raw ", ""), inputs)


def iterate_features(
    subject: Subject,
    source: Source,
    *,
    batch_size: int = 256,
    threads: int | None = None,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    description: str = "embed",
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield row numbers and their float32 representations, in the order of the source, under a progress bar."""
    device = torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")
    loader = Loader(
        source,
        _views(subject),
        batch_size=min(batch_size, len(source)),
        seed=0,
        shuffle=False,
        drop_last=False,
        on_broken="drop",
        threads=threads or min(8, os.cpu_count() or 1),
    )
    encoder = None if subject.encoder is None else subject.encoder.to(device).eval()
    for batch in track(loader, description):
        assert batch.ids is not None
        view = to_device(batch.views[0], device)
        with torch.inference_mode():
            h = view if encoder is None else encoder(view)
        assert isinstance(h, torch.Tensor)
        require(h.ndim == 2, f"encoder {subject.spec.name}", "output", "(N, dim)", tuple(h.shape))
        yield batch.ids.numpy(), h.float().cpu().numpy()
    for item in loader.skipped:
        say(f"skipped {item.id}: {item.reason}")


def features(subject: Subject, source: Source, **settings: Any) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the row numbers that could be read, and their representations (N, dim) float32."""
    rows, parts = zip(*iterate_features(subject, source, **settings), strict=True)
    return np.concatenate(rows), np.concatenate(parts)


def _views(subject: Subject) -> MakeViews:
    """Return what makes the evaluation view of a batch, or the raw items in its place."""
    inputs = subject.inputs
    if subject.encoder is None:
        return lambda items, rng: [torch.from_numpy(inputs.raw(items))]
    view = inputs.evaluation_view()
    return lambda items, rng: inputs.make_views(items, [view], rng)


def to_device(view: Views, device: torch.device) -> Views:
    """Move a view, a tensor or a mapping of them, to a device."""
    if isinstance(view, torch.Tensor):
        return view.to(device, non_blocking=True)
    return {name: part.to(device, non_blocking=True) for name, part in view.items()}


def _stock(name: str, data: Any, modality: Modality, options: Mapping[str, Any], pretrained: bool) -> Subject:
    options = modality.check_options(options)
    ready = modality.stock(name, options, pretrained=pretrained)
    if ready is not None:
        encoder, spec = ready
        return Subject(name, encoder.eval(), spec, fingerprint(encoder))
    inputs = modality.fit(open_training_data(modality, data, options, split=None), options)
    encoder, spec = inputs.build_encoder(name, {})
    return Subject(name, encoder.eval(), spec, fingerprint(encoder), inputs)
