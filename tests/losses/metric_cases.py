"""Every loss on pairs, triplets, labels, proxies, rankings and teachers: its settings, inputs and slow reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from nearfar.losses.angular import angular
from nearfar.losses.circle import circle
from nearfar.losses.classifiers import arcface, cosface, normalized_softmax, sphereface, sub_center_arcface
from nearfar.losses.contrastive import contrastive, online_contrastive, snr_contrastive
from nearfar.losses.distillation import distill_kl, distill_mse, margin_mse
from nearfar.losses.lifted_structure import generalized_lifted_structure, lifted_structure
from nearfar.losses.margin_beta import margin_beta
from nearfar.losses.multi_similarity import multi_similarity
from nearfar.losses.n_pairs import mega_batch_margin, n_pairs
from nearfar.losses.nca import nca, soft_nearest_neighbour
from nearfar.losses.pn import pn
from nearfar.losses.proxies import proxy_anchor, proxy_nca, soft_triple
from nearfar.losses.ranked_list import ranked_list
from nearfar.losses.ranking import fast_ap, histogram, smooth_ap
from nearfar.losses.relational import rkd_angle, rkd_distance, similarity_preserving
from nearfar.losses.scored_pairs import angle, cosent, cosine_regression
from nearfar.losses.triplet import triplet, triplet_from_labels
from nearfar.losses.tuplet_margin import intra_pair_variance, tuplet_margin
from tests.losses import reference_metric as reference

# Class 3 has one row, so an anchor without positives; classes differ in size.
LABELS = torch.tensor([0, 0, 1, 1, 1, 2, 0, 2, 3])
ROWS = len(LABELS)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pairs() -> tuple[Tensor, ...]:
    return draw(ROWS, 4), 0.6 * draw(ROWS, 4, seed=1) + 0.5 * draw(ROWS, 4), torch.tensor([0, 1, 1, 0, 1, 0, 0, 1, 1])


def scores() -> tuple[Tensor, ...]:
    x, y, _ = pairs()
    return x, y, torch.tensor([0.1, 0.9, 0.9, 0.0, 0.4, 0.4, 1.0, 0.2, 0.1], dtype=torch.float64)


def three() -> tuple[Tensor, ...]:
    return draw(ROWS, 4), draw(ROWS, 4, seed=1), draw(ROWS, 4, seed=2)


def two() -> tuple[Tensor, ...]:
    return three()[:2]


def two_labelled() -> tuple[Tensor, ...]:
    return *two(), LABELS


def labelled() -> tuple[Tensor, ...]:
    return draw(ROWS, 4), LABELS


def with_proxies() -> tuple[Tensor, ...]:
    return draw(ROWS, 4), LABELS, draw(5, 4, seed=3)


def with_centers() -> tuple[Tensor, ...]:
    return draw(ROWS, 4), LABELS, draw(5, 3, 4, seed=3)


def taught() -> tuple[Tensor, ...]:
    return draw(ROWS, 4), draw(ROWS, 4, seed=4)


def taught_wider() -> tuple[Tensor, ...]:
    return draw(ROWS, 4), draw(ROWS, 6, seed=4)


def with_margins() -> tuple[Tensor, ...]:
    return *three(), draw(ROWS, seed=5)


def with_betas() -> tuple[Tensor, ...]:
    return *pairs(), 1.2 + 0.1 * draw(ROWS, seed=6)


@dataclass(frozen=True)
class Case:
    """A loss, what it takes, and the loops it must equal."""

    loss: Callable[..., Tensor]
    reference: Callable[..., Any]
    inputs: Callable[[], tuple[Tensor, ...]]
    settings: dict[str, Any] = field(default_factory=dict)
    gathers: bool = False
    shared: tuple[int, ...] = ()  # arguments that are the same on every rank
    per_row: bool = True  # has reduction="none"

    @property
    def differentiable(self) -> tuple[int, ...]:
        teachers = {"distill_kl": (1,), "distill_mse": (1,), "margin_mse": (3,), "rkd_distance": (1,),
                    "rkd_angle": (1,), "similarity_preserving": (1,), "cosine_regression": (2,), "cosent": (2,),
                    "angle": (2,)}.get(self.loss.__name__, ())  # fmt: skip
        return tuple(i for i, t in enumerate(self.inputs()) if t.is_floating_point() and i not in teachers)


def build() -> dict[str, Case]:
    cases: dict[str, Case] = {}

    def add(loss: Callable[..., Tensor], inputs: Callable[[], tuple[Tensor, ...]], *variants: dict[str, Any],
            **how: Any) -> None:  # fmt: skip
        for settings in variants or ({},):
            name = "-".join([loss.__name__, *(f"{k}={v}" for k, v in settings.items())])
            if name in cases:
                name += "+" + inputs.__name__
            cases[name] = Case(loss, getattr(reference, loss.__name__), inputs, settings, **how)

    add(contrastive, pairs, {}, {"form": "hadsell", "margin": 1.5}, {"distance": "cosine", "margin": 0.5},
        {"distance": "dot", "margin": -0.2}, {"distance": "manhattan"})  # fmt: skip
    add(online_contrastive, pairs)
    add(snr_contrastive, pairs, {}, {"zero_mean": 0.3})
    add(margin_beta, pairs, {}, {"nonzero": False, "nu": 0.1})
    add(margin_beta, with_betas, {"nu": 0.2})
    add(cosine_regression, scores)
    add(cosent, scores, {}, {"scale": 1.0}, gathers=True, per_row=False)
    add(angle, scores, {}, {"scale": 1.0}, gathers=True, per_row=False)
    add(triplet, three, {}, {"distance": "euclidean"}, {"soft_margin": True}, {"swap": True},
        {"nonzero": True}, {"distance": "cosine", "swap": True})  # fmt: skip
    for mining in ("semihard", "all", "hard", "hard_negative"):
        add(triplet_from_labels, labelled, {"mining": mining}, {"mining": mining, "soft_margin": True},
            {"mining": mining, "nonzero": True, "distance": "euclidean"}, gathers=True)  # fmt: skip
    add(triplet_from_labels, labelled, {"distance": "snr"}, {"distance": "cosine", "mining": "all"},
        gathers=True)  # fmt: skip
    add(pn, three, {}, {"form": "softmax"})
    add(n_pairs, two, {}, {"regularization": 0.1}, gathers=True)
    add(n_pairs, two_labelled, gathers=True)
    add(mega_batch_margin, two, gathers=True)
    add(mega_batch_margin, two_labelled, gathers=True)
    add(lifted_structure, labelled, gathers=True)
    add(generalized_lifted_structure, labelled, gathers=True)
    add(circle, labelled, {}, {"margin": 0.25, "gamma": 8.0}, gathers=True)
    add(multi_similarity, labelled, {}, {"epsilon": None}, {"base": 1.0, "alpha": 1.5}, gathers=True)
    add(tuplet_margin, labelled, {}, {"margin": 0.0, "scale": 4.0}, gathers=True)
    add(intra_pair_variance, labelled, gathers=True, per_row=False)
    add(angular, labelled, {}, {"degrees": 25.0}, gathers=True)
    add(ranked_list, labelled, {}, {"positive_temperature": 2.0, "balance": 0.3, "alpha": 2.5},
        gathers=True)  # fmt: skip
    add(nca, labelled, {}, {"form": "probability", "scale": 0.5}, gathers=True)
    add(soft_nearest_neighbour, labelled, {"temperature": 3.0}, gathers=True)
    add(fast_ap, labelled, {}, {"bins": 3}, gathers=True)
    add(smooth_ap, labelled, {}, {"temperature": 0.3}, {"with_query": True, "temperature": 0.2}, gathers=True)
    add(histogram, labelled, {"bins": 20}, gathers=True, per_row=False)
    add(normalized_softmax, with_proxies, shared=(2,))
    add(arcface, with_proxies, {}, {"margin": 2.0, "scale": 3.0}, shared=(2,))
    add(sub_center_arcface, with_centers, {"scale": 5.0}, shared=(2,))
    add(cosface, with_proxies, shared=(2,))
    add(sphereface, with_proxies, {}, {"margin": 3, "blend": 5.0}, {"margin": 1}, shared=(2,))
    add(proxy_nca, with_proxies, {}, {"form": "nca"}, {"form": "nca", "temperature": 0.3}, shared=(2,))
    add(proxy_anchor, with_proxies, {}, {"alpha": 4.0}, gathers=True, shared=(2,), per_row=False)
    add(soft_triple, with_centers, {}, {"tau": 0.0, "margin": 0.3}, shared=(2,))
    add(distill_kl, taught, {}, {"temperature": 3.0}, {"form": "cross_entropy", "rescale": False})
    add(distill_mse, taught)
    add(margin_mse, with_margins)
    for loss in (rkd_distance, rkd_angle, similarity_preserving):
        add(loss, taught_wider, gathers=True)
    return cases


CASES = build()


def run(case: Case, inputs: tuple[Tensor, ...], loss: Callable[..., Any] | None = None, **more: Any) -> list[Tensor]:
    """Return the value and the gradient of every differentiable argument."""
    args = [t.clone().requires_grad_(i in case.differentiable) for i, t in enumerate(inputs)]
    value = (loss or case.loss)(*args, **case.settings, **more)
    value.backward()
    grads = [args[i].grad for i in case.differentiable]
    return [value.detach(), *(torch.zeros_like(args[i]) if g is None else g
                              for i, g in zip(case.differentiable, grads, strict=True))]  # fmt: skip
