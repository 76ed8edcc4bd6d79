"""Duplicates, outliers, clusters, choices and label errors: loops, closed forms, scikit-learn, properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import LocalOutlierFactor

from nearfar.curation import (
    core_set,
    hdbscan_clusters,
    k_means_clusters,
    most_uncertain,
    near_duplicates,
    neighbours,
    outlier_scores,
    outvoted_labels,
    suspicious_labels,
)
from nearfar.errors import InputError


def blobs(sizes, dim=8, spread=0.05, seed=0):
    rng = np.random.default_rng(seed)
    centers = np.linalg.qr(rng.normal(size=(dim, dim)))[0][: len(sizes)]
    x = np.concatenate([c + rng.normal(0, spread, (n, dim)) for c, n in zip(centers, sizes, strict=True)])
    return x.astype(np.float32), np.repeat(np.arange(len(sizes)), sizes)


def cosine_distances(x):
    u = x.astype(float) / np.linalg.norm(x.astype(float), axis=1, keepdims=True)
    return 1 - u @ u.T


def test_neighbours_are_those_of_a_loop_with_ties_in_order():
    x = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    x[10:14] = x[3]
    d = cosine_distances(x)
    far, found = neighbours(x, 5)
    for row in range(30):
        assert row not in found[row]
        assert far[row] == pytest.approx(np.sort(np.delete(d[row], row))[:5], abs=1e-6)
    assert neighbours(x[:3], 10)[0].shape == (3, 2)


def groups_by_loop(x, limit):
    d, left, groups = cosine_distances(x), set(range(len(x))), []
    while left:
        group, waiting = set(), [min(left)]
        while waiting:
            row = waiting.pop()
            if row not in group:
                group.add(row)
                waiting += [other for other in left if other not in group and d[row, other] <= limit]
        left -= group
        groups.append(sorted(group))
    return sorted((g for g in groups if len(g) > 1), key=lambda g: (-len(g), g[0]))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), limit=st.sampled_from([0.02, 0.1, 0.3]))
def test_groups_are_the_connected_parts(seed, limit):
    x = np.random.default_rng(seed).normal(size=(25, 3)).astype(np.float32)
    d = cosine_distances(x)[np.triu_indices(25, 1)]
    if np.abs(d - limit).min() < 1e-5:
        return
    found = near_duplicates(x, distance=limit)
    assert [g.tolist() for g in found.groups] == groups_by_loop(x, limit)
    assert sorted([*found.keep.tolist(), *found.drop.tolist()]) == list(range(25))
    for group, apart in zip(found.groups, found.distances, strict=True):
        assert len(set(group.tolist()) & set(found.keep.tolist())) == 1
        assert (apart <= limit + 1e-6).all()


def test_the_most_linked_row_of_a_group_is_kept():
    angles = np.array([0.0, 0.1, 0.2, 2.0])  # a chain: the middle one is linked to both ends
    x = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    found = near_duplicates(x, distance=1 - np.cos(0.11))
    assert [g.tolist() for g in found.groups] == [[0, 1, 2]]
    assert found.keep.tolist() == [1, 3]
    assert found.drop.tolist() == [0, 2]


def test_identical_rows_are_duplicates_at_distance_zero():
    x = np.random.default_rng(0).normal(size=(6, 512)).astype(np.float32)
    x[4] = x[1]
    x[5] = 3 * x[1]
    assert [g.tolist() for g in near_duplicates(x, distance=0.0).groups] == [[1, 4, 5]]


def test_by_default_a_tenth_of_the_usual_distance_is_near():
    x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    d = cosine_distances(x) + np.diag(np.full(40, np.inf))
    usual = np.median(d.min(axis=1)) / 10
    x[7], x[8] = x[30] * 2, x[31] + 1e-4
    assert 1e-5 < usual < 0.05
    assert [g.tolist() for g in near_duplicates(x).groups] == [[7, 30], [8, 31]]
    assert near_duplicates(x[:1]).keep.tolist() == [0]


def test_outliers_by_distance_are_a_loops_and_by_density_scikit_learns():
    x, _ = blobs([20, 20], seed=1)
    d = cosine_distances(x)
    expected = [np.sort(np.delete(row, i))[:4].mean() for i, row in enumerate(d)]
    assert outlier_scores(x, k=4) == pytest.approx(expected, abs=1e-6)
    model = LocalOutlierFactor(4, metric="precomputed").fit(d.clip(0))
    assert outlier_scores(x, k=4, how="density") == pytest.approx(-model.negative_outlier_factor_, rel=1e-3)


def test_a_planted_outlier_is_found():
    x, _ = blobs([30, 30])
    x[17] = -x[17]
    assert int(np.argmax(outlier_scores(x))) == 17
    assert int(np.argmax(outlier_scores(x, how="density"))) == 17


def test_clusters_find_blobs_and_are_numbered_by_size():
    x, truth = blobs([10, 30, 20])
    for found in (k_means_clusters(x, clusters=3), hdbscan_clusters(x, smallest=5)):
        inside = found.labels >= 0
        assert inside.mean() > 0.9
        assert adjusted_rand_score(truth[inside], found.labels[inside]) == pytest.approx(1)
        sizes = np.bincount(found.labels[inside])
        assert sizes.tolist() == sorted(sizes.tolist(), reverse=True)
        assert np.linalg.norm(found.centers, axis=1) == pytest.approx(1)
        assert (found.distances[inside] < 0.1).all()


def test_hdbscan_leaves_noise_out():
    x, _ = blobs([20, 20])
    x = np.concatenate([x, -x[:1]])
    found = hdbscan_clusters(x, smallest=5)
    assert found.labels[-1] == -1
    assert np.isnan(found.distances[-1])


def test_each_choice_of_the_core_set_is_the_farthest_from_all_so_far():
    x = np.random.default_rng(2).normal(size=(40, 5)).astype(np.float32)
    d = cosine_distances(x)
    picked = core_set(x, 10, chosen=[3, 7])
    covered = [3, 7]
    for row in picked.tolist():
        nearest = d[:, covered].min(axis=1)
        nearest[covered] = -1
        assert nearest[row] == pytest.approx(nearest.max(), abs=1e-6)
        covered.append(row)
    assert np.array_equal(core_set(x, 4, chosen=[3, 7]), picked[:4])


def test_the_core_set_covers_every_blob_first():
    x, truth = blobs([50, 5, 5, 5])
    assert sorted(truth[core_set(x, 4)].tolist()) == [0, 1, 2, 3]


def test_uncertain_rows_lie_between_classes_or_far_from_all():
    x, _ = blobs([20, 20, 20], spread=0.02)
    labels = np.full(60, -1)
    labels[:15], labels[20:35] = 0, 1
    x[15] = x[0] + x[20]  # between two labelled classes
    chosen = most_uncertain(x, labels, 4, diverse=False)
    assert set(chosen.tolist()) <= {15, *range(40, 60)}
    assert 15 in most_uncertain(x, labels, 21, diverse=False).tolist()
    spread = most_uncertain(x, labels, 4)
    assert (labels[spread] == -1).all()
    assert len(set(spread.tolist())) == 4


def test_planted_label_errors_come_first_and_few_others():
    x, truth = blobs([40, 40, 40], spread=0.1)
    labels = truth.copy()
    wrong = [3, 50, 100]
    labels[wrong] = (truth[wrong] + 1) % 3
    found = suspicious_labels(x, labels)
    assert sorted(found.rows[:3].tolist()) == wrong
    assert np.array_equal(found.suggested[:3], truth[found.rows[:3]])
    assert len(found.rows) == 3
    assert (np.diff(found.suspicion) <= 0).all()
    labels[0] = -1
    assert 0 not in suspicious_labels(x, labels).rows


def test_a_rare_class_is_not_outvoted_by_size():
    x, truth = blobs([60, 4], spread=0.2, seed=3)
    assert not set(np.flatnonzero(truth == 1)) & set(suspicious_labels(x, truth, k=10).rows.tolist())


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda x: near_duplicates(x, distance=2.0), r"distance must be in \[0, 2\)"),
        (lambda x: near_duplicates(x * np.nan), "must be finite, got NaN or infinity in row 0"),
        (lambda x: outlier_scores(x[:1]), "rows must be >= 2"),
        (lambda x: outlier_scores(x, how="size"), "'distance' or 'density'"),
        (lambda x: outlier_scores(x, k=0), "k must be >= 1"),
        (lambda x: k_means_clusters(x, clusters=11), r"clusters must be in \[1, 10\]"),
        (lambda x: hdbscan_clusters(x, smallest=1), r"smallest must be in \[2, 10\]"),
        (lambda x: core_set(x, 11), r"count must be in \[1, 10\]"),
        (lambda x: core_set(x, 9, chosen=[0, 1]), r"count must be in \[1, 8\]"),
        (lambda x: most_uncertain(x, np.full(10, -1), 2), "labelled rows must be >= 1"),
        (lambda x: most_uncertain(x, np.zeros(9, int), 2), "labels must be of shape"),
        (lambda x: suspicious_labels(x, np.full(10, -1)), "labelled rows must be >= 2"),
        (lambda x: suspicious_labels(x, np.zeros(10, int), least=1.0), r"least must be in \[0, 1\)"),
        (lambda x: neighbours(x[0], 2), r"embeddings must be numbers of shape \(N, D\)"),
    ],
)
def test_wrong_input_is_one_sentence(call, sentence):
    with pytest.raises(InputError, match=sentence):
        call(np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32))


def test_votes_of_known_neighbours_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    distances, found = rng.random((40, 6)).astype(np.float32), rng.integers(-1, 40, (40, 6))
    labels = rng.integers(-1, 3, 40)
    sizes = {name: int((labels == name).sum()) for name in range(3)}
    expected = []
    for row in np.flatnonzero(labels >= 0):
        votes = dict.fromkeys(range(3), 0.0)
        for far, other in zip(distances[row], found[row], strict=True):
            if other >= 0 and labels[other] >= 0:
                votes[int(labels[other])] += np.exp(-float(far) / 0.2) / sizes[int(labels[other])]
        total = sum(votes.values()) or 1.0
        best = max(votes, key=lambda name: votes[name])
        suspicion = (votes[best] - votes[int(labels[row])]) / total
        if best != labels[row] and suspicion >= 0.3:
            expected.append((-suspicion, int(row), best))
    judged = outvoted_labels(distances, found, labels, temperature=0.2, least=0.3)
    assert len(expected) > 5
    assert list(zip(judged.rows.tolist(), judged.suggested.tolist(), strict=True)) == [
        one[1:] for one in sorted(expected)
    ]
    np.testing.assert_allclose(judged.suspicion, [-one[0] for one in sorted(expected)], rtol=1e-6)


def test_many_rows_are_clustered_by_the_centres_of_a_part():
    x, truth = blobs([12_000, 9_000, 4_000], spread=0.02)
    found = k_means_clusters(x, clusters=3)
    assert found.labels.tolist() == truth.tolist()
    assert found.distances.max() < 0.1
