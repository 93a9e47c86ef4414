"""One compiled network a process, and what becomes of photos in it.

Free of Spark: the batch, the stream and the service all come through here.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from verger.errors import DecodeError, Reason
from verger.kernel.decode import Decoded, decode_image
from verger.kernel.networks.network import Graph, Network
from verger.kernel.networks.onnx_session import OnnxSession

Pixels = npt.NDArray[np.uint8]
Vector = npt.NDArray[np.float32]
# What each graph sees of one photo: (views, height, width, 3).
Views = tuple[Pixels, ...]
Box = tuple[float, float, float, float]
# Bytes to an upright RGB picture, or DecodeError.
Decode = Callable[[bytes], Decoded]
# "scaled" decodes large JPEGs at a reduced scale, see Extractor.min_decode_px.
DecodeMode = Literal["exact", "scaled"]

# How many times the network's input a photo decoded at a reduced scale measures at least. On real photos of 12
# megapixels MobileNetV2's vectors then have a cosine of 0.9994 to the exact ones, or better.
SCALED_FACTOR = 3

_CORNER_REST = 0.2


class Session(Protocol):
    """A compiled graph: (n, height, width, 3) uint8 RGB in, (n, n_features) float32 out."""

    size_px: tuple[int, int]

    def __call__(self, pixels: Pixels) -> Vector: ...  # noqa: D102


class Extractor:
    """A network compiled for its device, on the processor for one thread; not to be shared between threads.

    gpu: the number of the GPU, where the device is one. Raises SetupError where the device is not to be had.
    """

    def __init__(self, network: Network, gpu: int = 0) -> None:
        self.size_px = network.size_px
        self.n_features = network.n_features
        self.batch_size = network.batch_size
        self._sessions = [_open_session(graph, network, gpu) for graph in network.graphs]
        self._n_views = network.views
        self.resizer = Resizer(tuple(session.size_px for session in self._sessions), network.views)

    @property
    def min_decode_px(self) -> tuple[int, int]:
        """Width and height that a photo must keep when it is decoded at a reduced scale.

        SCALED_FACTOR times the largest input of a graph; with five views, for the corners that are cut out of it.
        """
        side = 1 if self._n_views == 1 else 1 - _CORNER_REST
        widths, heights = zip(*(session.size_px for session in self._sessions), strict=True)
        return math.ceil(SCALED_FACTOR * max(widths) / side), math.ceil(SCALED_FACTOR * max(heights) / side)

    def __call__(self, pixels: Pixels) -> Vector:
        """Return the (n_features,) float32 vector of a photo, (height, width, 3) uint8 RGB."""
        return self.see(Image.fromarray(pixels))

    def see(self, photo: Image.Image) -> Vector:
        """Return the (n_features,) float32 vector of an RGB photo."""
        vector: Vector = self.infer([self.resize(photo)])[0]
        return vector

    def resize(self, photo: Image.Image) -> Views:
        """Return what the graphs see of an RGB photo, see Resizer.

        Of all that an extractor does only this may be done in several threads at a time.
        """
        return self.resizer.resize(photo)

    def infer(self, photos: Sequence[Views]) -> Vector:
        """Return the (n, n_features) float32 vectors of photos that `resize` has prepared."""
        parts = []
        for number, session in enumerate(self._sessions):
            vectors = session(np.concatenate([views[number] for views in photos]))
            by_photo = vectors.reshape(len(photos), self._n_views, -1)
            parts.append(by_photo[:, 0] if self._n_views == 1 else by_photo.mean(axis=1, dtype=np.float32))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


@dataclass(frozen=True)
class Resizer:
    """The part of an Extractor that another process can do: the sizes of its graphs' inputs, and how many views."""

    sizes_px: tuple[tuple[int, int], ...]
    n_views: int

    def resize(self, photo: Image.Image) -> Views:
        """Return what the graphs see of an RGB photo, (views, height, width, 3) each (Pillow's bicubic)."""
        boxes = _view_boxes(photo.size, self.n_views)
        return tuple(
            np.stack([np.asarray(photo.resize(size_px, box=box)) for box in boxes]) for size_px in self.sizes_px
        )


def _open_session(graph: Graph, network: Network, gpu: int) -> Session:
    if network.device == "cpu":
        return OpenVinoSession(graph, network.precision, network.batch_size)
    return OnnxSession(graph, network.device, network.batch_size, gpu)


class OpenVinoSession:
    """A graph compiled by OpenVINO for one thread and calls of `batch_size` photos; fewer take as long."""

    def __init__(self, graph: Graph, precision: str, batch_size: int = 1) -> None:
        import openvino as ov

        core = ov.Core()
        config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        self.size_px = width, height = graph.size_px
        read = core.read_model(model=graph.xml, weights=graph.weights)
        if batch_size > 1:
            read.reshape([batch_size, height, width, 3])
        self._request = core.compile_model(read, "CPU", config).create_infer_request()
        self._pixels = np.zeros((batch_size, height, width, 3), np.uint8)
        self._request.set_input_tensor(ov.Tensor(self._pixels, shared_memory=True))

    def __call__(self, pixels: Pixels) -> Vector:
        """Return the (n, n_features) vectors of (n, height, width, 3) pixels."""
        size = len(self._pixels)
        return np.concatenate([self._infer(pixels[start : start + size]) for start in range(0, len(pixels), size)])

    def _infer(self, photos: Pixels) -> Vector:
        self._pixels[: len(photos)] = photos  # what an earlier call left behind them is computed too
        self._request.infer()
        vectors: Vector = self._request.get_output_tensor(0).data[: len(photos)].copy()
        return vectors


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


@dataclass(frozen=True)
class PreparedPhoto:
    """A photo decoded and resized, so that many of them can wait for one call."""

    sha256: str
    width: int
    height: int
    views: Views


def needed_size_px(extractor: Extractor, decode: DecodeMode) -> tuple[int, int] | None:
    """Return the `min_size_px` that photos are decoded with; None where they are decoded exactly."""
    return extractor.min_decode_px if decode == "scaled" else None


def prepare_photo(data: bytes, extractor: Extractor | Resizer, decode: Decode) -> PreparedPhoto:
    """Decode and resize one photo; raises DecodeError, also where that takes more memory than there is."""
    decoded = decode(data)
    try:
        views = extractor.resize(decoded.image)
    except MemoryError as error:
        raise DecodeError(Reason.POISON, "resizing it takes more memory than there is") from error
    except Exception as error:  # as in decode_image: no photo is worth the others
        raise DecodeError(Reason.CORRUPT, f"{type(error).__name__}: {error}"[:500]) from error
    return PreparedPhoto(hashlib.sha256(data).hexdigest(), decoded.width, decoded.height, views)


def infer_photos(photos: Sequence[PreparedPhoto], extractor: Extractor) -> list[PhotoFeatures]:
    """Infer prepared photos in one call, in their order."""
    if not photos:
        return []
    vectors = extractor.infer([photo.views for photo in photos])
    return [PhotoFeatures(p.sha256, p.width, p.height, v) for p, v in zip(photos, vectors, strict=True)]


def featurize_photo(
    data: bytes, extractor: Extractor, *, max_pixels: int, decode: DecodeMode = "exact"
) -> PhotoFeatures:
    """Decode, resize and infer one photo; raises DecodeError."""
    decoder = partial(decode_image, max_pixels=max_pixels, min_size_px=needed_size_px(extractor, decode))
    return infer_photos([prepare_photo(data, extractor, decoder)], extractor)[0]


_extractors: dict[tuple[str, int], Extractor] = {}


def extractor_for(key: str, load: Callable[[], Network], gpu: int = 0) -> Extractor:
    """Return this process's extractor for the network `key` on a GPU, compiling what `load` gives the first time.

    Only the latest network is kept: a worker process that outlives one run must not collect networks.
    """
    if (key, gpu) not in _extractors:
        for other in [known for known in _extractors if known[0] != key]:
            del _extractors[other]
        _extractors[key, gpu] = Extractor(load(), gpu)
    return _extractors[key, gpu]
