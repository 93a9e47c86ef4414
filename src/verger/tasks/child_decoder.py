"""Decoding in a child process: a photo that crashes the decoder kills the child, not the worker.

Starting a child takes half a second, so workers use one only after a failed attempt at a task. This module is
also the child's program: `python -m verger.tasks.child_decoder FD PARENT`, with the file descriptor of a pipe to
the worker and the worker's pid.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import TypeVar

from PIL import Image

from verger.errors import DecodeError, Reason, SetupError
from verger.kernel.decode import DEFAULT_MAX_PIXELS, Decoded, decode_image
from verger.process.piped_child import PipedChild
from verger.process.signals import end_with_parent

T = TypeVar("T")

_KILLED = f"signal {signal.SIGKILL:d}"


class ChildDecoder:
    """Decodes photos in a child process, which starts when first needed, and again after a photo has killed it.

    photo_timeout_s: time limit for one photo. The child ends when the worker ends.
    """

    def __init__(self, photo_timeout_s: float | None = None) -> None:
        self._photo_timeout_s = photo_timeout_s
        self._child: PipedChild | None = None

    def __enter__(self) -> ChildDecoder:
        return self

    def __exit__(self, *ending: object) -> None:
        self._stop()

    def decode(
        self, data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS, min_size_px: tuple[int, int] | None = None
    ) -> Decoded:
        """Return the result of `decode_image`; raises DecodeError, also if the child dies or takes too long."""
        work = partial(_decode, max_pixels=max_pixels, min_size_px=min_size_px)
        size_px, pixels, width, height = self.run(work, data)
        return Decoded(Image.frombytes("RGB", size_px, pixels), width, height)

    def run(self, work: Callable[[bytes], T], data: bytes) -> T:
        """Return work(data), computed in the child; raises the same errors as `decode`. `work` is pickled."""
        self._child = self._child or _start_child()
        connection = self._child.connection
        try:
            connection.send((work, data))
            if not connection.poll(self._photo_timeout_s):
                self._stop(kill=True)
                raise DecodeError(Reason.TIMEOUT, f"decoding it takes longer than {self._photo_timeout_s:g} s")
            answer: T | DecodeError = connection.recv()
        except MemoryError:
            self._stop(kill=True)  # part of the answer may be left in the pipe
            raise DecodeError(Reason.POISON, "decoding it takes more memory than there is") from None
        except (EOFError, OSError):
            raise DecodeError(Reason.POISON, f"decoding it ended the process ({self._stop()})") from None
        if isinstance(answer, DecodeError):
            raise answer
        return answer

    def _stop(self, *, kill: bool = False) -> str:
        """End the child if there is one; return its signal or exit code as text."""
        if self._child is None:
            return "never started"
        if kill:
            self._child.process.kill()
        ending, self._child = self._child.wait(), None
        return ending


def _start_child() -> PipedChild:
    child = PipedChild(__name__)
    try:
        child.connection.recv()
    except (EOFError, OSError):  # no photo has been sent yet, so no photo is the cause
        ending = child.wait()
        cause = "; the system may have killed it for lack of memory" if ending == _KILLED else ""
        raise SetupError(f"the process that decodes photos does not start ({ending}{cause})") from None
    return child


@contextmanager
def open_decoder(
    max_pixels: int, *, in_child: bool, photo_timeout_s: float | None
) -> Iterator[Callable[[bytes], Decoded]]:
    """Yield `decode_image` with the limit `max_pixels`.

    in_child: run it in a child process, with the time limit `photo_timeout_s` for one photo.
    """
    if in_child:
        with ChildDecoder(photo_timeout_s) as decoder:
            yield partial(decoder.decode, max_pixels=max_pixels)
    else:
        yield partial(decode_image, max_pixels=max_pixels)


def serve(connection: Connection) -> None:
    """Send "ready" after the imports. Then answer each pair (work, photo) with work(photo), or its DecodeError."""
    connection.send("ready")
    while True:
        work, data = connection.recv()
        try:
            connection.send(work(data))
        except DecodeError as error:
            connection.send(error)


def _decode(
    data: bytes, max_pixels: int, min_size_px: tuple[int, int] | None
) -> tuple[tuple[int, int], bytes, int, int]:
    """Return the decoded image's size and RGB bytes, and the photo's width and height."""
    decoded = decode_image(data, max_pixels=max_pixels, min_size_px=min_size_px)
    return decoded.image.size, decoded.image.tobytes(), decoded.width, decoded.height


if __name__ == "__main__":
    end_with_parent(int(sys.argv[2]))
    with suppress(EOFError, OSError, KeyboardInterrupt):  # the worker has ended or closed the pipe
        serve(Connection(int(sys.argv[1])))
