"""A WSGI application whose answers fail at random, as those of an object store do."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ERRORS = {
    "500": ("500 Internal Server Error", "InternalError"),
    "503": ("503 Slow Down", "SlowDown"),
}
CUT = "cut off"
STALL = "stalled"

_XML = '<?xml version="1.0"?><Error><Code>{}</Code><Message>we are in trouble</Message></Error>'


class Faulty:
    """Stands before an application: a share of the requests fails, and is not carried out.

    Some say so (500, 503), some answers end in the middle of their body, and the first request for each key that
    holds a word of `stalling` is answered only after the client's timeout. `met` counts them.
    """

    def __init__(
        self, app: WSGIApplication, *, seed: int, share: float, stalling: Sequence[str] = (), stall_s: float = 30
    ) -> None:
        self._app, self._share, self._stall_s = app, share, stall_s
        self._random = random.Random(seed)
        self._stalling = list(stalling)
        self._alone = threading.Lock()
        self.met: Counter[str] = Counter()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        fault = self._draw(environ["PATH_INFO"], environ["REQUEST_METHOD"])
        if fault in ERRORS:
            return _refuse(start_response, environ["REQUEST_METHOD"], fault)
        if fault == STALL:
            time.sleep(self._stall_s)
            return _refuse(start_response, environ["REQUEST_METHOD"], "503")
        answer = self._app(environ, start_response)
        return _half(answer) if fault == CUT else answer

    def _draw(self, path: str, method: str) -> str | None:
        with self._alone:
            fault = self._choose(path, method)
            if fault is not None:
                self.met[fault] += 1
            return fault

    def _choose(self, path: str, method: str) -> str | None:
        for word in self._stalling:
            if word in path:
                self._stalling.remove(word)
                return STALL
        if self._random.random() >= self._share:
            return None
        return self._random.choice([*ERRORS, CUT] if method == "GET" else [*ERRORS])


def _refuse(start_response: StartResponse, method: str, fault: str) -> list[bytes]:
    status, code = ERRORS[fault]
    body = _XML.format(code).encode()
    start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [] if method == "HEAD" else [body]


def _half(answer: Any) -> Iterable[bytes]:
    """Send half the length that the header announces, then close the connection."""
    whole = b"".join(answer)
    if hasattr(answer, "close"):
        answer.close()
    return [whole[: len(whole) // 2]]
