"""Miners find exactly the pairs and triplets that a loop over all of them finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from nearfar.errors import InputError
from nearfar.losses import _rows, contrastive, triplet, triplet_from_labels
from nearfar.losses.miners import (
    Pairs,
    Triplets,
    all_pairs,
    all_triplets,
    angular_triplets,
    distance_weighted_triplets,
    easy_hard_triplets,
    find_hard_negatives,
    hard_negatives,
    margin_pairs,
    margin_triplets,
    multi_similarity_pairs,
)
from tests.losses import reference_metric as reference

CHOICES = ["all", "easy", "semihard", "hard"]


def batch(seed: int, rows: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(rows, 3, generator=generator, dtype=torch.float64)
    return z, torch.randint(0, 4, (rows,), generator=generator)


def as_set(found: Pairs | Triplets) -> set[tuple]:
    rows = list(zip(*(index.tolist() for index in found), strict=True))
    assert len(set(rows)) == len(rows), "nothing is found twice"
    return set(rows)


@pytest.fixture(params=[1, 2**18], ids=["row by row", "at once"])
def block(request, monkeypatch):
    monkeypatch.setattr(_rows, "_ENTRIES", {"cpu": request.param})


SEEDS = pytest.mark.parametrize("seed", range(3))


@SEEDS
def test_all(seed, block):
    _, labels = batch(seed)
    n = range(len(labels))
    assert as_set(all_pairs(labels)) == {(i, j, bool(labels[i] != labels[j])) for i in n for j in n if i != j}
    assert as_set(all_triplets(labels)) == set(reference.triplets(labels))


@SEEDS
@pytest.mark.parametrize("name", ["euclidean", "cosine"])
def test_margins(seed, name, block):
    z, labels = batch(seed)
    d = reference.DISTANCE[name]
    found = margin_pairs(z, labels, positive_margin=0.7, negative_margin=1.1, distance=name)
    assert as_set(found) == reference.margin_pairs(z, labels, 0.7, 1.1, d)
    for kind in CHOICES:
        for margin in (0.3, -0.2):
            found = margin_triplets(z, labels, margin=margin, kind=kind, distance=name)
            if kind == "semihard" and margin < 0:
                assert as_set(found) == set()
            else:
                assert as_set(found) == reference.margin_triplets(z, labels, margin, kind, d)


@SEEDS
def test_multi_similarity(seed, block):
    z, labels = batch(seed)
    assert as_set(multi_similarity_pairs(z, labels)) == reference.multi_similarity_pairs(z, labels, 0.1)


@SEEDS
def test_angular(seed, block):
    z, labels = batch(seed)
    for degrees in (20.0, 45.0):
        assert as_set(angular_triplets(z, labels, degrees=degrees)) == reference.angular_triplets(z, labels, degrees)


@SEEDS
@pytest.mark.parametrize("positive", CHOICES)
@pytest.mark.parametrize("negative", CHOICES)
def test_easy_and_hard(seed, positive, negative, block):
    z, labels = batch(seed)
    if positive == "semihard" and negative in {"semihard", "all"}:
        with pytest.raises(InputError, match="beside semi-hard positives"):
            easy_hard_triplets(z, labels, positive=positive, negative=negative)
        return
    found = easy_hard_triplets(z, labels, positive=positive, negative=negative)
    assert as_set(found) == reference.easy_hard_triplets(z, labels, positive, negative, reference.euclidean)


@SEEDS
@pytest.mark.parametrize(("mining", "choice"), [("all", ("all", "all")), ("hard", ("hard", "hard"))])
def test_mined_triplets_give_the_loss_from_labels(seed, mining, choice):
    z, labels = batch(seed)
    a, p, n = easy_hard_triplets(z, labels, positive=choice[0], negative=choice[1])
    assert_close(triplet(z[a], z[p], z[n]), triplet_from_labels(z, labels, mining=mining))


def test_pairs_go_into_a_pair_loss():
    z, labels = batch(0)
    i, j, different = all_pairs(labels)
    assert_close(contrastive(z[i], z[j], different), reference.contrastive(z[i], z[j], different))


def test_gradients_and_half_precision_do_not_matter():
    z, labels = batch(0)
    half = z.bfloat16().requires_grad_()
    assert as_set(margin_triplets(half, labels)) == as_set(margin_triplets(half.detach().float(), labels))


class TestDistanceWeighted:
    def test_one_negative_for_every_positive_pair(self, block):
        z, labels = batch(0)
        found = distance_weighted_triplets(z, labels, farthest=2.0, generator=torch.Generator().manual_seed(0))
        wanted = {(a, p) for a in range(len(z)) for p in reference.positives(labels, a)}
        assert {(a, p) for a, p, _ in as_set(found)} == wanted
        assert all(labels[a] != labels[n] for a, _, n in as_set(found))

    def test_frequencies_are_those_of_the_paper(self):
        """Chi-square over the negatives of one anchor."""
        generator = torch.Generator().manual_seed(0)
        z = torch.nn.functional.normalize(torch.randn(10, 4, generator=generator, dtype=torch.float64))
        # The first two rows are a class, repeated so that the anchor draws often.
        z = torch.cat([z[:1].expand(60, 4), z[2:]])
        labels = torch.cat([torch.zeros(60, dtype=torch.int64), torch.arange(1, 9)])
        found = distance_weighted_triplets(z, labels, generator=generator)
        drawn = torch.bincount(found.negative - 60, minlength=8).double()
        weights = []
        for k in range(60, 68):
            d = max(float(reference.euclidean(z[0], z[k])), 0.5)
            weights.append(0.0 if d >= 1.4 else 1 / (d**2 * (1 - d**2 / 4) ** 0.5))
        expected = torch.tensor(weights, dtype=torch.float64)
        expected = expected / expected.sum() * drawn.sum()
        possible = expected > 0
        assert possible.sum() >= 3
        assert drawn[~possible].sum() == 0
        chi2 = ((drawn - expected)[possible] ** 2 / expected[possible]).sum()
        assert chi2 < 30  # of at most 7 degrees of freedom: one in 10,000

    def test_the_generator_decides(self):
        z, labels = batch(3, rows=30)
        first, again, other = (
            distance_weighted_triplets(z, labels, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
        )
        assert_close(first.negative, again.negative)
        assert not torch.equal(first.negative, other.negative)

    def test_negatives_too_far_are_not_drawn(self):
        z = torch.tensor([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0]])
        assert len(distance_weighted_triplets(z, torch.tensor([0, 0, 1])).anchor) == 0


MINERS = [margin_pairs, multi_similarity_pairs, easy_hard_triplets, margin_triplets, angular_triplets,
          distance_weighted_triplets]  # fmt: skip


@pytest.mark.parametrize("miner", MINERS)
@pytest.mark.parametrize("labels", [torch.zeros(4), torch.arange(4), torch.zeros(1)], ids=["one class", "alone", "one"])
def test_nothing_to_find(miner, labels):
    z = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(0))
    found = miner(z, labels.long())
    assert all(index.dtype in {torch.int64, torch.bool} for index in found)
    if isinstance(found, Triplets):
        assert len(found.anchor) == 0


@pytest.mark.parametrize("miner", MINERS)
def test_wrong_input(miner):
    z, labels = batch(0)
    for bad in ((z[0], labels), (z.long(), labels), (z, labels[:-1]), (z, labels.double()), (z * torch.nan, labels)):
        with pytest.raises(InputError, match=f"{miner.__name__}: "):
            miner(*bad)


@pytest.mark.parametrize(
    ("miner", "setting", "value"),
    [
        (multi_similarity_pairs, "epsilon", -1.0),
        (easy_hard_triplets, "positive", "harder"),
        (margin_triplets, "kind", "harder"),
        (margin_pairs, "distance", "l2"),
        (angular_triplets, "degrees", 90.0),
        (distance_weighted_triplets, "cutoff", 0.0),
        (distance_weighted_triplets, "farthest", 2.1),
    ],
)
def test_wrong_settings(miner, setting, value):
    with pytest.raises(InputError, match=f"{miner.__name__}: {setting} must be"):
        miner(*batch(0), **{setting: value})


def test_labels_alone_are_checked():
    for miner in (all_pairs, all_triplets):
        for bad in (torch.zeros(3), torch.zeros(2, 2, dtype=torch.int64), torch.tensor(1)):
            with pytest.raises(InputError, match="labels must be"):
                miner(bad)
        assert all(len(index) == 0 for index in miner(torch.zeros(0, dtype=torch.int64)))


# Hard negatives of a data set: two queries, six neighbours each, the nearest first.
IDS = torch.tensor([[4, 7, 1, 0, 9, 3], [2, 5, 8, 6, 0, -1]])
DISTANCES = torch.tensor([[0.1, 0.2, 0.3, 0.5, 0.8, 0.9], [0.2, 0.25, 0.4, 0.6, 0.7, 0.0]])
OWN = torch.tensor([[4, 1], [2, -1]])


def chosen(**how):
    """The same choice made of distances and of similarities, which must agree."""
    settings = {"positives": OWN, "count": 6, **how}
    left = hard_negatives(IDS, DISTANCES, scores_are="distance", **settings)
    for name in ("nearest", "farthest", "positive_scores"):
        if name in settings:
            settings[name] = 1 - settings[name]
    right = hard_negatives(IDS, 1 - DISTANCES, scores_are="similarity", **settings)
    assert_close(left, right)
    return [[i for i in row if i >= 0] for row in left.tolist()]


class TestHardNegatives:
    def test_positives_and_missing_ids_are_left_out(self):
        assert chosen() == [[7, 0, 9, 3], [5, 8, 6, 0]]
        result = hard_negatives(IDS, DISTANCES, scores_are="distance", positives=OWN, count=5)
        assert_close(result, torch.tensor([[7, 0, 9, 3, -1], [5, 8, 6, 0, -1]]))
        assert_close(hard_negatives(IDS, DISTANCES, scores_are="distance", positives=OWN), result[:, :1])

    def test_by_labels(self):
        labels = torch.tensor([1, 0, 1, 0, 0, 2, 2, 1, 1, 2])
        found = hard_negatives(
            IDS, DISTANCES, scores_are="distance", query_labels=torch.tensor([0, 1]), labels=labels, count=6
        )
        assert [[i for i in row if i >= 0] for row in found.tolist()] == [[7, 0, 9], [5, 6]]

    def test_ranks(self):
        assert chosen(first_rank=2) == [[0, 9, 3], [8, 6, 0]]
        assert chosen(first_rank=1, last_rank=4) == [[7, 0], [5, 8, 6]]

    def test_scores(self):
        assert chosen(nearest=0.3, farthest=0.75) == [[0], [8, 6, 0]]

    def test_margins(self):
        positives = torch.tensor([0.3, 0.2])
        assert chosen(margin=0.15, positive_scores=positives) == [[0, 9, 3], [8, 6, 0]]
        relative = {"scores_are": "similarity", "positives": OWN, "count": 6, "relative_margin": 0.5}
        found = hard_negatives(IDS, 1 - DISTANCES, positive_scores=1 - positives, **relative)
        # s <= 0.5 * 0.7 and s <= 0.5 * 0.8
        assert [[i for i in row if i >= 0] for row in found.tolist()] == [[9, 3], [6, 0]]
        far = {**relative, "scores_are": "distance"}
        found = hard_negatives(IDS, DISTANCES, positive_scores=positives, **far)
        # d >= 1.5 * 0.3 and d >= 1.5 * 0.2
        assert [[i for i in row if i >= 0] for row in found.tolist()] == [[0, 9, 3], [8, 6, 0]]

    @given(st.integers(0, 10**6), st.integers(1, 6))
    @settings(max_examples=20, deadline=None)
    def test_random_ones_fit_too_and_come_in_order(self, seed, count):
        generator = torch.Generator().manual_seed(seed)
        how = {"scores_are": "distance", "positives": OWN, "count": count, "sampling": "random"}
        found = hard_negatives(IDS, DISTANCES, generator=generator, **how).tolist()
        for row, order in zip(found, [[7, 0, 9, 3], [5, 8, 6, 0]], strict=True):
            ids = [i for i in row if i >= 0]
            assert len(ids) == min(count, 4)
            assert ids == [i for i in order if i in ids]
            assert row[len(ids) :] == [-1] * (count - len(ids))

    def test_random_is_not_always_the_nearest(self):
        generator = torch.Generator().manual_seed(0)
        how = {"scores_are": "distance", "positives": OWN, "sampling": "random", "generator": generator}
        assert len({int(hard_negatives(IDS, DISTANCES, **how)[0, 0]) for _ in range(50)}) == 4

    def test_numpy_arrays_and_a_search(self):
        generator = torch.Generator().manual_seed(0)
        data = torch.randn(40, 4, generator=generator)
        labels = torch.arange(40) % 5
        calls = []

        def search(queries, k):
            calls.append(len(queries))
            distances = torch.cdist(queries, data)
            values, ids = distances.sort(1)
            return ids[:, :k].numpy(), values[:, :k].numpy()

        found = find_hard_negatives(
            data, search, neighbours=40, batch_size=16, query_labels=labels.numpy(), labels=labels.numpy(),
            scores_are="distance", count=3,
        )  # fmt: skip
        assert calls == [16, 16, 8]
        for query, row in enumerate(found.tolist()):
            order = torch.cdist(data[query : query + 1], data)[0].argsort().tolist()
            assert row == [i for i in order if labels[i] != labels[query]][:3]
        a, p, n = torch.arange(40), torch.arange(40).roll(5), found[:, 0]
        assert triplet(data[a], data[p], data[n]) > 0

    def test_nan_scores_are_left_out(self):
        scores = DISTANCES.clone()
        scores[0, 1] = torch.nan
        found = hard_negatives(IDS, scores.numpy(), scores_are="distance", positives=np.asarray(OWN), count=1)
        assert_close(found, torch.tensor([[0], [5]]))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"ids": IDS.float()}, "ids must be integer"),
            ({"ids": IDS[0]}, "ids must be integer of shape"),
            ({"scores": DISTANCES[:, :2]}, "scores must be of the shape of ids"),
            ({"scores_are": "cosine"}, "scores_are must be 'distance' or 'similarity'"),
            ({"positives": None}, "positives must be given"),
            ({"query_labels": torch.zeros(2), "labels": torch.zeros(10)}, "positives must be given, or else"),
            ({"positives": OWN[:1]}, "positives must be of shape"),
            (
                {"positives": None, "query_labels": torch.zeros(2), "labels": torch.zeros(5)},
                "labels must be one per row",
            ),
            ({"count": 0}, "count must be >= 1"),
            ({"first_rank": 6}, "first_rank must be"),
            ({"sampling": "hardest"}, "sampling must be"),
            ({"margin": 0.1}, "positive_scores must be given"),
            ({"margin": -0.1, "positive_scores": torch.zeros(2)}, "margin must be >= 0"),
            ({"margin": 0.1, "positive_scores": torch.zeros(3)}, "positive_scores must be of shape"),
            ({"relative_margin": -0.1, "positive_scores": torch.zeros(2)}, "relative_margin must be"),
        ],
    )
    def test_wrong_input(self, change, message):
        how = {"ids": IDS, "scores": DISTANCES, "scores_are": "distance", "positives": OWN, **change}
        with pytest.raises(InputError, match=f"hard_negatives: {message}"):
            hard_negatives(how.pop("ids"), how.pop("scores"), **how)

    def test_wrong_search_input(self):
        with pytest.raises(InputError, match="find_hard_negatives: query_labels must be one per query"):
            find_hard_negatives(
                torch.zeros(3, 2), lambda q, k: None, query_labels=torch.zeros(2), labels=torch.zeros(3)
            )
