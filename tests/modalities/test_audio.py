"""What is the affair of sound alone: odd files, speakers, pictures to look at, files to play, others' encoders."""

from __future__ import annotations

import io
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nearfar
from nearfar.data import take
from nearfar.data.sounds import SoundArrays, open_sound_splits
from nearfar.encoders import load_encoder
from nearfar.encoders.sound_models import TransformersSound
from nearfar.errors import DataError, InputError
from nearfar.modalities import choose, inputs_of
from nearfar.modalities.audio import AUDIO, AudioInputs, wav_bytes
from nearfar.modalities.spectrogram import spectrogram_picture
from tests.data.sounds import RATE, speakers, tone, write
from tests.encoders.test_sound import TINY

QUICK: dict[str, Any] = {
    "epochs": 1, "batch_size": 8, "precision": "32-true", "accelerator": "cpu", "threads": 1, "probe": False,
    "method_options": {"output_dim": 8, "hidden_dim": 8}, "encoder_options": {"width": 2}, "log_every": 1,
}  # fmt: skip
PATTERN = {"pattern": "{label}_{group}_{take}"}


def test_odd_files_are_counted_in_the_runs_folder_and_broken_ones_are_named(tmp_path: Path) -> None:
    folder = speakers(tmp_path / "sounds", each=17, people=3)  # 102 sounds: one broken one is less than a hundredth
    write(folder / "0_p9_0.wav", np.zeros(1000, np.float32))
    write(folder / "1_p9_0.wav", np.stack([tone(500, 0.2, 22050)] * 2, 1), 22050)
    (folder / "0_p9_1.wav").write_bytes(b"no sound")
    run = nearfar.pretrain(folder, out=tmp_path / "run", batch_size=32, input_options=PATTERN,
                           **{k: v for k, v in QUICK.items() if k != "batch_size"})  # fmt: skip
    assert json.loads((run.path / "notes.json").read_text()) == {"mixed to mono": 1, "resampled": 1, "silent": 1}
    assert "0_p9_1.wav" in (run.path / "skipped.csv").read_text()
    assert all(np.isfinite(row["loss"]) for row in run.metrics() if "loss" in row)


def test_speakers_are_never_on_both_sides_and_can_be_the_classes(tmp_path: Path) -> None:
    folder = speakers(tmp_path / "sounds", people=4)
    run = nearfar.pretrain(folder, out=tmp_path / "run", input_options=PATTERN, **QUICK)
    report = nearfar.evaluate(run.path, folder, protocol=["knn"], options={"k": 3}, threads=1)
    assert "8 rows" in report.test  # one speaker of four
    by_speaker = nearfar.evaluate(
        run.path, folder, protocol=["verification"], input_options={"classes": "group"}, threads=1
    )
    assert 0 <= by_speaker["eer"].value <= 1
    with pytest.raises(InputError, match=r"input-options\.rate must be the encoder's, 8000"):
        nearfar.evaluate(run.path, folder, input_options={"rate": 16000})
    for path in folder.iterdir():
        path.rename(folder / path.name.replace("_", "-"))
    with pytest.raises(DataError, match="every file's name must fit the pattern"):
        nearfar.evaluate(run.path, folder)


def test_what_is_known_follows_from_the_training_sounds() -> None:
    short = SoundArrays([tone(400, 0.3)] * 19 + [tone(400, 3.0)], RATE)
    inputs = AUDIO.fit(short, {})
    assert (inputs.rate, inputs.default_views, inputs.default_encoder) == (RATE, "speech", "sound")
    assert 0.3 <= inputs.seconds <= 0.5
    long = AUDIO.fit(SoundArrays([tone(400, 4.0)] * 3, RATE), {"mels": 32})
    assert (long.seconds, long.default_views, long.mels) == (2.0, "byol-a", 32)
    assert AudioInputs(rate=8000, seconds=1.0, form="wave").default_encoder == "transformers-sound"
    assert choose("auto", short).name == "audio"
    assert AUDIO.fit(take(inputs.keep(short), [0, 2]), {}).rate == RATE  # kept in memory, and a part of that
    short.rate = None  # type: ignore[assignment]
    with pytest.raises(DataError, match="samples per second must be known"):
        AUDIO.fit(short, {})


def test_raw_features_are_mean_and_deviation_over_the_sounds_own_frames() -> None:
    inputs = AudioInputs(rate=RATE, seconds=0.5, mels=10)
    items = [tone(400, 0.2), tone(900, 0.5)]
    found = inputs.raw(items)
    assert found.shape == (2, 20)
    for row, item in enumerate(items):
        view = inputs.make_views([item], [inputs.evaluation_view()], np.random.default_rng(0))[0]
        assert not isinstance(view, torch.Tensor)
        mel = view["mel"][0, 0, :, : int(view["frames"][0])].double()
        wanted = torch.cat([mel.mean(1), mel.std(1, unbiased=False)])
        np.testing.assert_allclose(found[row], wanted.numpy(), atol=1e-4)


def test_the_picture_shows_low_tones_below_and_time_to_the_right() -> None:
    inputs = AudioInputs(rate=RATE, seconds=1.0, mels=32)
    picture = inputs.thumbnail(np.concatenate([tone(200, 0.5), tone(3000, 0.5)])).astype(int).sum(2)
    height, width = picture.shape
    bright = picture > 0.8 * picture.max()
    assert bright[height // 2 :, : width // 2 - 4].any()
    assert not bright[: height // 2, : width // 2 - 4].any()
    assert bright[: height // 2, width // 2 + 4 :].any()
    assert not bright[height // 2 :, width // 2 + 4 :].any()
    assert inputs.thumbnail(np.zeros(4, np.float32)).dtype == np.uint8
    assert spectrogram_picture(np.random.default_rng(0).random((40, 5000))).shape[1] <= 256


def test_a_sound_can_be_played() -> None:
    media = AudioInputs(rate=RATE, seconds=1.0).media(2 * tone(400, 0.25, level=0.9))
    assert media is not None
    assert media.kind == "audio/wav"
    with wave.open(io.BytesIO(media.content)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (RATE, 1, RATE // 4)
        samples = np.frombuffer(file.readframes(RATE), "<i2") / 32767
    np.testing.assert_allclose(samples, np.clip(2 * tone(400, 0.25, level=0.9), -1, 1), atol=1e-4)
    assert wav_bytes(np.zeros(0, np.float32), RATE)[:4] == b"RIFF"


def test_the_sheet_of_views_tells_what_was_drawn() -> None:
    inputs = AudioInputs(rate=RATE, seconds=0.3, mels=16)
    seen = inputs.seen([tone(400), tone(900)], inputs.views("speech"), np.random.default_rng(0))
    assert len(seen.views) == 2
    assert len(seen.views[0]) == len(seen.originals) == 2
    assert "speed" in seen.captions[0][0]
    assert inputs.words(tone(400, 0.25)) == "0.25 s"
    assert any("speed" in text for text in inputs.remedies(inputs.views("speech")))
    assert inputs.preprocessing()["high_hz"] == pytest.approx(3900)


def test_encoders_of_others_are_named_like_ours(tmp_path: Path) -> None:
    inputs = AudioInputs(rate=RATE, seconds=0.3, mels=32)
    encoder, spec = inputs.build_encoder("resnet10t", {})
    assert (spec.name, spec.options["model"], spec.dim) == ("timm-sound", "resnet10t", 512)
    view = inputs.make_views([tone(400)], [inputs.evaluation_view()], np.random.default_rng(0))[0]
    assert encoder.eval()(view).shape == (1, 512)
    torch.manual_seed(0)
    TransformersSound(config=TINY).model.save_pretrained(tmp_path / "model")
    folder = speakers(tmp_path / "sounds")
    quick = {key: value for key, value in QUICK.items() if key not in ("encoder_options", "batch_size")}
    run = nearfar.pretrain(
        folder, out=tmp_path / "run", encoder="transformers-sound", input_options={"form": "wave"}, batch_size=16,
        encoder_options={"model": str(tmp_path / "model")}, **quick,
    )  # fmt: skip
    for path in (tmp_path / "model").iterdir():
        path.unlink()
    loaded, found = load_encoder(run.path)  # the run needs the folder no more
    assert found.dim == 16
    assert inputs_of(found, run.path).make_views([tone(400)], [], np.random.default_rng(0)) == []
    source = open_sound_splits(folder)[""]
    h = loaded({"wave": torch.from_numpy(source.read(0))[None], "samples": torch.tensor([len(source.read(0))])})
    assert h.shape == (1, 16)
