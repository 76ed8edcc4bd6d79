"""Run one modality's benchmark: uv run python -m benchmarks.modalities table FOLDER [--seeds N] [--quick].

Each module here has ``run(folder, seeds, quick=False)``, which measures and writes its results by
`benchmarks.record.write`; with ``quick`` it goes the same way on little data, prints, and writes nothing.
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
    parser.add_argument("--quick", action="store_true", help="one epoch and one seed, prints, writes nothing")
    arguments = parser.parse_args()
    module = importlib.import_module(f"benchmarks.modalities.{arguments.modality}")
    module.run(arguments.folder, 1 if arguments.quick else arguments.seeds, quick=arguments.quick)


if __name__ == "__main__":
    main()
