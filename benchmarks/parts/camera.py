"""Part `camera`: exact against scaled decoding of photos of 12 megapixels, on both engines, and against Daft.

Daft has no scaled decoding.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.camera import make_camera_photos
from benchmarks.measure import Line, against, alternate, time_verger
from benchmarks.parts.chain import MODEL
from benchmarks.parts.engines import ENGINES
from benchmarks.parts.peers import check_vectors, cosines, export_graph, read_vectors, time_peer
from benchmarks.photos import Bench

N_PHOTOS = 300
DECODES = ("exact", "scaled")
LOWEST_COSINE = 0.999


def measure(bench: Bench) -> list[Line]:
    """Measure `verger features` with both ways of decoding, and Daft, whole processes from cold."""
    photos, out = bench.folder / "camera", bench.folder / "camera-out"
    make_camera_photos(photos, N_PHOTOS)
    graph = export_graph(bench.folder / "graph")
    flags = (*MODEL, "--overwrite", "--no-report")
    runs = {
        f"{engine}_{decode}": partial(
            time_verger,
            *("features", photos, out / f"{engine}_{decode}", "--engine", engine, "--decode", decode, *flags),
        )
        for engine in ENGINES
        for decode in DECODES
    }
    spent = alternate(**runs, daft=partial(time_peer, "daft", graph, photos, out / "daft"))
    check_vectors("daft", read_vectors(out / "daft"), read_vectors(out / "local_exact" / "features"))
    what = f"`verger features`, MobileNetV2, {N_PHOTOS} photos of 12 megapixels"
    return [
        *(
            against(f"{what}, {engine}: scaled against exact", spent, f"{engine}_scaled", f"{engine}_exact", ">= 3")
            for engine in ENGINES
        ),
        against(f"{what}, local: scaled against Daft", spent, "local_scaled", "daft", ">= 2.5"),
        against(f"{what}, local: exact against Daft", spent, "local_exact", "daft"),
        *(_compare(out, engine) for engine in ENGINES),
    ]


def _compare(out: Path, engine: str) -> Line:
    exact, scaled = (read_vectors(out / f"{engine}_{decode}" / "features") for decode in DECODES)
    found = cosines(scaled, exact)
    value = f"mean {found.mean():.5f}, lowest {found.min():.5f}"
    return Line(f"cosine of scaled to exact, {engine}", value, f"lowest >= {LOWEST_COSINE}")
