"""The warm recogniser: a network compiled once for each thread, and child processes that decode."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from verger.errors import DecodeError
from verger.kernel.classifier.classifier import Classifier, Decisions, Floats, classifier_path, load_classifier
from verger.kernel.networks.inference import Extractor, PhotoFeatures, PreparedPhoto, Resizer, infer_photos
from verger.learn.predict import prepare_classifier_network
from verger.serve.admission import Admission, OverloadedError
from verger.serve.decoders import DecodeLimits, Decoders
from verger.serve.metrics import QUEUED_PHOTOS, observe_stage
from verger.serve.settings import ServeSettings

_MEGABYTE = 1_000_000
# A photo whose decoding hangs is reported as such, before the deadline of its request.
_DECODING_SHARE = 0.8
_RETRY_AFTER_S = 5  # if an answer took too long

T = TypeVar("T")


class UndecodablePhotoError(Exception):
    """One photo of a request cannot be decoded; `photo` is its position, from 0."""

    def __init__(self, photo: int, cause: DecodeError) -> None:
        super().__init__(str(cause))
        self.photo, self.cause = photo, cause


class ModelVersion(NamedTuple):
    """The network and the classifier that name the fruit."""

    name: str
    weights_sha256: str
    classifier_sha256: str


@dataclass(frozen=True)
class Recognition:
    """The features of one to five photos of a fruit, and the decision about their mean probabilities.

    probabilities: (1, n_labels), the mean over the photos.
    """

    photos: tuple[PhotoFeatures, ...]
    probabilities: Floats
    decisions: Decisions


class Recognizer:
    """Names the fruit in photos with a classifier that is loaded and compiled once. Use it in one event loop.

    Raises ClassifierError or WeightsError if the classifier cannot be used.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.classifier: Classifier = load_classifier(classifier_path(settings.classifier))
        self._network = prepare_classifier_network(self.classifier)
        self.model_version = f"{self._network.model}-{self._network.weights_sha256[:8]}"
        classifier_sha256 = _hash_classifier(self.classifier)
        self.classifier_version = classifier_sha256[:8]
        self.version = ModelVersion(self._network.model, self._network.weights_sha256, classifier_sha256)
        self._own = threading.local()
        self._deadline_s = settings.deadline_s
        self._inference = ThreadPoolExecutor(settings.n_inference_threads, "inference", self._compile)
        first: Extractor = self._inference.submit(lambda: self._own.extractor).result()
        limits = DecodeLimits(
            settings.max_pixels,
            settings.decoder_memory_mb * _MEGABYTE,
            timeout_s=_DECODING_SHARE * settings.deadline_s,
        )
        self._decoders = Decoders(settings.n_decoders, first.resizer, first.min_decode_px, limits)
        self._decoders.start()
        n_servers = min(settings.n_inference_threads, settings.n_decoders)
        self.admission = Admission(n_servers, settings.deadline_s, self._measure(first.resizer))

    def _compile(self) -> None:
        """Give a thread of inference a compiled network of its own."""
        self._own.extractor = Extractor(self._network)

    def _measure(self, resizer: Resizer) -> float:
        """Start the threads of inference; return the time in which one of them computes a photo, in seconds."""
        blank = PreparedPhoto("", 1, 1, resizer.resize(Image.new("RGB", (1_000, 1_000))))
        n_threads = self._inference._max_workers
        for warm_up in [self._inference.submit(self._infer, blank) for _ in range(2 * n_threads)]:
            warm_up.result()
        start = time.perf_counter()
        self._inference.submit(self._infer, blank).result()
        return time.perf_counter() - start

    async def recognize(self, photos: Sequence[bytes]) -> Recognition:
        """Return the answer for photos of one fruit, computed at the same time.

        Raises UndecodablePhotoError, SetupError, or OverloadedError, also after the deadline.
        """
        with self.admission.admit(len(photos)):
            QUEUED_PHOTOS.set(self.admission.n_photos)
            try:
                features = await self._all(self._featurize, photos)
            finally:
                QUEUED_PHOTOS.set(self.admission.n_photos - len(photos))
        return self._decide(features)

    async def strip_metadata(self, photos: Sequence[bytes]) -> tuple[bytes, ...]:
        """Return the photos without place, time, camera and names; the child processes do it.

        Raises UndecodablePhotoError, SetupError or OverloadedError.
        """
        return await self._all(self._strip, photos)

    async def _all(
        self, work: Callable[[int, bytes], Coroutine[Any, Any, T]], photos: Sequence[bytes]
    ) -> tuple[T, ...]:
        """Return work(position, photo) of all photos; raises the first error, or OverloadedError if it is late."""
        try:
            async with asyncio.timeout(self._deadline_s), asyncio.TaskGroup() as group:
                tasks = [group.create_task(work(position, photo)) for position, photo in enumerate(photos)]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        except TimeoutError:
            raise OverloadedError(_RETRY_AFTER_S, f"the answer took longer than {self._deadline_s:g} s") from None
        return tuple(task.result() for task in tasks)

    async def _featurize(self, position: int, data: bytes) -> PhotoFeatures:
        prepared, decode_s = await self._in_child(position, self._prepare, data)
        loop = asyncio.get_running_loop()
        features, inference_s = await loop.run_in_executor(self._inference, self._infer, prepared)
        self.admission.record(max(decode_s, inference_s))
        return features

    async def _strip(self, position: int, data: bytes) -> bytes:
        return await self._in_child(position, self._decoders.strip, data)

    async def _in_child(self, position: int, work: Callable[[bytes], T], data: bytes) -> T:
        """Return work(data), computed in a child process; raises UndecodablePhotoError."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._decoders.threads, work, data)
        except DecodeError as error:
            raise UndecodablePhotoError(position, error) from error

    def _prepare(self, data: bytes) -> tuple[PreparedPhoto, float]:
        """Return a decoded photo, and the time it took in seconds."""
        start = time.perf_counter()
        with observe_stage("decode"):
            prepared = self._decoders.prepare(data)
        return prepared, time.perf_counter() - start

    def _infer(self, photo: PreparedPhoto) -> tuple[PhotoFeatures, float]:
        """Return a photo's features and the time of the computation in seconds, in a thread of inference."""
        start = time.perf_counter()
        with observe_stage("inference"):
            features = infer_photos([photo], self._own.extractor)[0]
        return features, time.perf_counter() - start

    def _decide(self, photos: tuple[PhotoFeatures, ...]) -> Recognition:
        vectors = np.stack([photo.features for photo in photos])
        probabilities = self.classifier.probabilities(vectors).mean(axis=0, keepdims=True)
        return Recognition(photos, probabilities, self.classifier.decide(probabilities))

    def close(self) -> None:
        """End the threads and the child processes."""
        self._inference.shutdown()
        self._decoders.close()


def _hash_classifier(classifier: Classifier) -> str:
    """Return a SHA-256 of what a classifier computes."""
    numbers = (classifier.temperature, classifier.threshold, classifier.variety_threshold, classifier.transform)
    arrays = classifier.coef.tobytes() + classifier.intercept.tobytes()
    return hashlib.sha256(arrays + repr((classifier.labels, numbers)).encode()).hexdigest()
