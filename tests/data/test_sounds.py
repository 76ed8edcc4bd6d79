"""Reading sounds: formats, parts, names, and what bad files lead to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from nearfar.data import take
from nearfar.data.sound import judge, read_sound
from nearfar.data.sound_rows import list_sounds, read_sound_manifest
from nearfar.data.sounds import SoundArrays, SoundFiles, open_sound_splits
from nearfar.data.sounds_kept import keep_sounds
from nearfar.data.source import ItemError
from nearfar.errors import ConfigError, DataError
from tests.data.sounds import RATE, speakers, tone, write


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_every_format_gives_the_tone_that_was_written(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"a.{ending}", tone(440, 1.0), RATE)
    sound = read_sound(str(path), rate=RATE).samples
    assert sound.dtype == np.float32
    assert abs(len(sound) - RATE) <= 2400  # MP3 pads
    spectrum = np.abs(np.fft.rfft(sound[: RATE - 100] * np.hanning(RATE - 100)))
    assert np.argmax(spectrum) * RATE / (RATE - 100) == pytest.approx(440, abs=2)
    assert np.sqrt(np.mean(sound[1000:7000] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_channels_are_averaged_and_another_rate_is_brought_to_the_one_asked_for(tmp_path: Path) -> None:
    left, right = tone(440, 0.5, 11025), tone(900, 0.5, 11025)
    path = write(tmp_path / "stereo.wav", np.stack([left, right], 1), 11025, subtype="FLOAT")
    same = read_sound(str(path), rate=11025)
    np.testing.assert_allclose(same.samples, (left + right) / 2, atol=1e-6)
    assert same.notes == {"mixed to mono"}
    other = read_sound(str(path), rate=RATE)
    assert other.notes == {"mixed to mono", "resampled"}
    wanted = (tone(440, 0.5) + tone(900, 0.5)) / 2
    np.testing.assert_allclose(other.samples[200:-200], wanted[200 : len(other.samples) - 200], atol=2e-3)


def test_a_part_is_the_part(tmp_path: Path) -> None:
    whole = np.linspace(-0.9, 0.9, 2 * RATE, dtype=np.float32)
    path = write(tmp_path / "ramp.wav", whole, subtype="FLOAT")
    part = read_sound(str(path), rate=RATE, start=0.5, end=1.25).samples
    np.testing.assert_array_equal(part, whole[RATE // 2 : RATE + RATE // 4])
    with pytest.raises(ItemError, match=r"cannot be read \(holds no sound after 3 s\)"):
        read_sound(str(path), rate=RATE, start=3.0)


def test_a_long_file_is_cut_where_asked_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "long.flac", tone(300, 3.0))
    sound = read_sound(str(path), rate=RATE, longest=1.0)
    assert len(sound.samples) == RATE
    assert "cut" in sound.notes
    assert "cut" not in read_sound(str(path), rate=RATE, longest=3.0).notes


def test_silence_and_clipping_are_noticed() -> None:
    assert judge(np.zeros(100, np.float32)) == {"silent"}
    assert judge(np.full(100, 5e-5, np.float32)) == {"silent"}
    assert judge(tone(440)) == set()
    assert judge(np.clip(3 * tone(100), -1, 1)) == {"clipped"}
    assert judge(np.array([0.0, 1.0, 1.0, 0.0, -1.0, -1.0, 0.0], np.float32)) == set()  # peaks, not plateaus


def broken(folder: Path) -> dict[str, Path]:
    write(folder / "empty.wav", np.zeros(0, np.float32))
    (folder / "nothing.wav").write_bytes(b"")
    (folder / "text.mp3").write_text("no sound at all")
    whole = write(folder / "whole.flac", tone(440)).read_bytes()
    (folder / "torn.flac").write_bytes(whole[:60])
    write(folder / "nan.wav", np.array([0.1, np.nan, 0.2], np.float32), subtype="FLOAT")
    return {path.name: path for path in folder.iterdir()}


def test_broken_files_are_items_that_cannot_be_read(tmp_path: Path) -> None:
    paths = broken(tmp_path)
    for name in ("empty.wav", "nothing.wav", "text.mp3", "torn.flac", "nan.wav"):
        with pytest.raises(ItemError, match=r"cannot be read \(.+\)"):
            read_sound(str(paths[name]), rate=RATE)
    with pytest.raises(ItemError, match="no such file"):
        read_sound(str(tmp_path / "gone.wav"), rate=RATE)


def test_a_header_that_promises_more_than_there_is_takes_what_there_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(440, 0.5), subtype="PCM_16")
    raw = bytearray(path.read_bytes())
    at = raw.index(b"data") + 4
    raw[at : at + 4] = (2**31 - 2).to_bytes(4, "little")
    path.write_bytes(raw)
    assert 0 < len(read_sound(str(path), rate=RATE).samples) <= RATE


def test_a_pattern_gives_labels_and_speakers(tmp_path: Path) -> None:
    rows = list_sounds(speakers(tmp_path), "{label}_{group}_{take}")
    assert len(rows) == 24
    assert (rows[0].id, rows[0].label, rows[0].group) == ("0_p0_0.wav", "0", "p0")
    with pytest.raises(DataError, match=r"must fit the pattern '\{label\}-\{group\}', got '0_p0_0'"):
        list_sounds(tmp_path, "{label}-{group}")
    for wrong in ("plain", "{label}{label}", "{take}", "{label"):
        with pytest.raises(ConfigError, match="pattern must be"):
            list_sounds(tmp_path, wrong)


def test_folders_are_classes_and_splits(tmp_path: Path) -> None:
    for part in ("train/cat/1.wav", "train/dog/2.flac", "test/cat/3.ogg"):
        write(tmp_path / part, tone(440))
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no sound")
    parts = open_sound_splits(tmp_path)
    assert sorted(parts) == ["", "test", "train"]
    assert parts["train"].class_names == ("cat", "dog")
    assert parts["test"].labels.tolist() == [0]
    assert parts[""].rate == RATE
    with pytest.raises(DataError, match="must hold at least one sound file, got none"):
        open_sound_splits(write(tmp_path / "no" / "a.wav", tone(1)).parent.parent / "train" / "nothing"
                          if (tmp_path / "train" / "nothing").mkdir() is None else tmp_path)  # fmt: skip


def test_a_manifest_names_parts_labels_and_speakers(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", tone(440, 2.0))
    table = tmp_path / "rows.csv"
    table.write_text("path,start,end,label,speaker,split\na.wav,0,0.5,yes,ann,train\na.wav,0.5,,no,bob,testing\n")
    rows = read_sound_manifest(table)
    assert [row.id for row in rows] == ["a.wav#0-0.5", "a.wav#0.5-"]
    parts = open_sound_splits(table)
    assert len(parts["train"].read(0)) == RATE // 2
    assert len(parts["test"].read(0)) == RATE * 3 // 2
    assert parts[""].groups == ["ann", "bob"]
    by_group = open_sound_splits(table, classes="group")[""]
    assert by_group.class_names == ("ann", "bob")
    assert by_group.groups is None


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("file\na.wav\n", "the columns must be path"),
        ("path\n", "number of rows must be >= 1"),
        ("path\nb.wav\n", "row 1: path must be an existing file"),
        ("path\na.wav\na.wav\n", "row 2: path, start and end must be in one row only"),
        ("path,start\na.wav,soon\n", "row 1: start must be seconds >= 0, got 'soon'"),
        ("path,start,end\na.wav,2,1\n", "row 1: end must be > start"),
        ("path,start\na.wav\n", "row 1: the number of fields must be 2"),
    ],
)
def test_wrong_manifests_are_refused(tmp_path: Path, text: str, match: str) -> None:
    write(tmp_path / "a.wav", tone(440))
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(DataError, match=match):
        open_sound_splits(tmp_path / "rows.csv")


def test_the_most_common_rate_is_taken_but_no_more_than_sixteen_thousand(tmp_path: Path) -> None:
    for name, rate in (("a", 8000), ("b", 8000), ("c", 22050)):
        write(tmp_path / "low" / f"{name}.wav", tone(440, 0.2, rate), rate)
    source = open_sound_splits(tmp_path / "low")[""]
    assert source.rate == 8000
    assert abs(len(source.read(2)) - 1600) <= 1
    write(tmp_path / "high" / "a.wav", tone(440, 0.2, 44100), 44100)
    assert open_sound_splits(tmp_path / "high")[""].rate == 16000
    assert open_sound_splits(tmp_path / "high", rate=32000)[""].rate == 32000
    with pytest.raises(DataError, match="rate must be from 1,000"):
        open_sound_splits(tmp_path / "high", rate=10)


def test_sounds_are_decoded_once_and_oddities_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "plain.wav", tone(440))
    write(tmp_path / "silent.wav", np.zeros(1600, np.float32))
    write(tmp_path / "loud.wav", np.clip(5 * tone(200), -1, 1))
    write(tmp_path / "wide.wav", np.stack([tone(300, 0.2, 16000)] * 2, 1), 16000)
    source = open_sound_splits(tmp_path)[""]
    assert isinstance(source, SoundFiles)
    kept = keep_sounds(source)
    assert kept.where == "memory"
    assert source.counts() == {"clipped": 1, "mixed to mono": 1, "resampled": 1, "silent": 1}
    assert "1 silent" in capsys.readouterr().err
    for path in tmp_path.iterdir():
        path.unlink()
    assert [len(kept.read(row)) for row in range(4)] == [1600, 1600, 1600, 1600]  # the files are gone


def test_too_many_broken_sounds_are_an_error_and_few_are_left_out(tmp_path: Path) -> None:
    for number in range(9):
        write(tmp_path / f"{number}.wav", tone(440))
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    source = open_sound_splits(tmp_path)[""]
    with pytest.raises(DataError, match=r"1 broken: broken\.wav"):
        keep_sounds(source)
    kept = keep_sounds(source, most_broken=0.2)
    assert len(kept) == 9
    assert [item.id for item in kept.skipped] == ["broken.wav"]
    assert keep_sounds(source, most_broken=0.2, limit_bytes=100).where == "files"
    with pytest.raises(ConfigError, match="cache must be memory or off"):
        keep_sounds(source, cache="disk")


def test_arrays_are_a_source(tmp_path: Path) -> None:
    source = SoundArrays([tone(440), (tone(220) * 32767).astype(np.int16)], RATE, labels=[0, 1], groups=["a", "b"])
    np.testing.assert_allclose(source.read(1), tone(220), atol=1e-4)
    assert take(source, [1]).read(0).dtype == np.float32
    assert source.fingerprint() != SoundArrays([tone(440), tone(221)], RATE, labels=[0, 1]).fingerprint()
    with pytest.raises(ItemError, match="samples in one line"):
        SoundArrays([np.zeros((2, 2))], RATE).read(0)
    with pytest.raises(DataError, match="a folder, a manifest"):
        open_sound_splits([1, 2])
    with pytest.raises(DataError, match="rate must be 8000, the source's"):
        open_sound_splits(source, rate=16000)


def test_a_fingerprint_changes_with_the_file_and_the_rate(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(440))
    first = open_sound_splits(tmp_path)[""].fingerprint()
    assert first == open_sound_splits(tmp_path)[""].fingerprint()
    assert first != open_sound_splits(tmp_path, rate=4000)[""].fingerprint()
    soundfile.write(path, tone(440, 0.3), RATE)
    assert first != open_sound_splits(tmp_path)[""].fingerprint()
