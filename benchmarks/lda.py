"""make bench-lda: train lda on many synthetic vectors; measure time and peak memory on both engines.

    python -m benchmarks.lda FOLDER [N_ROWS [ENGINE...]]

The vectors have 1,280 numbers and 100 labels. A million take 6 GB of FOLDER, which are removed at the end. Each
engine also trains on a twentieth of them: peak memory must not depend on the number of rows.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import cpu_name, say
from benchmarks.processes import KINDS, sample_processes

RESULTS = Path(__file__).with_name("lda.md")
N_ROWS, N_FEATURES, N_LABELS = 1_000_000, 1_280, 100
FEWER = 20

_ROWS_PER_FILE, _ROWS_PER_GROUP = 20_000, 1_024
_EVERY_S = 0.5
_SPEC = {"model": "MobileNetV2", "weights": "random:0", "pooling": "avg", "precision": "f32", "preprocessing": None}


@dataclass(frozen=True)
class Trained:
    """A training: the number of rows, wall-clock and processor seconds, peak MB by kind, the manifest."""

    n_rows: int
    clock_s: float
    processor_s: float
    peak_mb: dict[str, float]
    manifest: dict[str, Any]


def main(folder: Path, n_rows: int = N_ROWS, engines: tuple[str, ...] = ("local", "spark")) -> None:
    """Train on few and on many rows with each engine; print the table and write it to benchmarks/lda.md."""
    many, few = folder / "many", folder / "few"
    try:
        write_features(many, n_rows)
        write_features(few, n_rows // FEWER)
        found = {engine: [train(few, engine), train(many, engine)] for engine in engines}
    finally:
        for name in ("many", "few", "out"):
            shutil.rmtree(folder / name, ignore_errors=True)
    table = _table(found)
    RESULTS.write_text(table)
    print(table)


def write_features(result: Path, n_rows: int) -> None:
    """Write a result of `verger features`: like averages of activations, vectors have no negative numbers."""
    folder = result / "features"
    folder.mkdir(parents=True)
    (result / "manifest.json").write_text(json.dumps({"network": {"spec": _SPEC}}))
    rng = np.random.default_rng(0)
    centres = rng.gamma(0.5, 1, (N_LABELS, N_FEATURES)).astype(np.float32)
    schema = pa.schema([("path", pa.string()), ("label", pa.string()), ("features", pa.list_(pa.float32()))])
    for start in range(0, n_rows, _ROWS_PER_FILE):
        rows = np.arange(start, min(start + _ROWS_PER_FILE, n_rows))
        labels = rows * N_LABELS // n_rows
        noise = rng.standard_normal((len(rows), N_FEATURES), np.float32)
        vectors = np.maximum(centres[labels] + 3 * noise, 0)
        columns = [
            [f"file:/photos/{label:03d}/{row:09d}.jpg" for label, row in zip(labels, rows, strict=True)],
            [f"{label:03d}" for label in labels],
            pa.FixedSizeListArray.from_arrays(vectors.ravel(), N_FEATURES).cast(pa.list_(pa.float32())),
        ]
        file = folder / f"part-{start // _ROWS_PER_FILE:05d}.parquet"
        pq.write_table(
            pa.table(columns, schema=schema),
            file,
            row_group_size=_ROWS_PER_GROUP,
            compression="none",
            use_dictionary=["label"],
        )


def train(result: Path, engine: str) -> Trained:
    """Train lda, and sample the memory of its processes."""
    out = result.with_name("out")
    command = [sys.executable, "-m", "verger", "train", str(result), str(out)]
    command += ["--classifier", "lda", "--engine", engine, "--json", "--overwrite"]
    start = time.monotonic()
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    peak_mb, own_s = dict.fromkeys(KINDS, 0.0), dict[int, float]()
    while run.poll() is None:
        held, spent_s = sample_processes(run.pid)
        peak_mb = {kind: max(peak_mb[kind], mb) for kind, mb in held.items()}
        own_s |= spent_s
        time.sleep(_EVERY_S)
    clock_s = time.monotonic() - start
    assert run.stdout is not None
    assert run.returncode == 0, "the training failed"
    n_rows = sum(pq.read_metadata(file).num_rows for file in (result / "features").glob("*.parquet"))
    trained = Trained(n_rows, clock_s, sum(own_s.values()), peak_mb, json.load(run.stdout))
    say(f"{engine}, {n_rows:,} rows: {clock_s:.0f} s, MB: {peak_mb}")
    return trained


def _table(found: dict[str, list[Trained]]) -> str:
    first = next(iter(found.values()))[-1]
    n_cores = len(os.sched_getaffinity(0))
    lines = [
        f"Measured {time.strftime('%Y-%m-%d')} on {n_cores} cores of {cpu_name()}: `verger train --classifier lda` "
        f"on vectors of {N_FEATURES:,} numbers with {N_LABELS} labels, from the start to the end of the command. "
        f"Memory is the peak of the PSS; the column of the workers is the sum of all {n_cores}.",
        "",
        "| engine | rows | s | rows/s | processor s | driver, MB | JVM, MB | workers, MB | accuracy |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for engine, runs in found.items():
        for run in runs:
            memory = " | ".join(f"{run.peak_mb[kind]:,.0f}" for kind in KINDS)
            accuracy = run.manifest["evaluation"]["accuracy"]
            lines.append(
                f"| {engine} | {run.n_rows:,} | {run.clock_s:.0f} | {run.n_rows / run.clock_s:,.0f} | "
                f"{run.processor_s:.0f} | {memory} | {accuracy:.3f} |"
            )
    chosen = first.manifest["evaluation"]["cross_validation"]
    lines += ["", f"Chosen shrinkage, of {len(chosen['tried'])}: {chosen['shrinkage']}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    target, *more = sys.argv[1:]
    main(Path(target), int(more[0]) if more else N_ROWS, tuple(more[1:]) or ("local", "spark"))
