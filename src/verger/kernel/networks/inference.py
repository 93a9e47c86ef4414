"""Feature extraction: photos to feature vectors by a compiled network.

Batch runs, the pyspark.ml stages and `verger predict` all use this module.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from verger.errors import DecodeError, Reason
from verger.kernel.decode import Decoded, decode_image
from verger.kernel.networks.network import Graph, Network
from verger.kernel.networks.onnx_session import OnnxSession
from verger.kernel.networks.openvino_session import OpenVinoSession
from verger.kernel.networks.view_sets import VIEW_SETS, Box, pixel_boxes, smallest_shares

Pixels = npt.NDArray[np.uint8]
Vector = npt.NDArray[np.float32]
# The input of each graph for one photo: (views, height, width, 3).
Views = tuple[Pixels, ...]
# A function from bytes to an upright RGB picture; raises DecodeError.
Decode = Callable[[bytes], Decoded]
# "scaled" decodes large JPEGs at a reduced scale, see Extractor.min_decode_px.
DecodeMode = Literal["exact", "scaled"]

# The smallest size of a photo decoded at a reduced scale, as a multiple of the network's input size. With 3, the
# cosine of MobileNetV2's vectors to the exact vectors is at least 0.9994 on real photos of 12 megapixels; with the
# views `center`, `crops` and `5` at least 0.9998, also of fruitnet's vectors (30 photos of benchmarks/camera.py).
SCALED_FACTOR = 3

# The filter that resizes a photo to the network's input. The features depend on it: if it changes, `fingerprint`
# (pipeline/fingerprint.py) must change too, otherwise --resume reuses features that were made with another filter.
_RESAMPLING = Image.Resampling.BICUBIC


class InferenceSession(Protocol):
    """A compiled graph: (n, height, width, 3) uint8 RGB in, (n, n_features) float32 out."""

    size_px: tuple[int, int]

    def __call__(self, pixels: Pixels) -> Vector: ...  # noqa: D102


class Extractor:
    """A network compiled for its device. It computes the vectors of photos; on the CPU with one thread.

    Several threads may use the same `resizer`, but not the same extractor. gpu: the number of the GPU; ignored on
    the CPU. Raises SetupError if the device is not available.
    """

    def __init__(self, network: Network, gpu: int = 0) -> None:
        self.size_px = network.size_px
        self.n_features = network.n_features
        self.batch_size = network.batch_size
        self._sessions = [_open_session(graph, network, gpu) for graph in network.graphs]
        self.resizer = Resizer(tuple(session.size_px for session in self._sessions), VIEW_SETS[network.views])

    @property
    def min_decode_px(self) -> tuple[int, int]:
        """The smallest width and height of a photo decoded at a reduced scale.

        For the whole photo, this is SCALED_FACTOR times the largest input of a graph. For views of parts of the
        photo it is larger, so that the smallest view has that size.
        """
        widths, heights = zip(*self.resizer.sizes_px, strict=True)
        across, down = smallest_shares(self.resizer.boxes)
        return math.ceil(SCALED_FACTOR * max(widths) / across), math.ceil(SCALED_FACTOR * max(heights) / down)

    def __call__(self, pixels: Pixels) -> Vector:
        """Return the (n_features,) float32 vector of a photo, (height, width, 3) uint8 RGB."""
        return self.featurize(Image.fromarray(pixels))

    def featurize(self, photo: Image.Image) -> Vector:
        """Return the (n_features,) float32 vector of an RGB photo."""
        vector: Vector = self.infer([self.resizer.resize(photo)])[0]
        return vector

    def infer(self, photos: Sequence[Views]) -> Vector:
        """Return the (n, n_features) float32 vectors of resized photos."""
        parts, n_views = [], len(self.resizer.boxes)
        for number, session in enumerate(self._sessions):
            vectors = session(np.concatenate([views[number] for views in photos]))
            by_photo = vectors.reshape(len(photos), n_views, -1)
            parts.append(by_photo[:, 0] if n_views == 1 else by_photo.mean(axis=1, dtype=np.float32))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


@dataclass(frozen=True)
class Resizer:
    """Resizes views of photos to the input sizes of a network's graphs. Unlike an Extractor, it can be pickled.

    boxes: the views, as shares of the photo's width and height.
    """

    sizes_px: tuple[tuple[int, int], ...]
    boxes: tuple[Box, ...]

    def resize(self, photo: Image.Image) -> Views:
        """Return each graph's input for an RGB photo, (views, height, width, 3)."""
        boxes = pixel_boxes(self.boxes, photo.size)
        return tuple(
            np.stack([np.asarray(photo.resize(size_px, _RESAMPLING, box)) for box in boxes])
            for size_px in self.sizes_px
        )


def _open_session(graph: Graph, network: Network, gpu: int) -> InferenceSession:
    if network.device == "cpu":
        return OpenVinoSession(graph, network.precision, network.batch_size)
    return OnnxSession(graph, network.device, network.batch_size, gpu)


@dataclass(frozen=True)
class PhotoFeatures:
    """A photo's feature vector, its upright size in pixels, and the hash of its bytes."""

    sha256: str
    width: int
    height: int
    features: Vector


@dataclass(frozen=True)
class PreparedPhoto:
    """A photo that is decoded and resized, ready for inference in a batch."""

    sha256: str
    width: int
    height: int
    views: Views


def needed_size_px(extractor: Extractor, decode: DecodeMode) -> tuple[int, int] | None:
    """Return the `min_size_px` for `decode_image`; None for exact decoding."""
    return extractor.min_decode_px if decode == "scaled" else None


def prepare_photo(data: bytes, resizer: Resizer, decode: Decode) -> PreparedPhoto:
    """Decode and resize one photo; raises DecodeError, also for a lack of memory."""
    decoded = decode(data)
    try:
        views = resizer.resize(decoded.image)
    except MemoryError as error:
        raise DecodeError(Reason.POISON, "resizing it takes more memory than there is") from error
    except Exception as error:  # as in decode_image: one photo must not stop the others
        raise DecodeError(Reason.CORRUPT, f"{type(error).__name__}: {error}"[:500]) from error
    return PreparedPhoto(hashlib.sha256(data).hexdigest(), decoded.width, decoded.height, views)


def infer_photos(photos: Sequence[PreparedPhoto], extractor: Extractor) -> list[PhotoFeatures]:
    """Return the features of prepared photos, in the same order, computed in one call."""
    if not photos:
        return []
    vectors = extractor.infer([photo.views for photo in photos])
    return [PhotoFeatures(p.sha256, p.width, p.height, v) for p, v in zip(photos, vectors, strict=True)]


def featurize_photo(
    data: bytes, extractor: Extractor, *, max_pixels: int, decode: DecodeMode = "exact"
) -> PhotoFeatures:
    """Compute the features of one photo from its bytes; raises DecodeError."""
    decoder = partial(decode_image, max_pixels=max_pixels, min_size_px=needed_size_px(extractor, decode))
    return infer_photos([prepare_photo(data, extractor.resizer, decoder)], extractor)[0]


_extractors: dict[tuple[str, int], Extractor] = {}


def cached_extractor(key: str, load: Callable[[], Network], gpu: int = 0) -> Extractor:
    """Return this process's extractor for a network and a GPU; the first call compiles it, later calls reuse it.

    load: function that returns the network with the key `key`. Only the extractors of the last key are kept: a
    worker process may work for many runs.
    """
    if (key, gpu) not in _extractors:
        for stale in [cached for cached in _extractors if cached[0] != key]:
            del _extractors[stale]
        _extractors[key, gpu] = Extractor(load(), gpu)
    return _extractors[key, gpu]
