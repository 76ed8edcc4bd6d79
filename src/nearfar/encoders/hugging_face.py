"""Any transformer of Hugging Face's library that reads tokens, as an encoder; imported only where one is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nearfar.encoders.base import Encoder
from nearfar.encoders.hub import build_model, missing, published_model
from nearfar.encoders.text import Pooling, pool
from nearfar.errors import ConfigError, RunError, extra, require

__all__ = ["TransformersEncoder", "read_tokenizer"]


class TransformersEncoder(Encoder):
    """A model of ``transformers.AutoModel`` and a pooling of its last states.

    Args:
        vocabulary: number of tokens.
        length: the most tokens of a text.
        architecture: the kind of model, as its ``config.json`` has it under ``model_type``: bert, roberta, gpt2, ...
        config: settings of the model, as in ``config.json``; what is missing is the library's default (for BERT 12
            layers of 768, which is much for two cores).
        pooling: how tokens become one vector: mean, cls, or last (for models that read from left to right).

    Raises:
        MissingExtraError: when ``transformers`` is not installed.
        ConfigError: when there is no such architecture, or its configuration cannot be used.
    """

    modality: ClassVar[str] = "text"

    def __init__(
        self,
        *,
        vocabulary: int = 8192,
        length: int = 64,
        architecture: str = "bert",
        config: dict[str, Any] | None = None,
        pooling: Pooling = "mean",
    ) -> None:
        super().__init__()
        self.vocabulary, self.length, self.architecture, self.pooling = vocabulary, length, architecture, pooling
        self.model, made = build_model(
            architecture, {"vocab_size": vocabulary, **(config or {})}, encoder="transformers"
        )
        self.config = made.to_dict()
        for unused in ("pooler",):  # a dense layer on top that no pooling here reads; no gradient would reach it
            if isinstance(getattr(self.model, unused, None), nn.Module):
                setattr(self.model, unused, None)
        dim = getattr(made, "hidden_size", None)
        require(isinstance(dim, int), f"encoder {architecture}", "config.hidden_size", "a number", dim,
                "take a model of texts", error=ConfigError)  # fmt: skip
        self.dim = int(dim or 0)

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        """Return h of shape (N, dim) for ``input_ids`` and ``attention_mask``, both (N, L)."""
        mask = x["attention_mask"]
        states = self.model(input_ids=x["input_ids"], attention_mask=mask).last_hidden_state
        h = pool(states, mask, self.pooling)
        return h.float() if h.dtype in (torch.bfloat16, torch.float16) else h

    def load(self, name: str) -> None:
        """Take the weights of a local folder or a hub name.

        Raises:
            RunError: when they cannot be had, or do not fit.
        """
        found = published_model(name)
        own, theirs = self.model.state_dict(), found.state_dict()
        lacking = [key for key in own if key not in theirs]
        require(not lacking, str(name), "weights", "of the architecture in its config.json", f"none for {lacking[:3]}",
                error=RunError)  # fmt: skip
        self.model.load_state_dict({key: theirs[key] for key in own})


def read_tokenizer(name: str) -> tuple[Any, int, bool]:
    """Return the ``tokenizers.Tokenizer`` of a model, the number of its padding token, and whether it pads on the left.

    Raises:
        RunError: when there is none, or none that ``tokenizers`` runs.
    """
    library: Any = extra("transformers", "text", f"model {name}")
    try:
        found = library.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except Exception as error:
        raise RunError(missing(name, "tokenizer", error)) from None
    inner = getattr(found, "backend_tokenizer", None)
    require(inner is not None, str(name), "tokenizer", "one that tokenizers runs", type(found).__name__,
            "take a model with tokenizer.json", error=RunError)  # fmt: skip
    pad = found.pad_token_id if found.pad_token_id is not None else (found.eos_token_id or 0)
    return inner, int(pad), found.padding_side == "left"
