"""Child processes that decode photos, so that a hostile photo ends a child and not the service."""

from __future__ import annotations

import queue
import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from verger.kernel.decode import decode_image
from verger.kernel.networks.inference import PreparedPhoto, Resizer, prepare_photo
from verger.privacy.metadata import strip_metadata
from verger.tasks.child_decoder import ChildDecoder

T = TypeVar("T")


@dataclass(frozen=True)
class DecodeLimits:
    """The limits of one photo in a child process.

    max_pixels: largest number of pixels. memory_bytes: largest address space of the child. timeout_s: longest time.
    """

    max_pixels: int
    memory_bytes: int
    timeout_s: float


class Decoders:
    """Child processes that decode and resize photos; each works on one photo at a time.

    min_size_px: the smallest size at which large JPEGs are decoded, see Extractor.min_decode_px.
    """

    def __init__(
        self, n_children: int, resizer: Resizer, min_size_px: tuple[int, int], limits: DecodeLimits
    ) -> None:
        self._prepare = partial(_prepare, resizer=resizer, min_size_px=min_size_px, limits=limits)
        self._strip = partial(_strip, limits=limits)
        self.threads = ThreadPoolExecutor(n_children, "decoder")
        self._idle: queue.SimpleQueue[ChildDecoder] = queue.SimpleQueue()
        self._children = [ChildDecoder(limits.timeout_s) for _ in range(n_children)]
        for child in self._children:
            self._idle.put(child)

    def prepare(self, data: bytes) -> PreparedPhoto:
        """Return a photo that is ready for inference; raises DecodeError. Call it in one of `threads`."""
        return self._run(self._prepare, data)

    def strip(self, data: bytes) -> bytes:
        """Return a photo without its metadata, as `strip_metadata` does. Call it in one of `threads`."""
        return self._run(self._strip, data)

    def _run(self, work: Callable[[bytes], T], data: bytes) -> T:
        child = self._idle.get()
        try:
            return child.run(work, data)
        finally:
            self._idle.put(child)

    def start(self) -> None:
        """Start the child processes, so that the first photos need not wait for them."""
        for started in [self.threads.submit(self._start_one) for _ in self._children]:
            started.result()

    def _start_one(self) -> None:
        self._run(_get_ready, b"")

    def close(self) -> None:
        """End the threads and the child processes."""
        self.threads.shutdown()
        for child in self._children:
            child.__exit__()


def _get_ready(data: bytes) -> None:
    """Do nothing: unpickling this function in the child has imported what `_prepare` needs."""


def _prepare(data: bytes, resizer: Resizer, min_size_px: tuple[int, int], limits: DecodeLimits) -> PreparedPhoto:
    """Decode and resize a photo in the child process."""
    _limit_memory(limits)
    return prepare_photo(
        data, resizer, partial(decode_image, max_pixels=limits.max_pixels, min_size_px=min_size_px)
    )


def _strip(data: bytes, limits: DecodeLimits) -> bytes:
    """Remove the metadata of a photo in the child process."""
    _limit_memory(limits)
    return strip_metadata(data, max_pixels=limits.max_pixels)


def _limit_memory(limits: DecodeLimits) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
