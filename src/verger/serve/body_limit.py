"""Middleware that refuses request bodies that are too large, before they are read."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from verger.serve.problems import problem


class _TooLargeError(Exception):
    pass


class BodyLimit:
    """ASGI middleware: answers 413 if a body has more than `max_bytes` bytes, also without a Content-Length."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        n_bytes, has_started = 0, False

        async def limited_receive() -> Message:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > self._max_bytes:
                raise _TooLargeError
            return message

        async def noted_send(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            if _declared_length(scope) > self._max_bytes:
                raise _TooLargeError
            await self._app(scope, limited_receive, noted_send)
        except _TooLargeError:
            if not has_started:
                detail = f"the request is over the limit of {self._max_bytes / 1e6:,.0f} MB"
                answer = problem(413, detail, headers={"Connection": "close"}, reason="too-large")
                await answer(scope, receive, send)


def _declared_length(scope: Scope) -> int:
    value = dict(scope["headers"]).get(b"content-length", b"0")
    return int(value) if value.isdigit() else 0
