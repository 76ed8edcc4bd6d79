"""Small sounds for tests: tones, noise, and folders of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 8000


def tone(hertz: float, seconds: float = 0.2, rate: int = RATE, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = RATE, **settings: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **settings)
    return path


def speakers(folder: Path, *, each: int = 4, words: int = 2, people: int = 3, rate: int = RATE) -> Path:
    """Write ``{word}_{speaker}_{take}.wav``: a word is a pair of tones in order, a speaker moves both."""
    rng = np.random.default_rng(0)
    for word in range(words):
        for person in range(people):
            for take in range(each):
                first, second = ((400, 1200), (800, 2000), (1200, 400))[word]
                factor = 1 + 0.12 * person
                parts = [tone(hertz * factor, 0.08 + 0.01 * take, rate) for hertz in (first, second)]
                sound = np.concatenate(parts)
                sound += 0.005 * rng.standard_normal(len(sound)).astype(np.float32)
                write(folder / f"{word}_p{person}_{take}.wav", sound, rate)
    return folder
