r"""Matryoshka: any loss, on several prefixes of the embedding at once, so that each prefix serves by itself.

Kusupati et al., "Matryoshka Representation Learning", NeurIPS 2022, https://arxiv.org/abs/2205.13147, eq. 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from nearfar.errors import require
from nearfar.losses._moments import check_weights

__all__ = ["matryoshka"]


def matryoshka(
    loss: Callable[..., Tensor],
    dims: Sequence[int],
    weights: Sequence[float] | None = None,
    *,
    also: Sequence[str] = (),
) -> Callable[..., Tensor]:
    r"""Make of a loss the weighted sum of itself over the first m dimensions of the embeddings.

    .. math:: L = \sum_{m \in M} c_m \, \ell(z_{1:m}) \quad \text{(eq. 1)}

    ``loss`` is any callable: a function of this package, a module, a user's own. The result is called with the same
    arguments. Which of them are embeddings is one rule: the first argument is, and so is every other *positional*
    argument that is a float tensor with the first one's last dimension, alone or in a list or tuple. These are cut to
    their first m entries, with gradient. Everything else passes as it is: labels, and all keyword arguments except
    those named in ``also``. So give a square matrix of scores by keyword. Prefixes are not normalised here; a loss on
    cosines does that itself. A loss with weights of its own length D (proxies) needs one set per prefix and does not
    fit.

    >>> loss = matryoshka(nt_xent, dims=(32, 64, 128))
    >>> loss(z1, z2, temperature=0.1)
    >>> queued = matryoshka(info_nce, dims=(64, 128), also=("queue",))

    Args:
        loss: what is summed; it must return a tensor.
        dims: M, different lengths >= 1, none above D. The paper halves from D downwards.
        weights: c_m >= 0, one per length; None: 1 each, as in the paper.
        also: names of keyword arguments that are embeddings as well.

    Returns:
        A callable with the arguments of ``loss``.

    Raises:
        InputError: here, when lengths or weights are wrong; from the result, when a length exceeds D.
    """
    lengths = tuple(dims)
    whole = all(isinstance(m, int) and m >= 1 for m in lengths)
    must = "different integers >= 1, at least one"
    require(bool(lengths) and whole and len(set(lengths)) == len(lengths), "matryoshka", "dims", must, lengths)
    factors = (1.0,) * len(lengths) if weights is None else tuple(weights)
    require(len(factors) == len(lengths), "matryoshka", "weights", f"one per length ({len(lengths)})", len(factors))
    check_weights("matryoshka", **{f"weights[{i}]": factor for i, factor in enumerate(factors)})

    def nested(z: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        dim = z.shape[-1]
        require(max(lengths) <= dim, "matryoshka", "dims", f"<= D ({dim})", max(lengths), "leave out the longest")
        missing = sorted(set(also) - set(kwargs))
        require(not missing, "matryoshka", "also", "names of keyword arguments that are given", missing)
        values = [
            factor
            * loss(
                z[..., :m],
                *[_cut(value, dim, m) for value in args],
                **{name: _cut(value, dim, m) if name in also else value for name, value in kwargs.items()},
            )
            for m, factor in zip(lengths, factors, strict=True)
        ]
        return sum(values[1:], start=values[0])

    return nested


def _cut(value: Any, dim: int, m: int) -> Any:
    if isinstance(value, Tensor):
        embeds = value.is_floating_point() and value.ndim >= 2 and value.shape[-1] == dim
        return value[..., :m] if embeds else value
    if type(value) in (list, tuple):
        return type(value)(_cut(item, dim, m) for item in value)
    return value
