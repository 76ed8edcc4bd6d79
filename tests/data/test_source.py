from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from nearfar.data import ArraySource, DatasetSource, Joined, hold_out, hold_out_rows, open_images, relabel, take
from nearfar.data.labels import encode_labels
from nearfar.data.source import read_many
from nearfar.errors import DataError
from tests.data.pictures import noise


def source_of(count=10, labels=None, **options):
    return ArraySource(noise(count, 4, 5, 3), labels, **options)


class TestArrays:
    def test_uint8_is_not_copied(self):
        images = noise(3, 4, 5, 3)
        source = ArraySource(images, ["b", "a", None])
        assert source.images is images
        assert source.labels.tolist() == [1, 0, -1]
        assert source.class_names == ("a", "b")
        assert source.ids == ["0", "1", "2"]

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            (np.array([0.0, 0.5, 1.0]), np.array([0, 128, 255], np.uint8)),
            (np.array([0.0, 7.6, 16.0], np.float32), np.array([0, 8, 16], np.uint8)),
            (np.array([0, 3, 255]), np.array([0, 3, 255], np.uint8)),
            (np.array([0, 3, 256]), np.array([0, 3, 256], np.uint16)),
            (np.array([0.0, 40_000.4]), np.array([0, 40_000], np.uint16)),
            (np.array([False, True]), np.array([0, 255], np.uint8)),
        ],
    )
    def test_other_types(self, given, expected):
        source = ArraySource(given.reshape(1, 1, -1))
        assert source.images.dtype == expected.dtype
        np.testing.assert_array_equal(source.read(0)[0, :, 0], expected)

    def test_channels_first_is_recognised(self):
        images = noise(2, 3, 16, 20)
        np.testing.assert_array_equal(ArraySource(images).read(1), images[1].transpose(1, 2, 0))
        assert ArraySource(noise(2, 3, 5, 12)).read(0).shape == (3, 5, 12)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_nan_names_the_first_row(self, bad):
        images = np.zeros((9, 4, 4))
        images[6, 1, 2] = images[7, 0, 0] = bad
        with pytest.raises(DataError, match="images must be finite, got NaN or infinity in row 6"):
            ArraySource(images)

    @pytest.mark.parametrize(
        ("images", "sentence"),
        [
            (np.zeros((3, 4)), r"must be \(N, H, W\) or \(N, H, W, C\), got \(3, 4\)"),
            (np.zeros((0, 4, 4)), "of no empty axis"),
            (np.full((1, 2, 2), -0.5), r"within 0..65535, got -0.5..-0.5; scale them"),
            (np.full((1, 2, 2), 70_000), "within 0..65535"),
            (np.zeros((1, 2, 2), complex), "must be numbers"),
            (np.full((1, 2, 2), None), "must be numbers"),
        ],
    )
    def test_what_is_refused(self, images, sentence):
        with pytest.raises(DataError, match=sentence):
            ArraySource(images)

    def test_labels_must_fit(self):
        with pytest.raises(DataError, match=r"labels must be \(10,\), got \(9,\)"):
            source_of(labels=range(9))
        with pytest.raises(DataError, match="a place among the 2 class names, got '2'"):
            source_of(3, [0, 1, 2], class_names=("a", "b"))
        with pytest.raises(DataError, match="ids must be unique, got 'x' more than once"):
            source_of(2, ids=["x", "x"])

    def test_fingerprint(self):
        images = noise(5, 4, 4, 1)
        same = ArraySource(images, [0, 1, 2, 3, 4]).fingerprint()
        assert ArraySource(images.copy(), [0, 1, 2, 3, 4]).fingerprint() == same
        changed = images.copy()
        changed[4, 3, 3] ^= 1
        assert len({same, ArraySource(changed, [0, 1, 2, 3, 4]).fingerprint(), ArraySource(images).fingerprint()}) == 3


def test_labels_by_one_rule():
    assert encode_labels([3, 0, -1, None])[0].tolist() == [3, 0, -1, -1]
    assert encode_labels(["3", "0", "", " "])[0].tolist() == [3, 0, -1, -1]
    assert encode_labels([3.0, float("nan")])[0].tolist() == [3, -1]
    labels, names = encode_labels(["x", "10", "9", None])
    assert names == ("10", "9", "x")
    assert labels.tolist() == [2, 0, 1, -1]
    labels, names = encode_labels([100_000, 70_000, 100_000])
    assert names == ("70000", "100000")
    assert labels.tolist() == [1, 0, 1]
    assert encode_labels([None, "", float("nan")]) == (None, None)


class TestTake:
    def test_rows_in_the_order_asked_for(self):
        source = source_of(labels=range(10))
        part = take(source, [7, 2, 5])
        assert part.ids == ["7", "2", "5"]
        assert part.labels.tolist() == [7, 2, 5]
        np.testing.assert_array_equal(part.read(1), source.read(2))
        np.testing.assert_array_equal(read_many(part, np.array([2, 0])), source.images[[5, 7]])

    def test_a_part_of_a_part_refers_to_the_whole(self):
        source = source_of()
        part = take(take(source, [7, 2, 5]), [2, 0])
        assert part.source is source
        assert part.ids == ["5", "7"]

    def test_labels_are_none_when_none_is_known(self):
        assert take(source_of(3, [0, None, 1]), [1]).labels is None

    @pytest.mark.parametrize(
        ("rows", "sentence"),
        [([], "one or more"), ([3, 10], "got 10"), ([-1], "got -1"), ([1, 1], "distinct"), ([0.5], "whole numbers")],
    )
    def test_wrong_rows(self, rows, sentence):
        with pytest.raises(DataError, match=sentence):
            take(source_of(), rows)

    def test_fingerprint_knows_rows_and_order(self):
        source = source_of()
        prints = {
            part.fingerprint() for part in (source, take(source, [1, 2]), take(source, [2, 1]), take(source, [1, 3]))
        }
        assert len(prints) == 4
        assert take(source, [1, 2]).fingerprint() in prints


def test_joined_sources():
    first, second = source_of(3, ids=["a", "b", "c"]), source_of(2, [1, 0], ids=["d", "e"])
    both = Joined([first, second])
    assert both.labels.tolist() == [-1, -1, -1, 1, 0]
    np.testing.assert_array_equal(both.read(4), second.read(1))
    np.testing.assert_array_equal(both.read(2), first.read(2))
    with pytest.raises(DataError, match="ids must be unique"):
        Joined([first, first])


def test_relabel_by_name():
    source = source_of(4, ["dog", "cat", None, "dog"])
    other = relabel(source, ["ape", "cat", "cow", "dog"])
    assert other.labels.tolist() == [3, 1, -1, 3]
    assert other.class_names == ("ape", "cat", "cow", "dog")
    assert other.fingerprint() != source.fingerprint()
    with pytest.raises(DataError, match="every class must be one of ape, dog, got 'cat'"):
        relabel(source, ["ape", "dog"])


class TestHoldOut:
    def test_the_same_share_of_every_class(self):
        labels = np.repeat([0, 1, 2, -1], [100, 50, 10, 40])
        kept, held = hold_out_rows(labels, 200, share=0.2, seed=3)
        assert np.bincount(labels[held] + 1).tolist() == [8, 20, 10, 2]
        assert sorted([*kept, *held]) == list(range(200))

    def test_seeded(self):
        drawn = [hold_out_rows(None, 100, seed=seed)[1].tolist() for seed in (0, 0, 1)]
        assert drawn[0] == drawn[1] != drawn[2]
        assert len(drawn[0]) == 10

    def test_small_classes(self):
        kept, held = hold_out_rows(np.array([0, 0, 1]), 3, share=0.9)
        assert len(kept) == 2
        assert len(held) == 1
        assert 2 in kept
        kept, held = hold_out_rows(np.array([0, 1, 2]), 3, share=0.4)
        assert len(held) == 1

    def test_sources(self):
        kept, held = hold_out(source_of(10, [0, 1] * 5), share=0.4)
        assert sorted(held.labels.tolist()) == [0, 0, 1, 1]
        assert not set(kept.ids) & set(held.ids)
        with pytest.raises(DataError, match=r"share must be in \(0, 1\), got 1"):
            hold_out(kept, share=1)


class Pairs(torch.utils.data.Dataset):
    def __init__(self, items, **attributes):
        self.items = items
        self.__dict__.update(attributes)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class TestTorchDatasets:
    def test_pillow_and_targets(self):
        pixels = noise(3, 6, 5, 3)
        data = Pairs([(Image.fromarray(image), 0) for image in pixels], targets=[2, 0, 1], classes=["a", "b", "c"])
        source = open_images(data)
        assert isinstance(source, DatasetSource)
        assert source.labels.tolist() == [2, 0, 1]
        assert source.class_names == ("a", "b", "c")
        np.testing.assert_array_equal(source.read(2), pixels[2])
        assert source.fingerprint() is None

    def test_tensors_and_labels_in_the_items(self):
        pixels = noise(3, 6, 5, 3)
        tensors = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        source = open_images(
            Pairs([(image / 255, torch.tensor(label)) for image, label in zip(tensors, (1, 0, 1), strict=True)])
        )
        np.testing.assert_array_equal(source.read(1), pixels[1])
        assert source.labels.tolist() == [1, 0, 1]
        plain = open_images(torch.utils.data.TensorDataset(tensors))
        np.testing.assert_array_equal(plain.read(2), pixels[2])
        assert plain.labels is None

    def test_mappings_grey_arrays_and_channels(self):
        pixels = noise(3, 6, 5)
        source = open_images(Pairs([{"image": image, "label": "x"} for image in pixels]), channels=3)
        assert source.class_names == ("x",)
        np.testing.assert_array_equal(source.read(0), np.repeat(pixels[0][..., None], 3, axis=2))

    def test_clear_errors(self):
        with pytest.raises(DataError, match="must have a length"):
            open_images(iter([1]))
        with pytest.raises(DataError, match="the number of items must be >= 1"):
            open_images(Pairs([]))
        with pytest.raises(DataError, match=r"Pairs\[0\]: cannot be read .*must have the key 'image', got the keys a"):
            open_images(Pairs([{"a": 1}]))
        with pytest.raises(DataError, match=r"within 0\.\.65535, got -1"):
            open_images(Pairs([(torch.full((3, 2, 2), -1.0), 0)]))
        broken = open_images(Pairs([noise(2, 2), "text"]))
        with pytest.raises(DataError, match=r"Pairs\[1\]: cannot be read"):
            broken.read(1)
