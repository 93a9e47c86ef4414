"""Featurize a folder of JPEG with Ray Data; write Parquet with path and features.

    .venv-peers/bin/python -m benchmarks.peers.ray_features GRAPH_FOLDER PHOTOS OUT [BATCH_SIZE [N_BLOCKS]]

N_BLOCKS is the number of tasks that read, 0 for Ray's own choice. The settings did not differ on a busy machine
(1,360 photos: 141 s with 16 tasks, 144 s with Ray's choice). `python -m benchmarks.parts.peers PHOTOS` measures
them. Ray fails if its daemons take over 30 s to start.
"""

from __future__ import annotations

import logging
import os
import sys

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_DATA_DISABLE_PROGRESS_BARS"] = "1"

import numpy as np
import pyarrow as pa
import ray

from benchmarks.peers.network import PhotoNetwork

N_CORES = len(os.sched_getaffinity(0))


class Features:
    """One network per actor."""

    def __init__(self, graph_folder: str) -> None:
        self._network = PhotoNetwork(graph_folder)

    def __call__(self, photos: pa.Table) -> pa.Table:
        """Return the paths and vectors of a batch."""
        vectors = np.stack([self._network(data) for data in photos["bytes"].to_pylist()])
        features = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        return pa.table({"path": photos["path"], "features": features})


def main(graph_folder: str, photos: str, out: str, batch_size: str = "64", n_blocks: str = "16") -> None:
    """Read the photos, compute their vectors, write Parquet."""
    # One core more than there are: the actors keep theirs to the end, and without another one no task can read
    # (https://github.com/ray-project/ray/issues/44687).
    ray.init(num_cpus=N_CORES + 1, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    table = ray.data.read_binary_files(
        photos, include_paths=True, file_extensions=["jpg"], override_num_blocks=int(n_blocks) or None
    )
    table = table.map_batches(
        Features,
        fn_constructor_args=(graph_folder,),
        compute=ray.data.ActorPoolStrategy(size=N_CORES),
        num_cpus=1,
        batch_size=int(batch_size),
        batch_format="pyarrow",
    )
    table.write_parquet(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
