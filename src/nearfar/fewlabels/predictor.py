"""An encoder with a classifier on top, and how both are kept in a run folder.

    classifier.safetensors    the layers kept of the projection head, then the classifier
    classifier.json           those layers, and what the outputs stand for

The encoder is in the files of every run, so that `nearfar.embed` and the others take a fine-tuned run as well.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nearfar._version import __version__
from nearfar.data import Source
from nearfar.encoders import EncoderSpec, load_encoder
from nearfar.encoders.heads import FORMAT, describe_layers, first_layers, load_layers
from nearfar.errors import RunError, require
from nearfar.fewlabels.targets import Targets
from nearfar.files import write_atomic
from nearfar.modalities import Inputs, inputs_of
from nearfar.pipeline.features import Subject, features

__all__ = ["Predictor", "has_classifier", "load_predictor", "predict", "save_classifier"]


class Predictor(nn.Module):
    """From views to outputs: encoder, some layers of the projection head, and a linear map.

    Args:
        encoder: a module with ``dim``.
        neck: the layers kept of the projection head, perhaps none.
        outputs: C, the number of classes or numbers.
    """

    def __init__(self, encoder: nn.Module, neck: nn.Sequential, outputs: int) -> None:
        super().__init__()
        self.encoder, self.neck = encoder, neck
        widths = [layer.out_features for layer in neck if isinstance(layer, nn.Linear)]
        width = widths[-1] if widths else int(encoder.dim)  # type: ignore[arg-type]
        self.classifier = nn.Linear(width, outputs)
        nn.init.zeros_(self.classifier.weight)  # every class alike at first, as in SimCLR
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Any) -> Tensor:
        """Return (N, C) outputs: logits, or scaled numbers."""
        outputs: Tensor = self.head(self.encoder(x))
        return outputs

    @property
    def head(self) -> nn.Sequential:
        """All that follows the encoder."""
        return nn.Sequential(*self.neck, self.classifier)


def save_classifier(folder: Path, model: Predictor, targets: Targets) -> None:
    """Write the two files of the classifier."""
    from safetensors.torch import save

    head = model.head
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in head.state_dict().items()}
    card = {
        "format": FORMAT,
        "nearfar": __version__,
        "layers": describe_layers(head),
        "targets": targets._asdict(),
    }
    write_atomic(folder / "classifier.safetensors", save(weights))
    write_atomic(folder / "classifier.json", json.dumps(card, indent=2, ensure_ascii=False))


def has_classifier(folder: Path) -> bool:
    """Whether a run can answer with classes or numbers."""
    return (folder / "classifier.json").is_file()


def load_predictor(
    folder: str | Path, module: nn.Module | None = None
) -> tuple[Predictor, EncoderSpec, Inputs, Targets]:
    """Read a fine-tuned or distilled run, in eval mode.

    Raises:
        RunError: when it has no classifier, or a file is damaged.
    """
    folder = Path(folder)
    fix = "give the --out of nearfar finetune or nearfar distill"
    require(has_classifier(folder), str(folder), "run", "one with a classifier", "none", fix, error=RunError)
    encoder, spec = load_encoder(folder, module)
    head = load_layers(folder / "classifier.json", folder / "classifier.safetensors")
    try:
        values = json.loads((folder / "classifier.json").read_text(encoding="utf-8"))["targets"]
        targets = Targets(values["task"], tuple(values["names"]), tuple(values["offset"]), tuple(values["scale"]))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder / 'classifier.json'}: cannot be read ({error}); copy the run again") from None
    neck = first_layers(head, sum(isinstance(layer, nn.Linear) for layer in head) - 1)
    model = Predictor(encoder, neck, targets.outputs)
    model.classifier.load_state_dict(head[-1].state_dict())
    return model.eval(), spec, inputs_of(spec, folder), targets


def predict(
    model: Predictor, inputs: Inputs, source: Source, *, threads: int | None, accelerator: Any, description: str
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Return the rows that could be read, their outputs (N, C) and their representations (N, dim), on the scored view.

    The model is left on the CPU, in eval mode.
    """
    model.eval()
    spec = inputs.spec(description, int(model.encoder.dim))  # type: ignore[arg-type]
    subject = Subject(description, model.encoder, spec, "", inputs)
    rows, vectors = features(subject, source, threads=threads, accelerator=accelerator, description=description)
    model.cpu()
    with torch.inference_mode():
        outputs: NDArray[np.float32] = model.head(torch.from_numpy(vectors)).float().numpy()
    return rows, outputs, vectors
