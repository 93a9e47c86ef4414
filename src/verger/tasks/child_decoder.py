"""Reading and decoding in a child process: a photo that crashes or blocks the code ends the child, not the worker.

Starting a child takes half a second, so workers use one only after a failed attempt at a task. This module is
also the child's program: `python -m verger.tasks.child_decoder FD PARENT`, with the file descriptor of a pipe to
the worker and the worker's pid.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import TypeVar

from PIL import Image

from verger.errors import DecodeError, Reason, SetupError
from verger.kernel.decode import DEFAULT_MAX_PIXELS, Decoded, decode_image
from verger.process.piped_child import PipedChild
from verger.process.signals import end_with_parent
from verger.sources.content import Read, read_photo

T = TypeVar("T")
V = TypeVar("V")

_KILLED = f"signal {signal.SIGKILL:d}"

# How long to wait for the end of a killed child. A child that waits for a broken file system may never end.
_KILL_WAIT_S = 5


class ChildDecoder:
    """Reads and decodes photos in a child process, which starts when first needed, and again when it has ended.

    photo_timeout_s: time limit for reading one photo, and for decoding it. The child ends when the worker ends.
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

    def read(self, uri: str, max_pixels: int = DEFAULT_MAX_PIXELS) -> bytes:
        """Return the result of `read_photo` for a local file; raises DecodeError, also if it takes too long."""
        return self.run(partial(read_photo, max_pixels=max_pixels), uri, "reading")

    def run(self, work: Callable[[V], T], value: V, action: str = "decoding") -> T:
        """Return work(value), computed in the child; raises the same errors as `decode`. `work` is pickled.

        action: the name of the work in error messages.
        """
        self._child = self._child or _start_child()
        connection = self._child.connection
        try:
            connection.send((work, value))
            if not connection.poll(self._photo_timeout_s):
                self._stop(kill=True)
                raise DecodeError(Reason.TIMEOUT, f"{action} it takes longer than {self._photo_timeout_s:g} s")
            answer: T | DecodeError | SetupError = connection.recv()
        except MemoryError:
            self._stop(kill=True)  # part of the answer may be left in the pipe
            raise DecodeError(Reason.POISON, f"{action} it takes more memory than there is") from None
        except (EOFError, OSError):
            raise DecodeError(Reason.POISON, f"{action} it ended the process ({self._stop()})") from None
        if isinstance(answer, (DecodeError, SetupError)):
            raise answer
        return answer

    def _stop(self, *, kill: bool = False) -> str:
        """End the child if there is one; return its signal or exit code as text."""
        if self._child is None:
            return "never started"
        child, self._child = self._child, None
        if not kill:
            return child.wait()
        child.connection.close()
        child.process.kill()
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(_KILL_WAIT_S)
        return _KILLED


def _start_child() -> PipedChild:
    child = PipedChild(__name__)
    try:
        child.connection.recv()
    except (EOFError, OSError):  # no photo has been sent yet, so no photo is the cause
        ending = child.wait()
        cause = "; the system may have killed it for lack of memory" if ending == _KILLED else ""
        raise SetupError(f"the process that decodes photos does not start ({ending}{cause})") from None
    return child


@dataclass(frozen=True)
class PhotoTools:
    """The functions with which a task reads local photos and decodes them; both raise DecodeError."""

    read: Read
    decode: Callable[[bytes], Decoded]


@contextmanager
def open_photo_tools(max_pixels: int, *, in_child: bool, photo_timeout_s: float | None) -> Iterator[PhotoTools]:
    """Yield `read_photo` and `decode_image` with the limit `max_pixels`.

    in_child: run them in a child process, with the time limit `photo_timeout_s` for each call.
    """
    if in_child:
        with ChildDecoder(photo_timeout_s) as child:
            yield PhotoTools(
                partial(child.read, max_pixels=max_pixels), partial(child.decode, max_pixels=max_pixels)
            )
    else:
        yield PhotoTools(partial(read_photo, max_pixels=max_pixels), partial(decode_image, max_pixels=max_pixels))


def serve(connection: Connection) -> None:
    """Send "ready" after the imports. Then receive pairs (work, value), and send back work(value).

    If `work` raises a DecodeError or SetupError, the error is sent back.
    """
    connection.send("ready")
    while True:
        work, value = connection.recv()
        try:
            connection.send(work(value))
        except (DecodeError, SetupError) as error:
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
