"""Odd data of every kind: what a stated rule keeps or leaves out is counted in the run's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

import nearfar
from nearfar.data.embeddings import read_embeddings
from nearfar.errors import DataError
from nearfar.modalities.audio import AUDIO
from nearfar.training.run import Run
from tests.data.sounds import RATE, speakers, tone, write
from tests.modalities.test_audio import PATTERN

QUICK: dict[str, Any] = {
    "epochs": 1, "batch_size": 16, "precision": "32-true", "accelerator": "cpu", "threads": 1, "probe": False,
}  # fmt: skip
TEXT: dict[str, Any] = {"method": "simcse", "encoder_options": {"width": 16, "depth": 1, "heads": 2}, **QUICK}


def notes(run: Run) -> dict[str, int]:
    found: dict[str, int] = json.loads((run.path / "notes.json").read_text())
    return found


def skipped(run: Run) -> list[str]:
    return (run.path / "skipped.csv").read_text().splitlines()[1:]


def test_sounds(tmp_path: Path) -> None:
    folder = speakers(tmp_path / "sounds", each=34)  # 204 sounds, so that two broken ones are less than a hundredth
    write(folder / "0_odd_0.wav", np.zeros(800, np.float32))
    write(folder / "0_odd_1.wav", np.clip(4 * tone(300), -1, 1))
    write(folder / "0_odd_2.wav", np.stack([tone(400), tone(500)], 1))
    write(folder / "0_odd_3.wav", tone(400, rate=11_025), 11_025)
    write(folder / "0_odd_4.wav", tone(400, 3.0))
    write(folder / "0_odd_5.wav", tone(400, 1 / RATE))  # a single sample
    write(folder / "1_odd_0.wav", np.zeros(0, np.float32))
    (folder / "1_odd_1.wav").write_bytes(b"RIFF")
    run = nearfar.pretrain(
        folder, out=tmp_path / "run", encoder_options={"width": 2}, method_options={"output_dim": 8, "hidden_dim": 8},
        input_options={**PATTERN, "longest": 2.0}, **QUICK,
    )  # fmt: skip
    assert notes(run) == {"clipped": 1, "cut": 1, "mixed to mono": 1, "resampled": 1, "silent": 2}
    assert [line.partition(",")[0] for line in skipped(run)] == ["1_odd_0.wav", "1_odd_1.wav"]
    assert "holds no sound" in skipped(run)[0]
    assert all(np.isfinite(row["loss"]) for row in run.metrics() if "loss" in row)


def test_an_hour_of_sound_is_read_as_far_as_it_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "hour.flac"
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for _ in range(60):
            file.write(np.zeros(60 * RATE, np.int16))
    source = AUDIO.open_splits(path, {"longest": 1.5})[""]
    assert len(source.read(0)) == 1.5 * RATE
    assert source.counts() == {"cut": 1, "silent": 1}  # type: ignore[attr-defined]


@pytest.mark.parametrize("ending", ["txt", "csv"])
def test_texts(ending: str, tmp_path: Path) -> None:
    lines = [f"the {number} cats sleep".encode() for number in range(240)]
    lines[3:3] = [b"", b"   ", "grün".encode("latin-1"), b"x" * 1_000_000]
    if ending == "csv":
        lines = [b"text,split", *(line + b",train" for line in lines)]
    path = tmp_path / f"texts.{ending}"
    path.write_bytes(b"\n".join(lines) + b"\n")
    run = nearfar.pretrain(path, out=tmp_path / "run", input_options={"length": 8, "vocabulary": 300}, **TEXT)
    assert notes(run) == {"cut": 1}
    reasons = sorted(line.split(",", 1)[1].split(":")[0].strip('"') for line in skipped(run))
    assert reasons == ["empty", "empty", "not utf-8"]


def test_tables(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["age,same,none,mixed,dose,sex,label,label_code"]
    for row in range(60):
        dose = {0: "inf", 1: "nan", 2: ""}.get(row, f"{rng.normal():.2f}")
        mixed = ("1.5", "high")[row % 2]
        lines.append(f"{rng.normal():.2f},7,,{mixed},{dose},{'fm'[row // 3 % 2]},{'ab'[row % 2]},{row % 2 + 4}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    run = nearfar.pretrain(
        tmp_path / "t.csv", out=tmp_path / "run", method_options={"output_dim": 8, "hidden_dim": 8},
        encoder_options={"width": 8}, **QUICK,
    )  # fmt: skip
    schema = (run.path / "inputs" / "schema.yaml").read_text()
    for rule in (
        "same: number  # constant in the training rows, left out",
        "column 'none' is left out, it is missing in all rows",
        "column 'label_code' is left out, it tells the label 'label' one to one",
        "5% missing",  # the three doses that are infinite, no number, and not there
    ):
        assert rule in schema
    assert all(np.isfinite(row["loss"]) for row in run.metrics() if "loss" in row)
    new = tmp_path / "new.csv"
    new.write_text("age,same,mixed,dose,sex\n1,8,low,inf,x\n,,,,\n")  # unseen categories, and a row of nothing
    nearfar.embed(run.path, new, out=tmp_path / "e.parquet")
    vectors = read_embeddings(tmp_path / "e.parquet").vectors
    assert vectors.shape[0] == 2
    assert np.isfinite(vectors).all()


def test_images_with_captions(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["path,caption,split"]
    for number in range(40):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        caption = {3: "", 4: "  ", 5: "long " * 3000}.get(number, f"picture {number}")
        lines.append(f"{number}.png,{caption},{'test' if number > 35 else 'train'}")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    run = nearfar.pretrain(
        tmp_path / "list.csv", out=tmp_path / "run", method="clip", input_options={"length": 8, "vocabulary": 300},
        encoder_options={"image_options": {"width": 4}, "text_options": {"width": 16, "depth": 1, "heads": 2},
                         "output_dim": 8}, **QUICK,
    )  # fmt: skip
    assert skipped(run) == ["3.png,no caption", "4.png,no caption"]
    assert notes(run) == {"cut": 1}


def test_nothing_usable_is_one_sentence(tmp_path: Path) -> None:
    write(tmp_path / "sounds" / "a.wav", np.zeros(0, np.float32))
    write(tmp_path / "sounds" / "b.wav", np.zeros(0, np.float32))
    (tmp_path / "t.txt").write_text("\n\n")
    (tmp_path / "t.csv").write_text("a,b\n,\n,\n")
    for name, said in (
        ("sounds", "audio: sounds must be of a length above 0"),
        ("t.txt", "number of rows with text must be >= 1, got 0"),
        ("t.csv", "columns must be one number or category at least, got none"),
    ):
        with pytest.raises(DataError, match=said) as caught:
            nearfar.pretrain(tmp_path / name, out=tmp_path / "run", **QUICK)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "run").exists()
