"""Every loss with every miner that fits it: names, forms, what does not go together, and values against plain calls."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.errors import ConfigError, InputError
from nearfar.losses import METRIC_LOSSES, compose, contrastive, loss_form, miners, multi_similarity, triplet
from nearfar.losses import circle as circle_loss
from nearfar.losses.miners import MINERS, Pairs, Triplets, as_masks, as_pairs, as_triplets

LABELS = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, -1, 2])
NAMES = METRIC_LOSSES.names()
FORMS = {name: loss_form(METRIC_LOSSES.get(name)) for name in NAMES}
MINABLE = [name for name, form in FORMS.items() if form in ("pairs", "triplets")] + [
    "multi_similarity", "circle", "angular", "lifted_structure", "generalized_lifted_structure", "nca",
    "soft_nearest_neighbour", "ranked_list", "tuplet_margin", "intra_pair_variance",
]  # fmt: skip


def rows(seed: int = 0) -> Tensor:
    z = torch.randn(len(LABELS), 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(z, dim=1).requires_grad_()


def known(z: Tensor) -> tuple[Tensor, Tensor]:
    return z[LABELS >= 0], LABELS[LABELS >= 0]


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_has_a_form_and_is_computed_through_it(name: str) -> None:
    composed = compose(name)
    z = rows()
    assert composed.form == FORMS[name]
    if composed.form in ("proxies", "centers"):
        shape = (3, 4) if composed.form == "proxies" else (3, 2, 4)
        proxies = torch.randn(shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
        loss = composed.with_proxies(z, LABELS, proxies)
    elif composed.form == "scores":
        loss = composed.given(z[:5], z[5:], extra=torch.rand(5))
    elif composed.form == "similarity":
        loss = composed.on_sets(z, torch.eye(4)[LABELS])
    else:
        loss = composed(z, LABELS)
    loss.backward()
    assert loss.shape == ()
    assert torch.isfinite(loss)
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("name", MINABLE)
@pytest.mark.parametrize("miner", MINERS.names())
def test_every_minable_loss_takes_every_miner(name: str, miner: str) -> None:
    z = rows()
    torch.manual_seed(0)
    loss = compose(name, miner=miner)(z, LABELS)
    loss.backward()
    assert torch.isfinite(loss)
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()


def test_a_pair_loss_on_mined_pairs_is_that_of_plain_calls() -> None:
    z, labels = known(rows())
    pairs = miners.margin_pairs(z, labels, distance="squared_euclidean", positive_margin=0.1, negative_margin=3.0)
    expected = contrastive(z[pairs.first], z[pairs.second], pairs.different, margin=0.7)
    composed = compose(
        "contrastive",
        loss_options={"margin": 0.7},
        miner="margin_pairs",
        miner_options={"positive_margin": 0.1, "negative_margin": 3.0},
    )
    torch.testing.assert_close(composed(rows(), LABELS), expected)


def test_a_triplet_loss_on_mined_triplets_is_that_of_plain_calls() -> None:
    z, labels = known(rows())
    found = miners.easy_hard_triplets(z, labels, positive="all", negative="semihard", distance="cosine")
    expected = triplet(z[found.anchor], z[found.positive], z[found.negative], distance="cosine", margin=0.3)
    composed = compose("triplet", loss_options={"margin": 0.3}, miner="semihard", distance="cosine")
    torch.testing.assert_close(composed(rows(), LABELS), expected)


def loop_multi_similarity(z: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """The loss without its own mining, over the pairs that count."""
    s = z.double() @ z.double().T
    values = []
    for i in range(len(z)):
        pull = sum((torch.exp(-2 * (s[i, k] - 0.5)) for k in range(len(z)) if positive[i, k]), torch.zeros(()))
        push = sum((torch.exp(50 * (s[i, k] - 0.5)) for k in range(len(z)) if negative[i, k]), torch.zeros(()))
        values.append(torch.log1p(torch.as_tensor(pull)) / 2 + torch.log1p(torch.as_tensor(push)) / 50)
    return torch.stack(values).mean()


def test_a_mask_leaves_all_but_the_mined_pairs_out() -> None:
    z, labels = known(rows())
    masks = as_masks(miners.easy_hard_triplets(z, labels, positive="hard", negative="hard"), len(z))
    assert int(masks.positive.sum()) == len(z)  # one positive an anchor
    expected = loop_multi_similarity(z, masks.positive, masks.negative)
    value = multi_similarity(z, labels, epsilon=None, mined=masks)
    torch.testing.assert_close(value.double(), expected)
    composed = compose("multi_similarity", loss_options={"epsilon": None}, miner="hard")
    torch.testing.assert_close(composed(rows(), LABELS).double(), expected)


def test_a_mask_of_all_pairs_changes_nothing() -> None:
    z, labels = known(rows())
    every = as_masks(miners.all_pairs(labels), len(z))
    for name in MINABLE:
        if FORMS[name] == "labels":
            loss = METRIC_LOSSES.get(name)
            torch.testing.assert_close(loss(z, labels, mined=every), loss(z, labels), msg=name)


def test_a_mask_of_another_shape_is_refused() -> None:
    z, labels = known(rows())
    masks = as_masks(miners.all_pairs(labels[:4]), 4)
    with pytest.raises(InputError, match=r"circle: mined.positive must be a bool tensor \(9, 9\)"):
        circle_loss(z, labels, mined=masks)


def test_pairs_and_triplets_turn_into_each_other() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    triplets = miners.all_triplets(labels)
    pairs = as_pairs(triplets)
    everything = miners.all_pairs(labels)
    assert set(zip(*(c.tolist() for c in pairs), strict=True)) == set(
        zip(*(c.tolist() for c in everything), strict=True)
    )
    again = as_triplets(pairs)
    assert isinstance(again, Triplets)
    assert isinstance(pairs, Pairs)
    assert set(zip(*(c.tolist() for c in again), strict=True)) == set(zip(*(c.tolist() for c in triplets), strict=True))


@pytest.mark.parametrize("name", ["multi_similarity", "circle", "contrastive", "triplet", "sup_con"])
def test_references_are_candidates_and_never_anchors(name: str) -> None:
    z, labels = known(rows())
    half = 5
    composed = compose(name)
    reference = z[half:].detach()
    value = composed(z[:half], labels[:half], reference, labels[half:])
    together = torch.cat([z[:half], reference])
    if FORMS[name] == "pairs":
        pairs = miners.all_pairs(labels)
        keep = pairs.first < half
        expected = contrastive(together[pairs.first[keep]], together[pairs.second[keep]], pairs.different[keep])
    elif FORMS[name] == "triplets":
        found = miners.all_triplets(labels)
        keep = found.anchor < half
        expected = triplet(*(together[c[keep]] for c in found))
    else:
        loss: Any = partial(METRIC_LOSSES.get(name), reduction="none")
        expected = loss(together, labels)[:half].mean()
    torch.testing.assert_close(value, expected)


def test_couples_are_the_first_and_second_third_and_fourth_row_of_a_class() -> None:
    labels = torch.tensor([1, 0, 1, 0, 0, 1, 1, 2])
    z = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    anchor, positive = torch.tensor([1, 0, 5]), torch.tensor([3, 2, 6])
    expected = METRIC_LOSSES.get("n_pairs")(z[anchor], z[positive], labels[anchor])
    torch.testing.assert_close(compose("n_pairs")(z, labels), expected)


def test_sets_are_as_alike_as_their_jaccard_index() -> None:
    z, sets = rows()[:3], torch.tensor([[1.0, 1, 0], [1, 0, 0], [0, 0, 0]])
    similarity = torch.tensor([[1, 0.5, 0], [0.5, 1, 0], [0, 0, 0]])
    expected = METRIC_LOSSES.get("multi_label_sup_con")(z, similarity)
    torch.testing.assert_close(compose("multi_label_sup_con").on_sets(z, sets), expected)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"loss": "multi_similarty"}, "did you mean 'multi_similarity'"),
        ({"loss": "circle", "miner": "semi-hard"}, "did you mean 'semihard'"),
        ({"loss": "circle", "loss_options": {"gama": 3}}, "did you mean 'gamma'"),
        ({"loss": "circle", "loss_options": {"gamma": "wide"}}, "loss circle: gamma must be a valid number"),
        ({"loss": "circle", "distance": "cosine"}, "loss circle: distance must be left out"),
        ({"loss": "triplet", "distance": "cosin"}, "did you mean 'cosine'"),
        ({"loss": "sup_con", "miner": "hard"}, "loss sup_con: miner must be none"),
        ({"loss": "arcface", "miner": "hard"}, "loss arcface: miner must be none"),
        ({"loss": "circle", "miner_options": {"k": 1}}, "miner must be given with miner_options"),
        ({"loss": "circle", "miner": "hard", "miner_options": {"k": 1}}, "miner hard: unknown setting 'k'"),
    ],
)
def test_what_does_not_go_together_is_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises((ConfigError, InputError), match=sentence):
        compose(**settings)


def test_the_wrong_inputs_are_refused() -> None:
    z = rows()
    with pytest.raises(ConfigError, match="loss arcface: labels must be enough for it"):
        compose("arcface")(z, LABELS)
    with pytest.raises(ConfigError, match="must be one on triplets"):
        compose("contrastive").given(z, z, z)
    with pytest.raises(ConfigError, match="must be one that gives a value a row"):
        compose("histogram")(z[:8], LABELS[:8], z[8:].detach(), LABELS[8:])
    with pytest.raises(ConfigError, match="form must be similarity"):
        compose("circle").on_sets(z, torch.ones(len(z), 2))
