"""One compiled network a process, and what becomes of one photo in it.

Free of Spark: the batch, the stream and the service all come through here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from verger.decode import decode_image
from verger.featurize.network import Graph, Network

Vector = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]

_CORNER_REST = 0.2


class Extractor:
    """A network compiled for one thread of this CPU; not to be shared between threads."""

    def __init__(self, network: Network) -> None:
        self.size_px = network.size_px
        self.n_features = network.n_features
        self._graphs = [_CompiledGraph(graph, network.precision) for graph in network.graphs]
        self._n_views = network.views

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> Vector:
        """Return the (n_features,) float32 vector of a photo, (height, width, 3) uint8 RGB."""
        return self.see(Image.fromarray(pixels))

    def see(self, photo: Image.Image) -> Vector:
        """Return the (n_features,) float32 vector of an RGB photo, resized for each graph (Pillow's bicubic)."""
        vectors = [self._mean_vector(graph, photo) for graph in self._graphs]
        return vectors[0] if len(vectors) == 1 else np.concatenate(vectors)

    def _mean_vector(self, graph: _CompiledGraph, photo: Image.Image) -> Vector:
        views = _view_boxes(photo.size, self._n_views)
        vectors = [graph(np.asarray(photo.resize(graph.size_px, box=box))) for box in views]
        return vectors[0] if len(vectors) == 1 else np.mean(vectors, axis=0, dtype=np.float32)


class _CompiledGraph:
    """One photo a call: on 2 MB of cache a core, batches of 8 are slower than single photos."""

    def __init__(self, graph: Graph, precision: str) -> None:
        import openvino as ov

        core = ov.Core()
        config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        self.size_px = graph.size_px
        read = core.read_model(model=graph.xml, weights=graph.weights)
        self._request = core.compile_model(read, "CPU", config).create_infer_request()
        width, height = graph.size_px
        self._pixels = np.zeros((1, height, width, 3), np.uint8)
        self._request.set_input_tensor(ov.Tensor(self._pixels, shared_memory=True))

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> Vector:
        self._pixels[0] = pixels
        self._request.infer()
        vector: Vector = self._request.get_output_tensor(0).data[0].copy()
        return vector


def _view_boxes(size_px: tuple[int, int], n_views: int) -> list[Box]:
    """Return (left, top, right, lower) of the whole photo, and of four fifths of it from each corner."""
    width, height = size_px
    whole: Box = (0, 0, width, height)
    if n_views == 1:
        return [whole]
    rests = [(x, y) for y in (0, _CORNER_REST * height) for x in (0, _CORNER_REST * width)]
    side = 1 - _CORNER_REST
    return [whole, *((x, y, x + side * width, y + side * height) for x, y in rests)]


@dataclass(frozen=True)
class PhotoFeatures:
    """What a photo gives: its content's hash, its upright size in pixels, its feature vector."""

    sha256: str
    width: int
    height: int
    features: Vector


def featurize_photo(data: bytes, extractor: Extractor, *, max_pixels: int) -> PhotoFeatures:
    """Decode, resize and infer one photo; raises DecodeError."""
    image = decode_image(data, max_pixels=max_pixels)
    features = extractor.see(image)
    return PhotoFeatures(hashlib.sha256(data).hexdigest(), image.width, image.height, features)


_extractors: dict[str, Extractor] = {}


def extractor_for(key: str, load: Callable[[], Network]) -> Extractor:
    """Return this process's extractor for the network `key`, compiling what `load` gives the first time.

    Only the latest is kept: a worker process that outlives one run must not collect networks.
    """
    if key not in _extractors:
        _extractors.clear()
        _extractors[key] = Extractor(load())
    return _extractors[key]
