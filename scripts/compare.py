"""Compare two results of `verger run`: `python -m scripts.compare RESULT OTHER`. Exit code 1 if they differ."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq

TABLES = ("features", "rejected", "components")


def main() -> int:
    """Print the engine and duration of each run, and whether their tables are equal to the last bit."""
    results = [Path(name) for name in sys.argv[1:3]]
    for result in results:
        manifest = json.loads((result / "manifest.json").read_text())
        engine, seconds = manifest["settings"]["engine"], manifest["timings_s"]["total"]
        print(f"{engine:>6}: {seconds:5.1f} s for {manifest['counts']['listed']:,} photos")
    differing = [name for name in TABLES if not _are_equal(name, results)]
    print(f"different: {', '.join(differing)}" if differing else "equal to the last bit: " + ", ".join(TABLES))
    return 1 if differing else 0


def _are_equal(name: str, results: list[Path]) -> bool:
    one, other = (pq.read_table(result / name).sort_by("path") for result in results)
    return bool(one.equals(other))


if __name__ == "__main__":
    sys.exit(main())
