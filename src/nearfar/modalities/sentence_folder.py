"""The files by which sentence-transformers and transformers open an encoder of texts, without any code of ours."""

from __future__ import annotations

import json
from typing import Any

from torch import nn

from nearfar._version import __version__
from nearfar.data.tokenizer import SPECIAL, Tokenizer
from nearfar.encoders.text import TextTransformer, bert_config, bert_state

__all__ = ["TRANSFORMER", "sentence_folder"]

TRANSFORMER, POOLING = "transformer", "pooling"
"""The two folders: a model as ``transformers.AutoModel`` opens it, and how its states become one vector."""


def sentence_folder(encoder: nn.Module, tokenizer: Tokenizer, length: int) -> dict[str, bytes]:
    """Return the files, by their places; none for an encoder that is not one of ours.

    ``SentenceTransformer(FOLDER)`` then gives the encoder's own representations, and
    ``AutoModel.from_pretrained(FOLDER + "/transformer")`` the model below the pooling.
    """
    from safetensors.torch import save

    if isinstance(encoder, TextTransformer):
        config, state = bert_config(encoder, pad=tokenizer.pad), bert_state(encoder)
    elif getattr(encoder, "modality", "") == "text" and hasattr(encoder, "architecture"):
        inner: Any = encoder.model
        config = inner.config.to_dict()
        config["architectures"] = [type(inner).__name__]
        state = {
            name: tensor.detach().float().cpu().clone().contiguous() for name, tensor in inner.state_dict().items()
        }
    else:
        return {}
    modules = [
        {"idx": 0, "name": "0", "path": TRANSFORMER, "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": POOLING, "type": "sentence_transformers.models.Pooling"},
    ]
    names = {"mean": "mean_tokens", "cls": "cls_token", "last": "lasttoken"}
    chosen = names[str(encoder.pooling)]
    modes = {f"pooling_mode_{name}": name == chosen for name in (*names.values(), "max_tokens", "mean_sqrt_len_tokens")}
    about = {"__version__": {"nearfar": __version__}, "similarity_fn_name": "cosine"}
    texts = {
        "modules.json": modules,
        "config_sentence_transformers.json": about,
        f"{POOLING}/config.json": {"word_embedding_dimension": encoder.dim, **modes, "include_prompt": True},
        f"{TRANSFORMER}/sentence_bert_config.json": {"max_seq_length": length, "do_lower_case": False},
        f"{TRANSFORMER}/config.json": config,
        f"{TRANSFORMER}/tokenizer_config.json": _tokenizer_config(tokenizer, length),
    }
    files = {name: json.dumps(content, indent=2).encode() for name, content in texts.items()}
    files[f"{TRANSFORMER}/tokenizer.json"] = tokenizer.to_json().encode()
    files[f"{TRANSFORMER}/model.safetensors"] = save(state, metadata={"format": "pt"})
    return files


def _tokenizer_config(tokenizer: Tokenizer, length: int) -> dict[str, Any]:
    pad = tokenizer.inner.id_to_token(tokenizer.pad)
    ours = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    known = all(tokenizer.inner.token_to_id(name) is not None for name in SPECIAL)
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": length,
        "padding_side": "left" if tokenizer.left else "right",
        **(ours if known else {}),
        "pad_token": pad,
        "clean_up_tokenization_spaces": False,
    }
