"""Run one modality's benchmark: uv run python -m benchmarks.modalities table FOLDER [--seeds N].

Each module here has ``run(folder, seeds)``, which measures and writes its results by `benchmarks.record.write`.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    names = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modality", choices=names)
    parser.add_argument("folder", type=Path, help="holds the data sets, each in its folder")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    importlib.import_module(f"benchmarks.modalities.{arguments.modality}").run(arguments.folder, arguments.seeds)


if __name__ == "__main__":
    main()
