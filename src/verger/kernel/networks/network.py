"""Networks ready for inference, and the cache of converted networks.

A Keras model is converted once, in a child process (`verger.kernel.networks.convert`): Keras reads its backend from
the environment when it is first imported, and the caller may already have imported Keras with another backend. A
network with packaged weights needs no Keras: it is converted in this process, in well under a second.
"""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
from dataclasses import asdict, dataclass, fields, replace
from importlib import resources
from importlib.metadata import version
from importlib.resources.abc import Traversable
from pathlib import Path

from verger.errors import WeightsError
from verger.kernel.networks.catalog import IMAGENET, JOIN, NetworkSpec
from verger.kernel.networks.efficientnet_lite import weights_file
from verger.kernel.networks.view_sets import WHOLE, view_set_key
from verger.process.launch import module_command, module_environment
from verger.process.traceback_text import innermost_error
from verger.storage.atomic import fill_atomically
from verger.storage.cache import cache_dir, keras_home
from verger.storage.hashing import hash_file

logger = logging.getLogger(__name__)

# Increase this number when the conversion changes what a graph computes: then older cache entries are not used.
_GRAPH_VERSION = 2

# Photos in one call of a bundled network. Batches help because its input is small: fruitnet takes 0.8 ms per photo
# with batches and 1.15 ms without, for the same bits. MobileNetV2 (an input five times as large) gains nothing.
_SMALL_INPUT_BATCH = 4


@dataclass(frozen=True)
class Graph:
    """An OpenVINO graph with its weights: (1, height, width, 3) uint8 RGB in, (1, n_features) float32 out.

    onnx: the same network as an ONNX model with a variable batch size; empty unless ONNX Runtime is used.
    """

    size_px: tuple[int, int]
    n_features: int
    xml: bytes
    weights: bytes
    onnx: bytes = b""


@dataclass(frozen=True)
class Network:
    """A network ready for inference: a photo's feature vector is the concatenated output of the graphs.

    views: the set of views over which the output is averaged, a name in `VIEW_SETS`.
    device: where the vectors are computed, see device.py. batch_size: number of photos in one call.
    """

    key: str
    model: str
    precision: str
    weights_from: str
    weights_sha256: str
    graphs: tuple[Graph, ...]
    views: str = WHOLE
    device: str = "cpu"
    batch_size: int = 1

    @property
    def n_features(self) -> int:
        """The length of the feature vectors."""
        return sum(graph.n_features for graph in self.graphs)

    @property
    def n_bytes(self) -> int:
        """The size of all graphs with their weights; this is sent to the workers."""
        return sum(len(part) for graph in self.graphs for part in (graph.xml, graph.weights, graph.onnx))

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the first graph's input."""
        return self.graphs[0].size_px

    def for_workers(self) -> Network:
        """Return a copy to send to the workers, without the data that the device does not need."""
        if self.device == "cpu":
            return self
        return replace(self, graphs=tuple(replace(graph, xml=b"", weights=b"") for graph in self.graphs))

    def describe(self) -> dict[str, object]:
        """Return the description of the network for the manifest."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "graphs"}
        return values | {"size_px": self.size_px, "n_features": self.n_features}


def imagenet_file() -> Path:
    """Return the path where Keras caches the ImageNet weights of MobileNetV2."""
    return keras_home() / "models" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"


def prepare_network(spec: NetworkSpec) -> Network:
    """Load the network of `spec`: a bundled one, one from the cache, or one that is converted now and cached.

    Raises WeightsError if the weights are missing, cannot be downloaded, or do not fit the model, and SetupError if
    a package with weights is not installed.
    """
    parts = [_prepare_one(part) for part in spec.parts]
    return Network(
        key=f"{JOIN.join(part.key for part in parts)}-{view_set_key(spec.views)}",
        model=JOIN.join(part.model for part in parts),
        precision=spec.precision,
        weights_from=JOIN.join(part.weights_from for part in parts),
        weights_sha256=JOIN.join(part.weights_sha256 for part in parts),
        graphs=tuple(graph for part in parts for graph in part.graphs),
        views=spec.views,
        batch_size=min(part.batch_size for part in parts),
    )


def _prepare_one(spec: NetworkSpec) -> Network:
    if spec.is_bundled:
        bundled = resources.files("verger.models") / spec.model
        return replace(read_network(bundled, spec.model, spec.precision), batch_size=_SMALL_INPUT_BATCH)
    folder = cache_dir() / "networks" / _cache_key(spec)
    if not folder.is_dir():
        logger.info("converting %s (only once; cached in %s)", spec.model, folder)
        _convert(spec, folder)
    return read_network(folder, spec.user_graph or spec.model, spec.precision)


def read_network(folder: Traversable, model: str, precision: str) -> Network:
    """Read the converted network in `folder`; raises WeightsError if its files are damaged or missing."""
    try:
        about = json.loads((folder / "network.json").read_text(encoding="utf-8"))
        graph = Graph(
            size_px=(about["size_px"][0], about["size_px"][1]),
            n_features=about["n_features"],
            xml=(folder / "graph.xml").read_bytes(),
            weights=(folder / "graph.bin").read_bytes(),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError, IndexError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise WeightsError(
            f"the converted network in {folder} is damaged ({problem}): remove this folder"
        ) from error
    return Network(
        key=f"{folder.name}-{about['weights_sha256'][:8]}-{precision}",
        model=model,
        precision=precision,
        weights_from=about["weights_from"],
        weights_sha256=about["weights_sha256"],
        graphs=(graph,),
    )


def _cache_key(spec: NetworkSpec) -> str:
    weights = spec.effective_weights
    if spec.weights_path is not None:
        path = Path(spec.weights_path)
        if not path.is_file():
            raise WeightsError(f"weights = {spec.weights_path!r}: there is no such file")
        weights = hash_file(path) + path.suffix
    if spec.is_packaged and weights == IMAGENET:
        weights = weights_file(spec.model).name  # it contains a hash
    made_with = [_GRAPH_VERSION, "" if spec.is_packaged else version("keras"), version("openvino")]
    parts = [spec.model, weights, spec.pooling, spec.effective_preprocessing, *made_with]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _convert(spec: NetworkSpec, folder: Path) -> None:
    with fill_atomically(folder) as temporary:
        if spec.is_packaged:
            from verger.kernel.networks.convert import convert

            convert(spec, temporary)
            return
        done = subprocess.run(
            module_command("verger.kernel.networks.convert", json.dumps(asdict(spec)), str(temporary)),
            env={**module_environment(), "KERAS_BACKEND": "openvino"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise WeightsError(_conversion_error(done.stderr))


def _conversion_error(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.strip()]
    messages = [line.removeprefix("WeightsError: ") for line in lines if line.startswith("WeightsError: ")]
    return messages[-1] if messages else f"the conversion failed: {innermost_error(stderr) or ' '.join(lines[-1:])}"
