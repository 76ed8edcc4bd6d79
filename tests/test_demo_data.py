"""The demo on data of one's own: texts, pairs, images with captions; without data it says what to give."""

from __future__ import annotations

from pathlib import Path

import pytest

import nearfar
from nearfar.data import open_images
from nearfar.errors import ConfigError
from tests.cli.call import call, refused
from tests.data.sounds import speakers
from tests.text_files import write_captions, write_texts


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    write_texts(folder)
    write_captions(folder, 80)
    return folder


def test_labelled_texts_tell_their_story(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = call(
        capsys, "demo", folder / "questions.csv", "--modality", "text", "--out", tmp_path / "demo", "--epochs", 1
    )
    assert outcome.code == 0, outcome.err
    assert "linear, 5 per class" in outcome.out
    page = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    headings = ("Numbers", "What they say", "Queries and their nearest neighbours", "Map of the embeddings")
    for heading in (*headings, "Views", "Training", "Facts"):
        assert f"{heading}</h2>" in page
    assert "With 5 labels per class, pretraining" in page
    assert "With 5 labels per class, pretraining" in outcome.err
    assert "hashed word counts" in page
    assert len(list((tmp_path / "demo").glob("evaluation-*.json"))) == 3


def test_pairs_of_texts_and_images_with_captions(folder: Path, tmp_path: Path) -> None:
    pairs = nearfar.demo(folder / "pairs.csv", out=tmp_path / "pairs", epochs=1, limit=100)
    assert pairs.numbers["pretrained encoder"]["first to second, recall@10"].value > 0.1
    both = nearfar.demo(folder / "products.csv", out=tmp_path / "both", epochs=1)
    assert set(both.numbers) == {"untrained encoder", "pretrained encoder"}
    names = {score.name for result in both.numbers["pretrained encoder"].results for score in result.scores}
    assert {"image to text, recall@1", "zero-shot, top-1"} <= names


def test_sounds_are_told_by_speakers_that_were_not_learnt_from(tmp_path: Path) -> None:
    data = speakers(tmp_path / "words", each=4, people=5)
    options = {"pattern": "{label}_{group}_{take}"}
    done = nearfar.demo(data, modality="audio", out=tmp_path / "demo", epochs=1, input_options=options)
    assert list(done.numbers) == ["mean and deviation of log-mels", "untrained encoder", "pretrained encoder"]
    page = done.report.read_text(encoding="utf-8")
    assert "32 sounds to learn from, 8 held out" in page
    assert "With 1 label per class, " in page


def test_single_texts_without_labels_have_no_numbers(folder: Path, tmp_path: Path) -> None:
    done = nearfar.demo(folder / "sentences.txt", out=tmp_path / "demo", epochs=1, limit=60)
    assert done.table is None
    assert done.report.is_file()


def test_named_without_data_it_says_what_to_give(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = refused(call(capsys, "demo", "--modality", "text", "--out", tmp_path / "demo"))
    assert "demo of text: DATA must be given: a file of texts" in text
    assert not (tmp_path / "demo").exists()
    with pytest.raises(ConfigError, match=r"DATA must be given: a \.csv with columns path and caption"):
        nearfar.demo(modality="image-text")


def test_images_given_run_as_well(folder: Path, tmp_path: Path) -> None:
    assert len(open_images(folder / "shop")) == 80
    done = nearfar.demo(folder / "shop", out=tmp_path / "demo", epochs=1, limit=40)
    assert done.report.is_file()
