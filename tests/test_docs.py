"""Every snippet of the README and the docs runs, on small pictures made here."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nearfar.cli import main
from tests.data.sounds import speakers
from tests.text_files import write_captions, write_texts

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ELSEWHERE = ("uv run pytest", "uv run nearfar demo")  # the suite itself, and what tests/test_demo.py runs


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos/{train,test}/{red,green}/*.png."""
    folder = tmp_path_factory.mktemp("readme")
    rng = np.random.default_rng(0)
    for split, count in (("train", 150), ("test", 10)):
        for channel, name in ((0, "red"), (1, "green")):
            target = folder / "photos" / split / name
            target.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 120, (16, 16, 3), dtype=np.uint8)
                pixels[..., channel] += 100
                Image.fromarray(pixels).save(target / f"{number}.png")
    write_texts(folder)
    write_captions(folder)
    _patients(folder / "patients.csv", rng)
    _waves(folder / "waves.npz", rng)
    _voices(folder)
    return folder


def _patients(path: Path, rng: np.random.Generator) -> None:
    """Write 150 patients' rows: enough for a recipe's batch of 128."""
    with path.open("w") as file:
        file.write("age,dose,stage,patient,diagnosis\n")
        for row in range(150):
            sick = row // 3 % 2
            values = f"{rng.normal(50 + 10 * sick, 5):.1f},{rng.normal(sick):.2f},{'I' * rng.integers(1, 3 + sick)}"
            file.write(f"{values},p{row // 3},{'ill' if sick else 'well'}\n")


def _waves(path: Path, rng: np.random.Generator) -> None:
    labels = np.arange(40) % 2
    waves = np.sin(np.arange(24) * (0.4 + 0.8 * labels[:, None]) + rng.uniform(0, 6, (40, 1)))[..., None]
    np.savez(path, x=waves, y=labels)


def _voices(folder: Path) -> None:
    """Write words/ (by the names of the files), sounds/ (in folders), voices.csv and question.wav."""
    lines = ["path,label,speaker,split"]
    for file in sorted(speakers(folder / "words", each=8, people=10).iterdir()):
        word, person, _ = file.stem.split("_")
        (folder / "sounds" / word).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / "sounds" / word)
        lines.append(f"words/{file.name},{word},{person},{'test' if person in ('p8', 'p9') else 'train'}")
    (folder / "voices.csv").write_text("\n".join(lines) + "\n")
    shutil.copy(file, folder / "question.wav")


def commands(path: Path) -> list[list[str]]:
    lines = [line.strip() for block in blocks(path, "bash") for line in block.splitlines() if line.strip()]
    return [shlex.split(line) for line in lines if line not in ELSEWHERE]


def test_the_readme_opens_with_its_two_commands() -> None:
    assert [block.strip() for block in blocks(ROOT / "README.md", "bash")[:2]] == list(reversed(ELSEWHERE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_runs(page: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    for command in commands(page):
        assert command[:3] == ["uv", "run", "nearfar"], command
        recipe = "--recipe" in command and "pretrain" in command and "--epochs" not in command
        with pytest.raises(SystemExit) as end:
            main([*command[3:], *(["--epochs", "1"] if recipe else [])])  # the recipe's are for more data than here
        assert end.value.code == 0, command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_block_runs(page: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    names: dict[str, object] = {"__name__": "snippet"}  # a later block of a page may use what an earlier one made
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec", dont_inherit=True), names)


def test_the_methods_pages_are_up_to_date() -> None:
    import runpy

    for path, text in runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run docs/generate.py"


def test_every_method_says_where_it_departs_from_its_paper() -> None:
    import runpy

    from nearfar.methods import METHODS

    departures_of = runpy.run_path(str(ROOT / "docs" / "generate.py"))["departures_of"]
    for name in METHODS.builtin:
        assert len(departures_of(name)) > len("Departures: none."), f"{name}: its file must say 'Departures: ...'"


def test_the_readme_shows_the_recorded_numbers_of_the_demo() -> None:
    import json

    record = json.loads((ROOT / "benchmarks" / "results" / "demo.json").read_text(encoding="utf-8"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for _, *numbers in record["tables"][0]["rows"]:
        assert f"| {numbers[0]} | {numbers[1]} | **{numbers[2]}** |" in readme
