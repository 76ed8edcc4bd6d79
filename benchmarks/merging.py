"""Seeds that were measured in several runs of a benchmark, put together in one file of raw numbers.

A comparison of all methods takes hours for a seed. Each run adds its seeds to ``benchmarks/seeds/NAME.json``; a run
with other settings begins that file anew. Files that other clones wrote are joined to it seed by seed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nearfar.errors import RunError, require
from nearfar.evaluation.seeds import over_seeds

FOLDER = Path(__file__).parent / "seeds"
LISTS = ("spread", "rank", "seconds", "peak_mib")
"""What a row of a comparison has one number a seed of, beside the scores."""


def merge(
    name: str, settings: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]], first_seed: int
) -> dict[str, list[dict[str, Any]]]:
    """Add the rows of some comparisons to what is kept, and return the rows over all seeds.

    Args:
        name: of the file.
        settings: what must be equal for seeds to stand together.
        found: parts to contents of ``results.json``.
        first_seed: the seed of the first number in each list.
    """
    kept = _read(FOLDER / f"{name}.json")
    if kept.get("settings") != settings:
        kept = {"settings": dict(settings), "parts": {}}
    for part, content in found.items():
        for row in content["rows"]:
            entry = kept["parts"].setdefault(part, {}).setdefault(row["name"], {"seeds": {}})
            entry |= {"baseline": row["baseline"], "protocols": row["protocols"] or entry.get("protocols", [])}
            for offset, scores in enumerate(row["by_seed"]):
                if scores:
                    numbers = {key: row[key][offset] for key in LISTS if offset < len(row[key])}
                    entry["seeds"][str(first_seed + offset)] = {"scores": scores, **numbers}
    return _keep(name, kept)


def join(name: str, others: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """Add what other clones measured with the same settings; where both have a seed, theirs stands.

    Args:
        name: of the file.
        others: their files.

    Raises:
        RunError: when a file has other settings.
    """
    kept = _read(FOLDER / f"{name}.json")
    for path in others:
        theirs = _read(path)
        fix = "run it again with the settings of benchmarks/seeds"
        same = theirs.get("settings") == kept.setdefault("settings", theirs.get("settings"))
        require(same, str(path), "settings", f"{kept['settings']}", theirs.get("settings"), fix, error=RunError)
        for part, rows in theirs["parts"].items():
            for row, entry in rows.items():
                own = kept.setdefault("parts", {}).setdefault(part, {}).setdefault(row, {"seeds": {}})
                own |= {**entry, "seeds": own["seeds"] | entry["seeds"]}
    return _keep(name, kept)


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def _keep(name: str, kept: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Write the file, and return the rows of its parts over all seeds."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return {part: [_row(row, entry) for row, entry in rows.items()] for part, rows in kept["parts"].items()}


def _row(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    seeds = sorted(entry["seeds"], key=int)
    numbers = [entry["seeds"][seed] for seed in seeds]
    keys = dict.fromkeys(key for one in numbers for key in one["scores"])
    scores = {key: [one["scores"][key] for one in numbers if key in one["scores"]] for key in keys}
    return {
        "name": name,
        "baseline": entry["baseline"],
        "protocols": entry["protocols"],
        "seeds": [int(seed) for seed in seeds],
        "by_seed": [one["scores"] for one in numbers],
        "over_seeds": {key: over_seeds(values)._asdict() for key, values in scores.items()},
        **{key: [one.get(key) for one in numbers] for key in LISTS},
    }
