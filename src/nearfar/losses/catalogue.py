r"""Losses of metric learning by name, told apart by their signatures, and any of them composed with a miner.

    loss = compose("multi_similarity", miner="semihard")
    loss(z, labels).backward()

The first parameters of a loss say what it takes; that is its form:

=============  ==============================  ========================================================================
form           first parameters                 what it is computed on
=============  ==============================  ========================================================================
labels         z, labels                       all rows; a miner restricts the pairs where the loss takes ``mined``
pairs          x, y, different                 the pairs a miner found, or that the data give
triplets       anchor, positive, negative      the triplets a miner found, or that the data give
couples        anchor, positive, labels        the first and second, third and fourth, ... row of every class
proxies        z, labels, weight or proxies    all rows and one learned vector a class
centers        z, labels, centers              all rows and K learned vectors a class
scores         x, y, score                     pairs with a graded similarity
similarity     z, similarity                   all rows and a matrix of how alike they are
=============  ==============================  ========================================================================

Every rank computes the loss of all ranks' rows, so any loss and miner means the same on one rank and on many; at the
batch sizes of metric learning that costs little beside an encoder.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from nearfar.config import check_options
from nearfar.distributed import gather, gather_sizes
from nearfar.errors import ConfigError, require
from nearfar.losses.cross_batch_memory import with_references
from nearfar.losses.distances import find_distance
from nearfar.losses.miners import MINERS, as_masks, as_pairs, as_triplets
from nearfar.registry import Registry

__all__ = ["METRIC_LOSSES", "ComposedLoss", "LossForm", "compose", "loss_form"]

LossForm: TypeAlias = Literal["labels", "pairs", "triplets", "couples", "proxies", "centers", "scores", "similarity"]

METRIC_LOSSES: Registry[Callable[..., Tensor]] = Registry(
    "loss",
    group="nearfar.losses",
    builtin={
        name: f"nearfar.losses:{name}"
        for name in (
            "contrastive", "online_contrastive", "snr_contrastive", "margin_beta", "triplet", "triplet_from_labels",
            "pn", "n_pairs", "mega_batch_margin", "lifted_structure", "generalized_lifted_structure", "angular",
            "circle", "multi_similarity", "tuplet_margin", "intra_pair_variance", "ranked_list", "nca",
            "soft_nearest_neighbour", "sup_con", "multi_label_sup_con", "fast_ap", "smooth_ap", "histogram",
            "normalized_softmax", "arcface", "sub_center_arcface", "cosface", "sphereface", "proxy_nca",
            "proxy_anchor", "soft_triple", "cosine_regression", "cosent", "angle",
        )
    },
)  # fmt: skip
"""Name to function; other packages add theirs by the entry point group ``nearfar.losses``."""

_FORMS: dict[tuple[str, ...], LossForm] = {
    ("z", "labels", "weight"): "proxies",
    ("z", "labels", "proxies"): "proxies",
    ("z", "labels", "centers"): "centers",
    ("z", "labels"): "labels",
    ("x", "y", "different"): "pairs",
    ("anchor", "positive", "negative"): "triplets",
    ("anchor", "positive", "labels"): "couples",
    ("x", "y", "score"): "scores",
    ("z", "similarity"): "similarity",
}

_SET_ELSEWHERE = ("reduction", "across_ranks", "mined", "distance", "generator")


def loss_form(loss: Callable[..., Tensor]) -> LossForm:
    """Return what a loss takes, read from the names of its first parameters.

    Raises:
        ConfigError: when they are of no known form.
    """
    if getattr(loss, "__name__", "") == "sub_center_arcface":  # its weight has an axis of centres
        return "centers"
    names = [
        name
        for name, parameter in inspect.signature(loss).parameters.items()
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    for length in (3, 2):
        form = _FORMS.get(tuple(names[:length]))
        if form is not None:
            return form
    known = "; ".join(", ".join(key) for key in _FORMS)
    raise ConfigError(f"loss {loss}: first parameters must be of a known form ({known}), got {', '.join(names)}")


def compose(
    loss: str | Callable[..., Tensor],
    *,
    loss_options: Mapping[str, Any] | None = None,
    miner: str | None = None,
    miner_options: Mapping[str, Any] | None = None,
    distance: str | None = None,
) -> ComposedLoss:
    """Put a loss, a miner and a distance together.

    Args:
        loss: a name of `METRIC_LOSSES`, or a function of a known form.
        loss_options: its settings, checked against its signature.
        miner: a name of `MINERS`; None: all pairs or triplets, or what the loss mines by itself.
        miner_options: its settings, checked against its signature.
        distance: a name of `DISTANCES`, for loss and miner; None: the loss's own, which a miner then uses as well.

    Returns:
        A function of (z, labels) and, for `CrossBatchMemory`, (z, labels, reference, reference_labels).

    Raises:
        ConfigError: on an unknown name (the nearest is offered) or setting, or what does not go together.
    """
    function = METRIC_LOSSES.get(loss) if isinstance(loss, str) else loss
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", "loss")
    form = loss_form(function)
    options = check_options(f"loss {name}", function, loss_options or {}, without=_SET_ELSEWHERE)
    mine = None
    if miner is not None:
        _check_minable(name, function, form)
        mine = MINERS.get(miner)
        chosen = check_options(f"miner {miner}", mine, miner_options or {}, without=_SET_ELSEWHERE)
    else:
        require(not miner_options, "metric", "miner", "given with miner_options", "none", error=ConfigError)
        chosen = {}
    if distance is not None:
        find_distance("metric", distance)  # type: ignore[arg-type]
    takes = [f for f in (function, mine) if f is not None and "distance" in inspect.signature(f).parameters]
    fix = "leave it out: this loss and miner compare by their own"
    require(distance is None or bool(takes), f"loss {name}", "distance", "left out", repr(distance), fix,
            error=ConfigError)  # fmt: skip
    used = distance or _own_distance(function, options)
    if distance is not None and function in takes:
        options["distance"] = distance
    if mine in takes and used is not None:
        chosen["distance"] = used
    miner_function = None if mine is None else partial(mine, **chosen)
    return ComposedLoss(name, function, form, options, miner_function)


def _check_minable(name: str, function: Callable[..., Tensor], form: LossForm) -> None:
    parameters = inspect.signature(function).parameters
    ok = form in ("pairs", "triplets") or (form == "labels" and "mined" in parameters)
    must = "none, since this loss weighs all rows by itself"
    fix = "leave it out, or take a loss on pairs or triplets, or one such as multi_similarity"
    require(ok, f"loss {name}", "miner", must, "one", fix, error=ConfigError)


def _own_distance(function: Callable[..., Tensor], options: Mapping[str, Any]) -> str | None:
    parameter = inspect.signature(function).parameters.get("distance")
    if parameter is None:
        return None
    if isinstance(parameter.default, str):
        return parameter.default
    return "euclidean" if options.get("form") == "hadsell" else "squared_euclidean"  # contrastive's own


class ComposedLoss:
    """A loss with its miner; made by `compose`. It has no state.

    Attributes:
        name: of the loss.
        form: what it takes.
        options: its settings, without the distance's default.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Tensor],
        form: LossForm,
        options: Mapping[str, Any],
        miner: Callable[..., Any] | None,
    ) -> None:
        self.name, self.form, self.miner = name, form, miner
        self.options = dict(options)
        parameters = inspect.signature(function).parameters
        whole = {"across_ranks": False} if "across_ranks" in parameters else {}
        self._has_rows = "reduction" in parameters
        self._loss = partial(function, **options, **whole)

    def __call__(
        self,
        z: Tensor,
        labels: Tensor,
        reference: Tensor | None = None,
        reference_labels: Tensor | None = None,
        /,
        *,
        views: int = 1,
    ) -> Tensor:
        """Return the loss of rows with labels, over all ranks; rows of label -1 are left out.

        Args:
            z: (N, D) float.
            labels: (N,) int64; N may differ between ranks.
            reference: (R, D) rows of past batches, alike on all ranks, or None.
            reference_labels: (R,) int64.
            views: how many views of N / views items stand one after the other in ``z``; ranks are put together view by
                view, so that couples are the same as on one rank.

        Raises:
            ConfigError: when the loss is not one over labels, or takes no references.
        """
        ok = self.form in ("labels", "pairs", "triplets", "couples")
        fix = "give it proxies, scores or sets as its form asks"
        require(ok, f"loss {self.name}", "labels", "enough for it", f"the form {self.form}", fix, error=ConfigError)
        parts, nothing = everyone(*z.chunk(views), *labels.chunk(views))
        z, labels = torch.cat(parts[:views]), torch.cat(parts[views:])
        z, labels = z[labels >= 0], labels[labels >= 0]
        if reference is None or reference_labels is None or not len(reference):
            return self._labelled(z, labels, len(z)) + nothing
        self.check_references()
        known = reference_labels >= 0
        rows = torch.cat([z, reference[known].to(z.dtype)])
        classes = torch.cat([labels, reference_labels[known].to(labels.dtype)])
        return self._labelled(rows, classes, len(z)) + nothing

    def given(self, *rows: Tensor, extra: Tensor | None = None) -> Tensor:
        """Return the loss of pairs or triplets that the data give, over all ranks.

        Args:
            rows: two or three tensors (N, D).
            extra: (N,) for pairs: 1 where they are different; for scores: how alike they are.

        Raises:
            ConfigError: when the loss is of another form.
        """
        form = "triplets" if len(rows) == 3 else "pairs or scores"
        ok = self.form == "triplets" if len(rows) == 3 else self.form in ("pairs", "scores") and extra is not None
        must, fix = f"one on {form}, as the data give", "see nearfar.losses.METRIC_LOSSES"
        require(ok, "metric", "loss", must, f"{self.name} on {self.form}", fix, error=ConfigError)
        parts, nothing = everyone(*rows, *(() if extra is None else (extra,)))
        if not len(parts[0]):
            return nothing
        return self._loss(*parts) + nothing

    def with_proxies(self, z: Tensor, labels: Tensor, proxies: Tensor) -> Tensor:
        """Return the loss of rows with labels against learned vectors, over all ranks.

        Raises:
            ConfigError: when the loss takes no proxies.
        """
        ok = self.form in ("proxies", "centers")
        require(ok, f"loss {self.name}", "form", "proxies or centers", self.form, error=ConfigError)
        (z, labels), nothing = everyone(z, labels)
        z, labels = z[labels >= 0], labels[labels >= 0]
        return (self._loss(z, labels, proxies) if len(z) else 0.0) + nothing + proxies.sum() * 0.0

    def on_sets(self, z: Tensor, sets: Tensor) -> Tensor:
        """Return the loss of rows with label sets, over all ranks: two rows are as alike as their sets' Jaccard index.

        Args:
            z: (N, D) float.
            sets: (N, C) of 0 and 1; two empty sets count as not alike.

        Raises:
            ConfigError: when the loss takes no matrix of similarities.
        """
        fix = "take multi_label_sup_con"
        require(self.form == "similarity", f"loss {self.name}", "form", "similarity", self.form, fix,
                error=ConfigError)  # fmt: skip
        (z, sets), nothing = everyone(z, sets)
        sets = sets.to(z.dtype)
        both = sets @ sets.T
        sizes = sets.sum(1)
        either = sizes[:, None] + sizes[None] - both
        return self._loss(z, both / either.clamp(min=1)) + nothing

    def check_references(self) -> None:
        """Refuse a memory of past batches where the loss cannot take one.

        Raises:
            ConfigError: then.
        """
        ok = self.form in ("pairs", "triplets") or (self.form == "labels" and self._has_rows)
        must = "one that gives a value a row, or is on pairs or triplets, with a memory"
        require(ok, "metric", "loss", must, self.name, "set memory to 0", error=ConfigError)

    def _labelled(self, z: Tensor, labels: Tensor, anchors: int) -> Tensor:
        if not anchors:
            return z.sum() * 0.0
        if self.form == "couples":
            return self._couples(z, labels)
        if self.form == "labels":
            return self._weighed(z, labels, anchors)
        found = MINERS.get(self.form)(z, labels) if self.miner is None else self.miner(z, labels)
        if self.form == "pairs":
            pairs = as_pairs(found)
            keep = pairs.first < anchors
            first, second, different = (column[keep] for column in pairs)
            return self._loss(z[first], z[second], different) + z.sum() * 0.0
        triplets = as_triplets(found)
        keep = triplets.anchor < anchors
        return self._loss(*(z[column[keep]] for column in triplets)) + z.sum() * 0.0

    def _weighed(self, z: Tensor, labels: Tensor, anchors: int) -> Tensor:
        loss = self._loss
        if self.miner is not None:
            loss = partial(loss, mined=as_masks(self.miner(z, labels), len(z)))
        if anchors == len(z):
            return loss(z, labels)
        return with_references(loss, across_ranks=False)(z[:anchors], labels[:anchors], z[anchors:], labels[anchors:])

    def _couples(self, z: Tensor, labels: Tensor) -> Tensor:
        order = torch.argsort(labels, stable=True)
        ranked = labels[order]
        starts = torch.searchsorted(ranked, ranked)
        place = torch.arange(len(ranked), device=z.device) - starts  # a row's place within its class
        first = torch.nonzero((place[:-1] % 2 == 0) & (ranked[1:] == ranked[:-1])).squeeze(1)
        if not len(first):
            return z.sum() * 0.0
        a, p = order[first], order[first + 1]
        return self._loss(z[a], z[p], labels[a])


def everyone(*columns: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """Gather columns over the ranks; the scalar 0 that comes with them keeps every rank's own in the graph."""
    sizes = gather_sizes(len(columns[0]), columns[0].device)
    nothing = sum((column.sum() * 0.0 for column in columns if column.is_floating_point()), columns[0].new_zeros(()))
    return tuple(gather(column, sizes) for column in columns), nothing
