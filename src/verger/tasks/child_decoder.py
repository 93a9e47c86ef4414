"""Decoding in a process of its own: a photo that kills its decoder then costs that process, not the worker.

Run as a program with the number of an open connection, and the pid of the worker, it does what comes on the
connection until it is closed. Starting one takes half a second, so that workers do it only where a task has failed
before.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import TypeVar

from PIL import Image

from verger.errors import DecodeError, Reason, SetupError
from verger.kernel.decode import Decoded, decode_image
from verger.process.launch import module_command, module_environment
from verger.process.signals import end_with_parent

T = TypeVar("T")

_KILLED = f"signal {signal.SIGKILL:d}"


class ChildDecoder:
    """Decodes in a child, started when it is first asked, and again after a photo that has killed it.

    min_size_px: see `decode_image`. limit_s: seconds for one photo. A worker that is killed takes its child along.
    """

    def __init__(
        self, max_pixels: int, min_size_px: tuple[int, int] | None = None, limit_s: float | None = None
    ) -> None:
        self._decode = partial(_decode, max_pixels=max_pixels, min_size_px=min_size_px)
        self._limit_s = limit_s
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> ChildDecoder:
        return self

    def __exit__(self, *ending: object) -> None:
        self._stop()

    def decode(self, data: bytes) -> Decoded:
        """Return what `decode_image` does; raises DecodeError, also where the child dies or takes too long."""
        size_px, pixels, width, height = self.run(self._decode, data)
        return Decoded(Image.frombytes("RGB", size_px, pixels), width, height)

    def run(self, work: Callable[[bytes], T], data: bytes) -> T:
        """Return work(data), done in the child; raises DecodeError as `decode` does. `work` must be picklable."""
        connection = self._connection or self._start()
        try:
            connection.send((work, data))
            if not connection.poll(self._limit_s):
                self._kill()
                raise DecodeError(Reason.TIMEOUT, f"decoding it takes longer than {self._limit_s:g} s")
            answer: T | DecodeError = connection.recv()
        except MemoryError:
            self._kill()  # half an answer may be left in the connection
            raise DecodeError(Reason.POISON, "decoding it takes more memory than there is") from None
        except (EOFError, OSError):
            raise DecodeError(Reason.POISON, f"decoding it ended the process ({self._stop()})") from None
        if isinstance(answer, DecodeError):
            raise answer
        return answer

    def _start(self) -> Connection:
        ours, theirs = Pipe()
        with theirs:
            try:
                self._child = subprocess.Popen(
                    module_command(__name__, str(theirs.fileno()), str(os.getpid())),
                    env=module_environment(),
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                )
            except BaseException:
                ours.close()
                raise
        self._connection = ours
        try:
            self._connection.recv()
        except (EOFError, OSError):  # no photo's fault: none has been sent
            ending = self._stop()
            cause = ", as the system does where memory runs out" if ending == _KILLED else ""
            raise SetupError(f"the process that decodes photos does not start ({ending}{cause})") from None
        return self._connection

    def _kill(self) -> None:
        """End a child that does not answer."""
        assert self._child is not None
        self._child.kill()
        self._stop()

    def _stop(self) -> str:
        """End the child, if there is one; return how it ended."""
        if self._connection is None or self._child is None:
            return "never started"
        self._connection.close()
        code = self._child.wait()
        self._connection = self._child = None
        return f"signal {-code}" if code < 0 else f"exit code {code}"


@contextmanager
def decoding(
    max_pixels: int, min_size_px: tuple[int, int] | None = None, *, apart: bool, limit_s: float | None
) -> Iterator[Callable[[bytes], Decoded]]:
    """Yield `decode_image` with these options; where `apart`, in a child that has `limit_s` seconds a photo."""
    if apart:
        with ChildDecoder(max_pixels, min_size_px, limit_s) as decoder:
            yield decoder.decode
    else:
        yield partial(decode_image, max_pixels=max_pixels, min_size_px=min_size_px)


def serve(connection: Connection) -> None:
    """Say that all is imported, then answer (work, photo) again and again, with work(photo) or a DecodeError."""
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
    """Return the decoded picture's size and RGB bytes, and the photo's width and height."""
    decoded = decode_image(data, max_pixels=max_pixels, min_size_px=min_size_px)
    return decoded.image.size, decoded.image.tobytes(), decoded.width, decoded.height


if __name__ == "__main__":
    end_with_parent(int(sys.argv[2]))
    with suppress(EOFError, OSError, KeyboardInterrupt):  # the worker has ended, or wants no more
        serve(Connection(int(sys.argv[1])))
