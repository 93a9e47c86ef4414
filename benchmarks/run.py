"""make bench: measure every speed that the README names.

The machine may be shared and its speed varies: only ratios between alternating runs are meaningful. Prints a
table for each part, and writes it to benchmarks/results.md.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from benchmarks.measure import Line, format_table
from benchmarks.photos import Bench
from verger.kernel.networks.network import imagenet_file

RESULTS = Path(__file__).with_name("results.md")

# Part: its module in benchmarks.parts and its function. Modules are imported on use: some load Spark or moto.
PARTS = {
    "chain": ("chain", "measure_chain"),
    "engines": ("engines", "measure"),
    "peers": ("peers", "measure"),
    "camera": ("camera", "measure"),
    "notebook": ("chain", "measure_notebook"),
    "reduction": ("reduction", "measure"),
    "store": ("stores", "measure_store"),
    "packed": ("stores", "measure_packed"),
    "listing": ("listing", "measure"),
    "cluster": ("stores", "measure_cluster"),
    "resume": ("resume", "measure"),
}


def main() -> None:
    """Measure the given parts, or all; print and save each part's table when it is done."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all")
    parts = parser.parse_args().parts or list(PARTS)
    if unknown := set(parts) - PARTS.keys():
        parser.error(f"unknown part {', '.join(sorted(unknown))}: choose from {', '.join(PARTS)}")
    if not imagenet_file().is_file():
        sys.exit("make bench needs MobileNetV2's ImageNet weights: see `verger doctor`")
    with tempfile.TemporaryDirectory(prefix="verger-bench-") as name:
        bench = Bench(Path(name))
        for part in parts:
            table = format_table(_load(part)(bench))
            keep(part, table, RESULTS)
            print(f"## {part}\n\n{table}", flush=True)


def _load(part: str) -> Callable[[Bench], list[Line]]:
    module, function = PARTS[part]
    measure: Callable[[Bench], list[Line]] = getattr(import_module(f"benchmarks.parts.{module}"), function)
    return measure


def keep(part: str, table: str, results: Path) -> None:
    """Write the table of a part into the file, and keep the tables of the other parts."""
    sections = _sections(results.read_text()) if results.is_file() else {}
    sections[part] = table
    measured = [name for name in PARTS if name in sections]
    results.write_text("\n".join(f"## {name}\n\n{sections[name]}" for name in measured))


def _sections(text: str) -> dict[str, str]:
    parts = re.split(r"^## (\w+)\n\n", text, flags=re.MULTILINE)[1:]
    return {name: table.strip() + "\n" for name, table in zip(parts[::2], parts[1::2], strict=True)}


if __name__ == "__main__":
    main()
