"""Views of sounds against slow references, and what every step must keep."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from nearfar.errors import InputError
from nearfar.views.mel import filters, log_mel, transform_length
from nearfar.views.sound import SoundView
from nearfar.views.sound_apply import apply_sounds, make_sound_views
from nearfar.views.sound_plan import draw_sounds
from nearfar.views.sound_ready import SOUND_VIEWS
from nearfar.views.sound_wave import colored_noise, impulse_response
from tests.data.sounds import RATE, tone

PLAIN = SoundView(rate=RATE, seconds=0.3, mels=20, loudness=None)


def sounds(lengths: tuple[float, ...] = (0.2, 0.5, 0.05)) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [(0.1 * rng.standard_normal(round(s * RATE))).astype(np.float32) for s in lengths]


def slow_log_mel(wave: np.ndarray, view: SoundView) -> np.ndarray:
    """Sum by sum, straight from the formulas of the module."""
    width, hop, size = view.window_samples, view.hop_samples, transform_length(view)
    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / width) for n in range(width)]
    mel_of = lambda f: 2595 * math.log10(1 + f / 700)  # noqa: E731
    points = np.linspace(mel_of(view.low), mel_of(view.top), view.mels + 2)
    edges = [700 * (10 ** (p / 2595) - 1) for p in points]
    rows = []
    for t in range(1 + len(wave) // hop):
        frame = [wave[i] if 0 <= (i := t * hop - width // 2 + n) < len(wave) else 0.0 for n in range(width)]
        column = []
        angle = -2j * math.pi * np.outer(np.arange(size // 2 + 1), np.arange(width)) / size
        spectrum = np.exp(angle) @ (np.array(frame) * window)
        power = np.abs(spectrum) ** 2 / (sum(window) / 2) ** 2
        for band in range(view.mels):
            left, middle, right = edges[band : band + 3]
            total = 0.0
            for line, p in enumerate(power):
                f = line * view.rate / size
                total += p * max(0.0, min((f - left) / (middle - left), (right - f) / (right - middle)))
            column.append(max(0.0, 1 + 10 * math.log10(max(total, 1e-20)) / 80))
        rows.append(column)
    return np.array(rows).T


@pytest.mark.parametrize("view", [PLAIN, dataclasses.replace(PLAIN, window=0.064, hop=0.02, mels=12, high=3000.0)])
def test_log_mel_is_the_slow_loop(view: SoundView) -> None:
    wave = sounds()[0][:900].astype(np.float64)
    ours = log_mel(torch.from_numpy(wave)[None].float(), view)[0].numpy()
    np.testing.assert_allclose(ours, slow_log_mel(wave, view), atol=2e-6)


def test_a_full_scale_tone_is_at_the_top_of_its_own_band() -> None:
    view = dataclasses.replace(PLAIN, mels=40)
    mel = log_mel(torch.from_numpy(tone(1000, 0.3, level=1.0))[None], view)[0]
    centre = torch.tensor([float(f) for f in np.argmax(filters(view).numpy(), 0)]) * RATE / transform_length(view)
    middle = mel[:, mel.shape[1] // 2]
    assert abs(float(centre[middle.argmax()]) - 1000) < 60
    assert 0.98 < float(middle.max()) < 1.03
    assert float(log_mel(torch.zeros(1, 800), view).max()) == 0


def test_every_band_has_a_line_of_the_spectrum() -> None:
    for rate, mels in ((8000, 64), (16000, 128), (4000, 80), (44100, 64)):
        assert (filters(SoundView(rate=rate, mels=mels)).sum(0) > 0).all(), (rate, mels)


def test_large_batches_are_made_in_parts_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    waves = torch.randn(7, 2000)
    whole = log_mel(waves, PLAIN)
    monkeypatch.setattr("nearfar.views.mel._MOST_VALUES", 1)
    torch.testing.assert_close(log_mel(waves, PLAIN), whole)


ALL = dataclasses.replace(
    PLAIN, share=(0.5, 1.0), speed=(0.8, 1.25), loudness=-20.0, gain=6.0, polarity=0.5, reverb=0.5, noise=0.5,
    mixup=0.4, stretch_mels=(0.6, 1.5), stretch_time=(0.6, 1.5), fade=20.0, tilt=10.0, mel_masks=2, time_masks=2,
    mean=(0.5,), std=(0.25,),
)  # fmt: skip


def test_the_generator_alone_decides_and_every_number_is_finite() -> None:
    items = [*sounds(), np.zeros(500, np.float32), np.ones(1, np.float32)]
    first, again, other = (
        make_sound_views(items, [ALL, ALL], np.random.default_rng(seed)) for seed in (1, 1, 2)
    )  # fmt: skip
    for one, two in zip(first, again, strict=True):
        assert torch.equal(one["mel"], two["mel"])
        assert torch.equal(one["frames"], two["frames"])
        assert one["mel"].isfinite().all()
    assert not torch.equal(first[0]["mel"], first[1]["mel"])
    assert not torch.equal(first[0]["mel"], other[0]["mel"])
    assert first[0]["mel"].shape == first[1]["mel"].shape
    assert first[0]["mel"].shape[:3] == (5, 1, 20)
    assert (first[0]["frames"] <= first[0]["mel"].shape[3]).all()
    for row, frames in enumerate(first[0]["frames"]):
        assert (first[0]["mel"][row, :, :, frames:] == -2).all()  # silence behind every sound, whatever the steps did


def test_what_is_behind_a_sound_is_silence_and_its_company_changes_nothing() -> None:
    items = sounds()
    view = dataclasses.replace(PLAIN, crop="whole", mean=(0.5,), std=(0.25,))
    together = make_sound_views(items, [view], np.random.default_rng(0))[0]
    for row, item in enumerate(items):
        alone = make_sound_views([item], [view], np.random.default_rng(1))[0]
        frames = int(together["frames"][row])
        assert frames == int(alone["frames"][0]) == 1 + len(item) // view.hop_samples
        torch.testing.assert_close(together["mel"][row, :, :, :frames], alone["mel"][0, :, :, :frames])
        assert (together["mel"][row, :, :, frames:] == -2).all()


def test_crops_lie_in_the_sound_and_are_as_long_as_asked() -> None:
    items = [np.arange(4000, dtype=np.float32), np.arange(100, dtype=np.float32)]
    view = dataclasses.replace(PLAIN, output="wave", seconds=0.1, share=(0.5, 0.9))
    for seed in range(20):
        made = make_sound_views(items, [view], np.random.default_rng(seed))[0]
        assert made["samples"].tolist()[0] == 800
        assert 50 <= made["samples"][1] <= 90
        for row, item in enumerate(items):
            part = made["wave"][row, : made["samples"][row]]
            assert torch.equal(part, torch.arange(part[0], part[0] + len(part)))
            assert part[-1] < len(item)
    starts = {float(make_sound_views(items, [view], np.random.default_rng(s))[0]["wave"][0, 0]) for s in range(30)}
    assert len(starts) > 20


def test_speed_moves_pitch_and_length_together() -> None:
    view = dataclasses.replace(PLAIN, output="wave", seconds=1.0, speed=(1.25, 1.25))
    made = make_sound_views([tone(400, 0.5)], [view], np.random.default_rng(0))[0]
    samples = int(made["samples"][0])
    assert samples == 3200  # 0.4 s
    peak = np.argmax(np.abs(np.fft.rfft(made["wave"][0, :samples].numpy() * np.hanning(samples))))
    assert peak * RATE / samples == pytest.approx(500, abs=3)


def test_loudness_gain_and_polarity() -> None:
    items = [tone(400, 0.2, level=level) for level in (0.5, 0.01)]
    view = dataclasses.replace(PLAIN, output="wave", loudness=-20.0)
    wave = make_sound_views(items, [view], np.random.default_rng(0))[0]["wave"]
    torch.testing.assert_close(wave.square().mean(1).sqrt(), torch.full((2,), 0.1), rtol=1e-5, atol=0)
    turned = make_sound_views(items, [dataclasses.replace(view, polarity=1.0)], np.random.default_rng(0))[0]["wave"]
    torch.testing.assert_close(turned, -wave)
    plan = draw_sounds(dataclasses.replace(view, gain=6.0), [1600, 1600], np.random.default_rng(0))
    louder = apply_sounds(plan, items)["wave"].square().mean(1).sqrt() / 0.1
    np.testing.assert_allclose(20 * np.log10(louder.numpy()), plan.gain, atol=1e-4)


def test_noise_has_the_ratio_and_the_slope_that_was_drawn() -> None:
    item = tone(400, 0.5)
    view = dataclasses.replace(PLAIN, output="wave", seconds=1.0, noise=1.0, snr=(10.0, 10.0), color=(0.0, 0.0))
    clean = make_sound_views([item], [dataclasses.replace(view, noise=0.0)], np.random.default_rng(0))[0]["wave"]
    noisy = make_sound_views([item], [view], np.random.default_rng(0))[0]["wave"]
    ratio = 10 * torch.log10(clean.square().mean() / (noisy - clean).square().mean())
    assert float(ratio) == pytest.approx(10, abs=0.3)
    noise = colored_noise(40, 4096, np.full(40, 2.0), np.random.default_rng(0))
    np.testing.assert_allclose(np.mean(noise**2, 1), 1, rtol=1e-4)
    power = np.mean(np.abs(np.fft.rfft(noise, axis=1)) ** 2, 0)
    slope = np.polyfit(np.log(np.arange(8, 1024)), np.log(power[8:1024]), 1)[0]
    assert slope == pytest.approx(-2, abs=0.1)


def test_reverberation_is_the_convolution_with_its_response() -> None:
    view = dataclasses.replace(PLAIN, output="wave", seconds=1.0, reverb=1.0)
    item = sounds()[0]
    plan = draw_sounds(view, [len(item)], np.random.default_rng(5))
    wet = apply_sounds(plan, [item])["wave"][0].numpy()
    rng = np.random.default_rng([int(plan.seeds[0]), 1])
    response = impulse_response(float(plan.decay[0]), RATE, len(item), rng)
    wanted = np.convolve(item.astype(float), response)[: len(item)]
    wanted *= np.sqrt(np.sum(item.astype(float) ** 2) / np.sum(wanted**2))
    np.testing.assert_allclose(wet, wanted, atol=1e-5)
    assert response[0] == 1
    assert np.sum(response[1:] ** 2) == pytest.approx(1, rel=1e-4)
    late, early = np.mean(response[-len(response) // 10 :] ** 2), np.mean(response[1 : len(response) // 10] ** 2)
    assert 10 * np.log10(late / early) < -30


def test_mixup_adds_powers() -> None:
    items = [tone(300, 0.2, level=0.3), tone(2000, 0.2, level=0.3)]
    view = dataclasses.replace(PLAIN, mixup=0.5)
    plan = draw_sounds(view, [1600, 1600], np.random.default_rng(1))
    assert plan.partner.tolist() == [1, 0]
    plain = apply_sounds(dataclasses.replace(plan, view=PLAIN), items)["mel"][:, 0].double()
    mixed = apply_sounds(plan, items)["mel"][:, 0].double()
    power = 10 ** (plain * 8 - 8)
    share = torch.from_numpy(plan.share)[:, None, None]
    wanted = (1 + 10 * torch.log10((1 - share) * power + share * power.flip(0)) / 80).clamp_min(0)
    torch.testing.assert_close(mixed, wanted, atol=1e-5, rtol=1e-5)


def test_a_resized_crop_takes_its_box() -> None:
    view = dataclasses.replace(PLAIN, stretch_mels=(0.5, 0.5), stretch_time=(0.5, 0.5))
    mels = torch.zeros(1, 20, 32)
    mels[:, :, :32] = torch.linspace(0, 1, 32)
    from nearfar.views.sound_spectrogram import resize_crop

    plan = draw_sounds(view, [2480], np.random.default_rng(0))
    plan.box[:] = [[0.25, 0.5, 0.25, 0.5]]  # the middle half of bands and frames
    made = resize_crop(plan, mels, torch.tensor([32]))
    place = 8 + 16 * (np.arange(32) + 0.5) / 32 - 0.5
    np.testing.assert_allclose(made[0, 3].numpy(), place / 31, atol=3e-3)
    plan.box[:] = [[0.0, 1.0, -0.25, 0.5]]  # half of it lies before the sound
    made = resize_crop(plan, mels, torch.tensor([32]))
    assert (made[0, :, :16] == 0.5).all()
    assert float(made[0, 0, 31]) == pytest.approx(7.25 / 31, abs=2e-2)


def test_faders_are_linear_and_masks_blank_what_they_say() -> None:
    view = dataclasses.replace(PLAIN, fade=20.0, tilt=8.0, mel_masks=1, time_masks=1)
    items = [np.clip(0.3 * np.random.default_rng(0).standard_normal(2400), -1, 1).astype(np.float32)]
    plan = draw_sounds(view, [2400], np.random.default_rng(2))
    plain = apply_sounds(dataclasses.replace(plan, view=PLAIN, mel_masks=plan.mel_masks[:, :0],
                                             time_masks=plan.time_masks[:, :0]), items)["mel"][0, 0]  # fmt: skip
    made = apply_sounds(plan, items)["mel"][0, 0]
    frames = 1 + 2400 // view.hop_samples
    over_time = np.linspace(*plan.fade[0], frames)[None] / 80
    over_bands = np.linspace(*plan.tilt[0], 20)[:, None] / 80
    wanted = np.maximum(plain[:, :frames].numpy() + over_time + over_bands, 0)
    (low, tall), (first, wide) = plan.mel_masks[0, 0], plan.time_masks[0, 0]
    bands, times = (np.arange(20) + 0.5) / 20, (np.arange(frames) + 0.5) / frames
    hidden = ((bands >= low) & (bands < low + tall))[:, None] | ((times >= first) & (times < first + wide))[None]
    assert hidden.any()
    np.testing.assert_allclose(made[:, :frames].numpy(), np.where(hidden, 0.5, wanted), atol=1e-5)


def test_a_plan_tells_what_it_drew() -> None:
    plan = draw_sounds(ALL, [1600, 4000], np.random.default_rng(0))
    words = plan.describe(1)
    assert {"crop", "speed", "gain", "resized", "fade", "tilt", "mel masks", "time masks"} <= set(words)
    assert draw_sounds(PLAIN, [800], np.random.default_rng(0)).describe(0) == {"crop": "0.00-0.10 s"}


@pytest.mark.parametrize("name", SOUND_VIEWS.names())
def test_every_ready_view_makes_two_different_views(name: str) -> None:
    views = SOUND_VIEWS.get(name)(rate=RATE, seconds=0.3, mels=20)
    assert SOUND_VIEWS.get(name).__doc__
    made = make_sound_views(sounds(), views, np.random.default_rng(0))
    assert len(made) == 2
    assert not torch.equal(made[0]["mel"], made[1]["mel"])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"rate": 10}, "rate must be a whole number"),
        ({"seconds": 0.0}, "seconds must be from"),
        ({"speed": (2.0, 1.0)}, "speed must be two rising numbers"),
        ({"high": 5000.0}, "at most 4000 Hz"),
        ({"mixup": 1.5}, "mixup must be from 0 to 1"),
        ({"mean": (0.5,)}, "std must be given exactly when mean is"),
        ({"crop": "left"}, "crop must be"),
        ({"loudness": 3.0}, "loudness must be"),
        ({"mel_masks": 1.5}, "mel_masks must be a whole number"),
    ],
)
def test_wrong_settings_are_refused(change: dict[str, object], match: str) -> None:
    with pytest.raises(InputError, match=match):
        dataclasses.replace(PLAIN, **change)
