"""Middleware that limits the size, the time and the memory of request bodies, before they are read."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from verger.serve.problems import problem
from verger.serve.settings import N_PHOTOS

_TEXT_BYTES = 65_536  # of a body that is neither a form nor an image
_FORM_BYTES = 100_000  # for the other fields of a form, and its boundaries
_BODY_S = 60  # in which a body must arrive
_MEMORY_BYTES = 256_000_000  # of all bodies that are being read or answered
_RETRY_AFTER_S = 5


class _RefusedError(Exception):
    """The body is refused; `problem` is the answer's status, detail and other members."""

    def __init__(self, status: int, detail: str, reason: str) -> None:
        super().__init__(detail)
        self.status, self.detail, self.reason = status, detail, reason


class BodyLimit:
    """ASGI middleware that refuses bodies: 413 if too large, 408 if too slow, 503 if there are too many at once.

    max_photo_bytes: size of the largest photo. A form may have five photos, other bodies a few kilobytes.
    """

    def __init__(self, app: ASGIApp, max_photo_bytes: int) -> None:
        self._app, self._max_photo_bytes = app, max_photo_bytes
        self._memory_bytes = max(_MEMORY_BYTES, 2 * N_PHOTOS * max_photo_bytes)
        self._n_held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(self, scope, receive, send)
        try:
            body.hold(_declared_length(scope))
            await self._app(scope, body.receive, body.send)
        except _RefusedError:
            pass  # the answer follows
        finally:
            self._n_held -= body.n_held
        if body.refusal is not None and not body.has_answer:
            await _answer(body.refusal)(scope, receive, send)

    def limit_of(self, scope: Scope) -> int:
        """Return the largest size of the body of a request in bytes."""
        media_type = dict(scope["headers"]).get(b"content-type", b"").partition(b";")[0].strip().lower()
        if media_type == b"multipart/form-data":
            return N_PHOTOS * self._max_photo_bytes + _FORM_BYTES
        return self._max_photo_bytes if media_type.startswith(b"image/") else _TEXT_BYTES

    def hold(self, n_bytes: int) -> None:
        """Count bytes that are held in memory; raises _RefusedError if there are too many."""
        if self._n_held and self._n_held + n_bytes > self._memory_bytes:
            raise _RefusedError(503, "too many photos are being sent: try again later", "overload")
        self._n_held += n_bytes


class _Body:
    """The body of one request while it is read."""

    def __init__(self, owner: BodyLimit, scope: Scope, receive: Receive, send: Send) -> None:
        self._owner, self._receive, self._send = owner, receive, send
        self._max_bytes = owner.limit_of(scope)
        self._n_read, self._is_complete, self._end = 0, False, asyncio.get_running_loop().time() + _BODY_S
        self.n_held, self.has_answer = 0, False
        self.refusal: _RefusedError | None = None

    def hold(self, n_bytes: int) -> None:
        """Count bytes of this body; raises _RefusedError if it is too large, or if there are too many bodies."""
        if n_bytes <= self.n_held:
            return
        try:
            if n_bytes > self._max_bytes:
                detail = f"the request is over the limit of {self._max_bytes:,} bytes"
                raise _RefusedError(413, detail, "too-large")
            self._owner.hold(n_bytes - self.n_held)
        except _RefusedError as error:
            self.refusal = error
            raise
        self.n_held = n_bytes

    async def receive(self) -> Message:
        """Return the next part of the body."""
        if self._is_complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._end):
                message = await self._receive()
        except TimeoutError:
            self.refusal = _RefusedError(408, f"the request did not arrive within {_BODY_S} s", "timeout")
            raise self.refusal from None
        self._n_read += len(message.get("body", b""))
        self._is_complete = not message.get("more_body", False)
        self.hold(self._n_read)
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer, unless the body was refused: the application may have caught that error."""
        if self.refusal is not None and not self.has_answer:
            return
        self.has_answer = True
        await self._send(message)


def _answer(refusal: _RefusedError) -> ASGIApp:
    headers = {"Connection": "close"} | ({"Retry-After": str(_RETRY_AFTER_S)} if refusal.status == 503 else {})
    return problem(refusal.status, refusal.detail, headers=headers, reason=refusal.reason)


def _declared_length(scope: Scope) -> int:
    value = dict(scope["headers"]).get(b"content-length", b"0")
    return int(value) if value.isdigit() else 0
