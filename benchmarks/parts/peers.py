"""Part `peers`: `verger features` against Daft and Ray Data on the same photos, graph and cores.

    python -m benchmarks.parts.peers PHOTOS    # compare the peers' settings; the defaults should be the fastest

They run in `.venv-peers` (`make .venv-peers/.done`), see benchmarks/peers. Their vectors must equal ours;
otherwise the peer has not done the same work.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow.dataset as ds

from benchmarks.measure import Line, against, alternate, time_command, time_verger
from benchmarks.parts.chain import MODEL
from benchmarks.photos import Bench
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.network import prepare_network

PEERS = {"daft": "Daft", "ray": "Ray Data"}
LOWEST_COSINE = 0.99999
# Further arguments of main in benchmarks/peers/*_features.py, after its folders.
SETTINGS: dict[str, list[tuple[str, ...]]] = {
    "daft": [("processes",), ("threads",), ("auto",)],
    "ray": [("64", "16"), ("64", "0"), ("16", "16"), ("16", "0")],
}
_ROOT = Path(__file__).parents[2]
_PYTHON = _ROOT / ".venv-peers" / "bin" / "python"

Vectors = dict[str, npt.NDArray[np.float32]]


def measure(bench: Bench) -> list[Line]:
    """Measure ours and theirs in turn on 4,120 and 16,480 photos, whole processes from cold."""
    graph = export_graph(bench.folder / "graph")
    return [
        *_compare(bench.test, 4120, graph, bench.folder / "peers"),
        *_compare(bench.training, 16480, graph, bench.folder / "peers"),
    ]


def _compare(photos: Path, n_photos: int, graph: Path, out: Path) -> list[Line]:
    ours = partial(time_verger, "features", photos, out / "verger", *MODEL, "--overwrite", "--no-report")
    spent = alternate(verger=ours, **{peer: partial(time_peer, peer, graph, photos, out / peer) for peer in PEERS})
    reference = read_vectors(out / "verger" / "features")
    lowest = {peer: check_vectors(peer, read_vectors(out / peer), reference) for peer in PEERS}
    what = "`verger features`, MobileNetV2, {:,} photos: against {}, vectors equal (cosine >= {:.6f})"
    return [
        against(what.format(n_photos, name, lowest[peer]), spent, "verger", peer) for peer, name in PEERS.items()
    ]


def export_graph(folder: Path) -> Path:
    """Write verger's MobileNetV2 as graph.xml and graph.bin; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (graph,) = prepare_network(NetworkSpec(NetworkSpec.model)).graphs
    (folder / "graph.xml").write_bytes(graph.xml)
    (folder / "graph.bin").write_bytes(graph.weights)
    return folder


def time_peer(peer: str, graph: Path, photos: Path, out: Path, *settings: str) -> float:
    """Return the seconds of a peer's process from cold; it writes Parquet files to `out`."""
    if not _PYTHON.is_file():
        sys.exit("this part needs .venv-peers: run `make .venv-peers/.done`")
    shutil.rmtree(out, ignore_errors=True)
    command = [str(_PYTHON), "-m", f"benchmarks.peers.{peer}_features", str(graph), str(photos), str(out)]
    return time_command([*command, *settings], PYTHONPATH=str(_ROOT))


def read_vectors(folder: Path) -> Vectors:
    """Return the vectors of Parquet files by the path of their photo, without `file:` and escapes."""
    table = ds.dataset(folder, format="parquet").to_table(columns=["path", "features"])
    paths = ("/" + unquote(path.removeprefix("file:")).lstrip("/") for path in table["path"].to_pylist())
    rows = np.stack(table["features"].to_numpy()).astype(np.float32)
    return dict(zip(paths, rows, strict=True))


def check_vectors(peer: str, theirs: Vectors, ours: Vectors) -> float:
    """Return the lowest cosine between a peer's vectors and ours; end the benchmark if they differ."""
    if theirs.keys() != ours.keys():
        n_common = len(theirs.keys() & ours.keys())
        sys.exit(f"{peer}: {len(theirs)} photos, ours are {len(ours)}, {n_common} in common")
    lowest = float(min(cosines(theirs, ours)))
    if lowest < LOWEST_COSINE:
        sys.exit(f"{peer}: a vector's cosine to ours is {lowest:.6f}, below {LOWEST_COSINE}")
    return lowest


def cosines(some: Vectors, others: Vectors) -> npt.NDArray[np.float64]:
    """Return the cosine of each photo's two vectors."""
    a = np.stack([some[path] for path in others]).astype(np.float64)
    b = np.stack(list(others.values())).astype(np.float64)
    found: npt.NDArray[np.float64] = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return found


def try_settings(photos: Path, folder: Path) -> dict[str, float]:
    """Return the median seconds of each peer with each of its settings, timed in turn."""
    graph = export_graph(folder / "graph")
    spent = alternate(
        **{
            " ".join((peer, *settings)): partial(time_peer, peer, graph, photos, folder / peer, *settings)
            for peer in PEERS
            for settings in SETTINGS[peer]
        }
    )
    return {name: statistics.median(times) for name, times in spent.items()}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="verger-bench-") as name:
        for setting, median_s in try_settings(Path(sys.argv[1]), Path(name)).items():
            print(f"{median_s:6.1f} s  {setting}")
