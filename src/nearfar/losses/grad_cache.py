r"""Cached gradients: the exact gradient of a batch of any size, with the activations of a small one.

Gao, Zhang, Han, Callan, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup" (GradCache),
RepL4NLP 2021, https://arxiv.org/abs/2101.06983, section 3.

Gradient accumulation shows a contrastive loss only the negatives of one small batch. GradCache encodes the whole batch
in chunks without keeping activations, takes the loss on all embeddings together, and encodes each chunk once more when
its gradient is known. Here the second pass happens inside ``loss.backward()``, so that any loss, and any training loop,
works unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from nearfar.errors import require

__all__ = ["cached_forward"]

B = TypeVar("B", bound=Tensor | Sequence[Tensor] | Mapping[str, Tensor])


def cached_forward(encode: Callable[[B], Tensor], batch: B, *, chunk_size: int) -> Tensor:
    r"""Encode a large batch in chunks, keeping the embeddings but no chunk's activations.

    .. code-block:: python

        z1 = cached_forward(model, views1, chunk_size=64)
        z2 = cached_forward(model, views2, chunk_size=64)
        nt_xent(z1, z2).backward()          # encodes every chunk once more, one at a time

    The gradient is that of ``torch.cat([encode(chunk) for chunk in chunks])``, to the last bit where the encoder is
    deterministic. It costs one more forward pass. Memory is that of N embeddings and one chunk's activations.

    **Random state.** Each chunk's second pass replays the random state (CPU and the batch's devices) and the autocast
    state of its first, so dropout and the like draw the same.

    **BatchNorm and other buffers.** A layer that mixes rows sees one chunk: BatchNorm in training mode normalises every
    chunk by its own statistics, as under gradient accumulation, and the gradient is exact for that function; it equals
    the gradient of the unchunked batch where no layer mixes rows (BatchNorm in eval mode, LayerNorm, GroupNorm). Where
    ``encode`` is a module, its buffers are updated by the first pass alone: the second runs on a copy of what the
    first started from, so running statistics move once per chunk. Other callables that change state in their forward
    pass change it twice.

    **Ranks.** It calls no collective; the loss gathers as always. Under DistributedDataParallel call it inside the
    wrapped module's forward, with the bare encoder.

    Args:
        encode: from a batch of n rows to embeddings (n, ...); a module or any callable on tensors.
        batch: a tensor, a sequence of tensors (chunks arrive as lists) or a mapping of tensors (as dicts), each with
            N rows.
        chunk_size: rows per chunk; the last chunk may be smaller. 1 <= chunk_size.

    Returns:
        (N, ...) embeddings with gradient.

    Raises:
        InputError: the batch is empty, its tensors differ in rows, ``chunk_size`` is below 1, or ``encode`` does not
            return a tensor with one row per row of its input.
    """
    require(chunk_size >= 1, "cached_forward", "chunk_size", ">= 1", chunk_size)
    rows = _rows(batch)
    parts = []
    for chunk in _chunks(batch, rows, chunk_size):
        part = _encode(encode, chunk)
        n = _rows(chunk)
        fits = isinstance(part, Tensor) and part.ndim >= 1 and len(part) == n
        got = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
        require(fits, "cached_forward", "encode's result", f"a tensor of {n} rows", got)
        parts.append(part)
    return torch.cat(parts)


def _encode(encode: Callable[[B], Tensor], chunk: B) -> Tensor:
    run = _TwoPasses(encode) if isinstance(encode, nn.Module) else encode
    if not torch.is_grad_enabled():
        return run(chunk)
    result: Tensor = checkpoint(run, chunk, use_reentrant=False, preserve_rng_state=True)
    return result


class _TwoPasses:
    """Calls a module; from the second call on with copies of the buffers that the first call started from."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.start: dict[str, Tensor] | None = None

    def __call__(self, chunk: Any) -> Tensor:
        if self.start is None:
            self.start = {name: buffer.detach().clone() for name, buffer in self.module.named_buffers()}
            return self.module(chunk)  # type: ignore[no-any-return]
        copies = {name: buffer.clone() for name, buffer in self.start.items()}
        return functional_call(self.module, copies, (chunk,))  # type: ignore[no-any-return]


def _rows(batch: Tensor | Sequence[Tensor] | Mapping[str, Tensor]) -> int:
    tensors = _tensors(batch)
    rows = {len(tensor) if tensor.ndim else 0 for tensor in tensors}
    one = len(rows) == 1 and min(rows) >= 1
    require(one, "cached_forward", "batch", "tensors with the same number of rows, >= 1", sorted(rows))
    return rows.pop()


def _tensors(batch: Tensor | Sequence[Tensor] | Mapping[str, Tensor]) -> list[Tensor]:
    if isinstance(batch, Tensor):
        return [batch]
    items = list(batch.values() if isinstance(batch, Mapping) else batch)
    ok = all(isinstance(item, Tensor) for item in items)
    kinds = sorted({type(item).__name__ for item in items})
    require(ok, "cached_forward", "batch", "a tensor, or a sequence or mapping of tensors", kinds)
    return items


def _chunks(batch: Any, rows: int, size: int) -> Iterator[Any]:
    for start in range(0, rows, size):
        part = slice(start, start + size)
        if isinstance(batch, Tensor):
            yield batch[part]
        elif isinstance(batch, Mapping):
            yield {name: tensor[part] for name, tensor in batch.items()}
        else:
            yield [tensor[part] for tensor in batch]
