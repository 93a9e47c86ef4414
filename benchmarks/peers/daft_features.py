"""Featurize a folder of JPEG with Daft; write Parquet with path and features.

    .venv-peers/bin/python -m benchmarks.peers.daft_features GRAPH_FOLDER PHOTOS OUT [WORKERS]

WORKERS is processes (default), threads or auto (Daft's own choice). All three distribute the photos evenly over
the cores. Two runs of each over 1,360 photos took 37, 37 and 34 s of CPU time, and 39 and 43 s where processes
got batches of 64 and 16 photos. Elapsed times on that busy machine (28 to 163 s) give no ranking, but processes
were among the two fastest both times. `python -m benchmarks.parts.peers PHOTOS` measures them.
"""

from __future__ import annotations

import os
import sys

os.environ["DAFT_ANALYTICS_ENABLED"] = "0"
os.environ["DAFT_PROGRESS_BAR"] = "0"

import daft
from daft import DataType, col
from daft.functions import download

from benchmarks.peers.network import PhotoNetwork, Vector

N_CORES = len(os.sched_getaffinity(0))
USE_PROCESS = {"processes": True, "threads": False, "auto": None}


class Features:
    """One network per worker, compiled for the first photo."""

    def __init__(self, graph_folder: str) -> None:
        self._network = PhotoNetwork(graph_folder)

    @daft.method(return_dtype=DataType.list(DataType.float32()))  # type: ignore[untyped-decorator]
    def of(self, data: bytes) -> Vector:
        """Return the vector of one photo."""
        return self._network(data)


def main(graph_folder: str, photos: str, out: str, workers: str = "processes") -> None:
    """Read the photos, compute their vectors, write Parquet."""
    features = daft.cls(Features, max_concurrency=N_CORES, use_process=USE_PROCESS[workers])(graph_folder)
    table = daft.from_glob_path(f"{photos}/**/*.jpg").select(col("path"), download(col("path")).alias("data"))
    table = table.select(col("path"), features.of(col("data")).alias("features"))
    table.write_parquet(out, write_mode="overwrite")


if __name__ == "__main__":
    main(*sys.argv[1:])
