"""Data sets of the ``datasets`` library and Lance tables: read, split over ranks, resumed, refused."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import datasets
import lance
import numpy as np
import pyarrow as pa
import pytest
import torch

from nearfar.data import Loader, PackedSource, decode_all, open_images, open_splits, take
from nearfar.errors import DataError
from tests.data.pictures import noise, save
from tests.data.test_shards import check, png, write_parquet


def rows(start, count):
    images = [png(noise(6, 5, 3, seed=row)) for row in range(start, start + count)]
    return images, [row % 3 for row in range(start, start + count)]


def hugging_face(start, count, *, names=("x", "y", "z"), image="image"):
    images, labels = rows(start, count)
    kinds = {image: datasets.Image(), "label": datasets.ClassLabel(names=list(names))}
    cells = [{"bytes": content, "path": None} for content in images]
    return datasets.Dataset.from_dict({image: cells, "label": labels}, features=datasets.Features(kinds))


def write_lance(path, start, count, *, struct=False, blob=False, **options):
    images, labels = rows(start, count)
    kind = pa.large_binary() if blob else pa.binary()
    values = [{"bytes": image, "path": None} for image in images] if struct else pa.array(images, kind)
    table = pa.table({"image": values, "label": labels})
    if blob:
        field = pa.field("image", kind, metadata={"lance-encoding:blob": "true"})
        table = table.cast(pa.schema([field, table.schema.field("label")]))
        options["data_storage_version"] = "2.1"
    return lance.write_dataset(table, str(path), max_rows_per_file=7, **options)


class TestHuggingFace:
    def test_a_saved_data_set(self, tmp_path):
        hugging_face(0, 10).save_to_disk(tmp_path / "saved", num_shards=3)
        source = open_images(tmp_path / "saved")
        check(source, 0, 10)
        assert source.class_names == ("x", "y", "z")
        assert source.ids[3] == "data/3"
        assert isinstance(source, PackedSource)

    def test_a_saved_dictionary_has_splits(self, tmp_path):
        parts = {"train": hugging_face(0, 9), "validation": hugging_face(9, 3), "test": hugging_face(12, 4)}
        datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
        opened = open_splits(tmp_path / "saved")
        assert set(opened) == {"", "train", "val", "test"}
        check(opened["train"], 0, 9)
        check(opened["test"], 12, 4)
        assert opened["val"].ids[0] == "validation/0"

    def test_objects_keep_their_order_and_are_decoded_from_their_bytes(self):
        whole = hugging_face(0, 12, image="picture")
        check(open_images(whole), 0, 12)
        chosen = open_images(whole.select([7, 2, 11]))
        np.testing.assert_array_equal(chosen.read(1), noise(6, 5, 3, seed=2))
        assert chosen.labels.tolist() == [1, 2, 2]
        assert open_images(whole).fingerprint() == open_images(whole).fingerprint()
        assert open_images(whole.select([7, 2])).fingerprint() != open_images(whole.select([2, 7])).fingerprint()

    def test_images_that_stand_in_files_of_their_own(self, tmp_path):
        path = save(tmp_path / "a.png", noise(6, 5, 3, seed=4))
        made = datasets.Dataset.from_dict({"image": [str(path)]}).cast_column("image", datasets.Image())
        source = open_images(made)
        np.testing.assert_array_equal(source.read(0), noise(6, 5, 3, seed=4))
        assert source.labels is None
        path.unlink()
        with pytest.raises(DataError, match=r"data/0: cannot be read \(No such file"):
            source.read(0)

    def test_arrays_and_transforms_are_read_as_torch_data_sets(self):
        arrays = datasets.Dataset.from_dict({"image": noise(4, 6, 5, 3).tolist(), "label": [0, 1, 0, 1]})
        arrays = arrays.with_format("numpy", dtype=np.uint8)
        np.testing.assert_array_equal(open_images(arrays).read(2), noise(4, 6, 5, 3)[2])

        def darken(batch):
            return {"image": [np.asarray(image) // 2 for image in batch["image"]]}

        source = open_images(hugging_face(0, 3).with_transform(darken))
        np.testing.assert_array_equal(source.read(1), noise(6, 5, 3, seed=1) // 2)

    def test_a_stream_is_refused_with_what_to_do(self):
        with pytest.raises(DataError, match=r"got a stream; give the URL of its Parquet files \(hf://"):
            open_images(hugging_face(0, 4).to_iterable_dataset())

    def test_what_cannot_be_used(self, tmp_path):
        datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "text")
        with pytest.raises(DataError, match="the name of the column of images must be image, img, jpg or png, got tex"):
            open_images(tmp_path / "text")
        hugging_face(0, 4).save_to_disk(tmp_path / "saved")
        for file in (tmp_path / "saved").glob("*.arrow"):
            file.write_bytes(b"nonsense")
        with pytest.raises(DataError, match="cannot be read as a saved data set"):
            open_images(tmp_path / "saved")


class TestLance:
    @pytest.mark.parametrize("kind", [{}, {"struct": True}, {"blob": True}])
    def test_a_table(self, tmp_path, kind):
        write_lance(tmp_path / "photos.lance", 0, 20, **kind)
        source = open_images(tmp_path / "photos.lance")
        check(source, 0, 20)
        assert source.ids[19] == "photos/19"
        order = np.array([13, 0, 19, 7, 6])
        for row, image in zip(order, source.read_many(order), strict=True):
            np.testing.assert_array_equal(image, source.read(int(row)))

    def test_a_folder_of_tables_with_splits_an_open_table_and_a_url(self, tmp_path):
        write_lance(tmp_path / "train.lance", 0, 9)
        write_lance(tmp_path / "test.lance", 9, 5)
        parts = open_splits(tmp_path)
        assert set(parts) == {"", "train", "test"}
        check(parts["test"], 9, 5)
        check(open_images(lance.dataset(str(tmp_path / "train.lance"))), 0, 9)
        check(open_images(f"file://{tmp_path}/train.lance"), 0, 9)
        check(open_images(f"file://{tmp_path}", split="test"), 9, 5)

    def test_rows_added_or_deleted_later_are_another_data_set(self, tmp_path):
        write_lance(tmp_path / "a.lance", 0, 9)
        before = open_images(tmp_path / "a.lance")
        write_lance(tmp_path / "a.lance", 9, 2, mode="append")
        after = open_images(tmp_path / "a.lance")
        check(before, 0, 9)
        check(after, 0, 11)
        lance.dataset(str(tmp_path / "a.lance")).delete("label = 1")
        fewer = open_images(tmp_path / "a.lance")
        assert fewer.labels.tolist() == [label for label in after.labels.tolist() if label != 1]
        np.testing.assert_array_equal(fewer.read(1), noise(6, 5, 3, seed=2))
        assert len({source.fingerprint() for source in (before, after, fewer)}) == 3
        assert open_images(tmp_path / "a.lance").fingerprint() == fewer.fingerprint()

    def test_nulls_and_broken_images_are_skipped(self, tmp_path):
        table = pa.table({"image": [png(noise(4, 4)), None, b"nonsense"]})
        lance.write_dataset(table, str(tmp_path / "b.lance"))
        decoded = decode_all(open_images(tmp_path / "b.lance"), most_broken=0.7)
        assert [tuple(item) for item in decoded.skipped] == [
            ("b/1", "the file is empty"),
            ("b/2", "not an image, or of an unknown format"),
        ]

    def test_what_cannot_be_used(self, tmp_path):
        (tmp_path / "empty.lance").mkdir()
        with pytest.raises(DataError, match=r"empty\.lance: cannot be read as a Lance table"):
            open_images(tmp_path / "empty.lance")
        lance.write_dataset(pa.table({"image": [1, 2]}), str(tmp_path / "numbers.lance"))
        with pytest.raises(DataError, match="the column 'image' must be bytes or blobs, got int64"):
            open_images(tmp_path / "numbers.lance")
        lance.write_dataset(pa.table({"picture": [b"x"]}), str(tmp_path / "other.lance"))
        with pytest.raises(DataError, match="the name of the column of images must be image"):
            open_images(tmp_path / "other.lance")


def views(images, rng):
    noisy = [image.astype(np.float32) + rng.random() for image in images]
    return [torch.from_numpy(np.stack(noisy))]


@pytest.fixture(params=["hugging face", "lance", "parquet"])
def stored(request, tmp_path):
    if request.param == "hugging face":
        hugging_face(0, 40).save_to_disk(tmp_path / "saved", num_shards=4)
        return tmp_path / "saved"
    if request.param == "lance":
        write_lance(tmp_path / "a.lance", 0, 40)
        return tmp_path / "a.lance"
    write_parquet(tmp_path / "img.parquet", 0, 40)
    return tmp_path / "img.parquet"


@pytest.mark.parametrize("buffer", [None, 16])
def test_ranks_share_every_row_once_for_any_number_of_threads(stored, buffer):
    source = open_images(stored)

    def ids(rank, world, threads):
        loader = Loader(source, views, batch_size=12 // world, seed=3, buffer=buffer, drop_last=False, threads=threads,
                        rank=rank, world_size=world)  # fmt: skip
        return [batch.ids.tolist() for batch in loader]

    whole = [sorted(batch) for batch in ids(0, 1, 0)]
    assert sorted(row for batch in whole for row in batch) == list(range(40))
    for world in (2, 3):
        parts = [ids(rank, world, threads) for rank, threads in zip(range(world), (0, 2, 3), strict=False)]
        together = [sorted(row for part in parts for row in part[number]) for number in range(3)]
        assert together == whole[:3]  # whole batches: a sequence's end is filled up so that ranks have equal numbers


def test_a_loader_resumes_at_the_sample_where_it_stood(stored):
    def loader(threads):
        return Loader(
            open_images(stored), views, batch_size=4, seed=1, buffer=16, threads=threads, rank=1, world_size=2
        )

    whole = [(batch.ids.tolist(), batch.views[0]) for batch in loader(2)]
    stopped = loader(0)
    seen = iter(stopped)
    for _ in range(2):
        next(seen)
    resumed = loader(3)
    resumed.load_state_dict(stopped.state_dict())
    rest = [(batch.ids.tolist(), batch.views[0]) for batch in resumed]
    assert [ids for ids, _ in rest] == [ids for ids, _ in whole[2:]]
    for (_, again), (_, before) in zip(rest, whole[2:], strict=True):
        torch.testing.assert_close(again, before, rtol=0, atol=0)


def test_through_subsets_sizes_and_the_disk_cache(stored, tmp_path):
    source = open_images(stored)
    part = take(source, [30, 2, 17])
    decoded = decode_all(part, side=4, cache="off")
    for image, row in zip(decoded.read_many(np.array([2, 0, 1])), (17, 30, 2), strict=True):
        assert image.shape[1] == 4
        np.testing.assert_array_equal(image, source.read(row, side=4))
    check(decode_all(source, cache="disk", folder=tmp_path / "cache"), 0, 40)


def test_a_missing_package_names_the_command(tmp_path):
    write_lance(tmp_path / "a.lance", 0, 2)
    hugging_face(0, 2).save_to_disk(tmp_path / "saved")
    program = f"""
        import sys
        sys.modules["lance"] = sys.modules["datasets"] = None
        from nearfar.data import open_images
        from nearfar.errors import MissingExtraError
        for place, name in (("a.lance", "lance"), ("saved", "datasets")):
            try:
                open_images({str(tmp_path)!r} + "/" + place)
            except MissingExtraError as error:
                assert f"pip install 'nearfar[{{name}}]'" in str(error), error
            else:
                raise AssertionError(place)
        open_images({str(tmp_path)!r} + "/plain.npy")
    """
    np.save(tmp_path / "plain.npy", noise(3, 4, 4, 3))
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_of_them_is_imported_for_other_data(tmp_path):
    np.save(tmp_path / "plain.npy", noise(3, 4, 4, 3))
    program = f"""
        import sys
        from nearfar.data import open_images
        open_images({str(tmp_path / "plain.npy")!r})
        assert not {{"lance", "datasets"}} & set(sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
