"""Logs as JSON lines, without photos, keys or addresses; and the time of each request for the metrics."""

from __future__ import annotations

import logging
import time

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from verger.serve.metrics import REQUEST_SECONDS

_log = logging.getLogger("verger.serve.access")


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON; the attribute `fields` of a record adds members."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        content = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            content["error"] = self.formatException(record.exc_info)
        return orjson.dumps(content, default=str).decode()


def log_configuration(level: str = "INFO") -> dict[str, object]:
    """Return the configuration of `logging` for the service; uvicorn's own access log, with addresses, is off."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonFormatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            "verger": {"level": level},
            "uvicorn": {"level": "WARNING"},
            "uvicorn.access": {"level": "ERROR"},
        },
    }


class AccessLog:
    """ASGI middleware that logs and measures each request: method, route, status and time."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def noted_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted_send)
        finally:
            seconds = time.perf_counter() - start
            # The route's pattern, because a path contains the ids of observations.
            route = getattr(scope.get("route"), "path", "other")
            REQUEST_SECONDS.labels(scope["method"], route, status).observe(seconds)
            fields = {"method": scope["method"], "route": route, "status": status, "ms": round(seconds * 1e3, 1)}
            _log.info("request", extra={"fields": fields})
