"""A small transformer over byte-pair tokens, which trains on two CPU cores; its weights fit Hugging Face's BERT.

Devlin, Chang, Lee, Toutanova, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
NAACL 2019, https://arxiv.org/abs/1810.04805; Vaswani et al., "Attention Is All You Need", 2017,
https://arxiv.org/abs/1706.03762, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.encoders.base import Encoder
from nearfar.errors import require

__all__ = ["Pooling", "TextTransformer", "bert_config", "bert_state", "pool"]

Pooling: TypeAlias = Literal["mean", "cls", "last"]

EPS = 1e-12
"""Of LayerNorm, as in BERT."""

DEVIATION = 0.02
"""Of all weights at the start, as in BERT; the embeddings' is 1 over the square root of the width."""


def pool(states: Tensor, mask: Tensor, how: Pooling) -> Tensor:
    """Return one vector a text, (N, D), from the states of its tokens, (N, L, D).

    Args:
        states: (N, L, D).
        mask: (N, L), 1 where a token stands; a row without any gives zeros for "mean".
        how: "mean" over the tokens; "cls", the first one; "last", the last one.
    """
    if how == "mean":
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1).clamp(min=1)
    places = torch.arange(mask.shape[1], device=mask.device)
    if how == "cls":
        at = torch.where(mask.bool(), places, mask.shape[1] - 1).amin(1)
    else:
        at = torch.where(mask.bool(), places, 0).amax(1)
    return states[torch.arange(len(states), device=states.device), at]


class TextTransformer(Encoder):
    """Token and position embeddings, then a few layers of attention, then one vector for the text.

    A layer is BERT's: attention and a two-layer map with GELU, each added to its input and normalised. With ``depth``
    0 the mean of normalised embeddings is left, which is what "mean word vectors" are.

    Args:
        vocabulary: number of tokens.
        length: the most tokens of a text.
        width: D, numbers of a state and of the representation; divisible by ``heads``.
        depth: layers.
        heads: attention heads.
        hidden: width of the two-layer map; 0 is 4 * width.
        dropout: in every layer and on the embeddings; SimCSE's two views of a text differ by it alone.
        pooling: how tokens become one vector; see `pool`.

    Raises:
        InputError: when a setting is out of its range.
    """

    modality: ClassVar[str] = "text"

    def __init__(
        self,
        *,
        vocabulary: int = 8192,
        length: int = 64,
        width: int = 256,
        depth: int = 2,
        heads: int = 4,
        hidden: int = 0,
        dropout: float = 0.1,
        pooling: Pooling = "mean",
    ) -> None:
        super().__init__()
        for name, value, least in (("vocabulary", vocabulary, 1), ("length", length, 4), ("width", width, 1),
                                   ("depth", depth, 0), ("heads", heads, 1), ("hidden", hidden, 0)):  # fmt: skip
            require(value >= least, "TextTransformer", name, f">= {least}", value)
        require(width % heads == 0, "TextTransformer", "width", f"divisible by heads, {heads}", width)
        require(0 <= dropout < 1, "TextTransformer", "dropout", "in [0, 1)", dropout)
        self.vocabulary, self.length, self.width, self.depth, self.heads = vocabulary, length, width, depth, heads
        self.hidden, self.dropout, self.pooling = hidden or 4 * width, dropout, pooling
        self.dim = width
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(length, width)
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.layers = nn.ModuleList(_Layer(width, heads, self.hidden, dropout) for _ in range(depth))
        self.apply(_start)

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        """Return h of shape (N, width) for ``input_ids`` and ``attention_mask``, both (N, L)."""
        mask = x["attention_mask"]
        h = pool(self.states(x), mask, self.pooling)
        return h.float() if h.dtype in (torch.bfloat16, torch.float16) else h

    def states(self, x: Mapping[str, Tensor]) -> Tensor:
        """Return the last layer's states of all tokens, (N, L, width); zeros where no token stands.

        Only tokens that stand there go through the layers' maps: short texts beside a long one cost little.
        """
        ids, mask = x["input_ids"], x["attention_mask"]
        fits = ids.shape[1] <= self.length
        require(fits, "TextTransformer", "tokens a text", f"<= {self.length}", ids.shape[1], "cut the texts")
        real = mask.flatten().nonzero().squeeze(1)  # (T,), the places of the tokens in N * L
        h = self.tokens(ids.flatten()[real]) + self.positions(real % ids.shape[1])
        h = F.dropout(self.norm(h), self.dropout, self.training)
        for layer in self.layers:
            h = layer(h, real, mask)
        return _spread(h, real, mask)


class _Layer(nn.Module):
    """Attention, then a two-layer map, each added to its input and normalised after."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=EPS), nn.LayerNorm(width, eps=EPS)

    def forward(self, h: Tensor, real: Tensor, mask: Tensor) -> Tensor:
        (n, length), width = mask.shape, h.shape[1]
        parts = _spread(self.qkv(h), real, mask).view(n, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        drop = self.dropout if self.training else 0.0
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :].bool(), dropout_p=drop)
        a = self.out(a.transpose(1, 2).reshape(n * length, width)[real])
        h = self.norm1(h + F.dropout(a, self.dropout, self.training))
        m = self.down(F.gelu(self.up(h)))
        return self.norm2(h + F.dropout(m, self.dropout, self.training))  # type: ignore[no-any-return]


def _spread(rows: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    """Put (T, D) rows of the tokens back to their places in (N, L, D)."""
    whole = rows.new_zeros(mask.numel(), rows.shape[1]).index_copy(0, real, rows)
    return whole.view(*mask.shape, -1)


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=DEVIATION)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=DEVIATION)


def bert_config(encoder: TextTransformer, *, pad: int = 0) -> dict[str, Any]:
    """Return the ``config.json`` of the Hugging Face model that `bert_state` fits."""
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": encoder.vocabulary,
        "hidden_size": encoder.width,
        "num_hidden_layers": encoder.depth,
        "num_attention_heads": encoder.heads,
        "intermediate_size": encoder.hidden,
        "hidden_act": "gelu",
        "hidden_dropout_prob": encoder.dropout,
        "attention_probs_dropout_prob": encoder.dropout,
        "max_position_embeddings": encoder.length,
        "type_vocab_size": 1,
        "layer_norm_eps": EPS,
        "pad_token_id": pad,
        "torch_dtype": "float32",
    }


def bert_state(encoder: TextTransformer) -> dict[str, Tensor]:
    """Return the weights under the names of Hugging Face's ``BertModel`` (without pooler), in float32."""
    e = "embeddings."
    state = {
        f"{e}word_embeddings.weight": encoder.tokens.weight,
        f"{e}position_embeddings.weight": encoder.positions.weight,
        f"{e}token_type_embeddings.weight": torch.zeros(1, encoder.width),
        f"{e}LayerNorm.weight": encoder.norm.weight,
        f"{e}LayerNorm.bias": encoder.norm.bias,
    }
    for number, layer in enumerate(encoder.layers):
        assert isinstance(layer, _Layer)
        place = f"encoder.layer.{number}"
        for kind in ("weight", "bias"):
            parts = getattr(layer.qkv, kind).chunk(3)
            for name, part in zip(("query", "key", "value"), parts, strict=True):
                state[f"{place}.attention.self.{name}.{kind}"] = part
            state[f"{place}.attention.output.dense.{kind}"] = getattr(layer.out, kind)
            state[f"{place}.attention.output.LayerNorm.{kind}"] = getattr(layer.norm1, kind)
            state[f"{place}.intermediate.dense.{kind}"] = getattr(layer.up, kind)
            state[f"{place}.output.dense.{kind}"] = getattr(layer.down, kind)
            state[f"{place}.output.LayerNorm.{kind}"] = getattr(layer.norm2, kind)
    return {name: tensor.detach().float().cpu().clone().contiguous() for name, tensor in state.items()}
