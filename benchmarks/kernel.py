"""Measure the bare kernel: decode + resize + inference of photos from memory, one process per core, no Spark.

    python -m benchmarks.kernel FOLDER [N_PHOTOS [MODEL [VIEWS]]]

Start-up (imports, compilation, reading the files) is not counted.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

from verger.kernel.decode import decode_image
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.inference import Extractor, infer_photos, prepare_photo
from verger.kernel.networks.network import prepare_network
from verger.kernel.networks.view_sets import WHOLE


def kernel_img_per_s(
    folder: Path, n_photos: int | None = None, model: str = NetworkSpec.model, views: str = WHOLE
) -> float:
    """Return the photos per second of all cores together."""
    spec = NetworkSpec(model, views=views)
    prepare_network(spec)
    paths = sorted(folder.rglob("*.jpg"))[:n_photos]
    n_cores = len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(n_cores + 1)
    workers = [context.Process(target=_work, args=(paths[core::n_cores], spec, barrier)) for core in range(n_cores)]
    for worker in workers:
        worker.start()
    barrier.wait()
    start = time.monotonic()
    barrier.wait()
    spent = time.monotonic() - start
    for worker in workers:
        worker.join()
    return len(paths) / spent


def _work(paths: list[Path], spec: NetworkSpec, barrier: Barrier) -> None:
    photos = [path.read_bytes() for path in paths]
    extractor = Extractor(prepare_network(spec))
    _featurize(photos[: extractor.batch_size], extractor)
    barrier.wait()
    for start in range(0, len(photos), extractor.batch_size):
        _featurize(photos[start : start + extractor.batch_size], extractor)
    barrier.wait()


def _featurize(photos: list[bytes], extractor: Extractor) -> None:
    infer_photos([prepare_photo(photo, extractor.resizer, decode_image) for photo in photos], extractor)


if __name__ == "__main__":
    limit = int(sys.argv[2]) if len(sys.argv) > 2 else None
    print(f"{kernel_img_per_s(Path(sys.argv[1]), limit, *sys.argv[3:5]):.1f} img/s")
