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

from verger.decode import decode_image
from verger.featurize.network import Network

Vector = npt.NDArray[np.float32]


class Extractor:
    """A network compiled for one thread of this CPU; not to be shared between threads.

    One photo a call: on 2 MB of cache a core, batches of 8 are slower than single photos.
    """

    def __init__(self, network: Network) -> None:
        import openvino as ov

        core = ov.Core()
        config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": network.precision,
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        graph = core.read_model(model=network.graph, weights=network.weights)
        self.size_px = network.size_px
        self.n_features = network.n_features
        self._request = core.compile_model(graph, "CPU", config).create_infer_request()
        width, height = network.size_px
        self._pixels = np.zeros((1, height, width, 3), np.uint8)
        self._request.set_input_tensor(ov.Tensor(self._pixels, shared_memory=True))

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> Vector:
        """Return the (n_features,) float32 vector of (height, width, 3) uint8 RGB pixels of the input size."""
        self._pixels[0] = pixels
        self._request.infer()
        vector: Vector = self._request.get_output_tensor(0).data[0].copy()
        return vector


@dataclass(frozen=True)
class PhotoFeatures:
    """What a photo gives: its content's hash, its upright size in pixels, its feature vector."""

    sha256: str
    width: int
    height: int
    features: Vector


def featurize_photo(data: bytes, extractor: Extractor, *, max_pixels: int) -> PhotoFeatures:
    """Decode, resize (Pillow's bicubic) and infer one photo; raises DecodeError."""
    image = decode_image(data, max_pixels=max_pixels)
    features = extractor(np.asarray(image.resize(extractor.size_px)))
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
