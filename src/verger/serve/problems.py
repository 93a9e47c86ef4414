"""Errors as problem details (RFC 9457), and the exceptions that become them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from verger.errors import DatabaseError, SetupError, StorageError, VergerError
from verger.serve.admission import OverloadedError
from verger.serve.metrics import SHED, UNDECODABLE
from verger.serve.recognizer import UndecodablePhotoError

MEDIA_TYPE = "application/problem+json"
_log = logging.getLogger(__name__)


class ProblemError(Exception):
    """An error with a status code, a sentence for people, and more members of the answer."""

    def __init__(self, status: int, detail: str, *, headers: dict[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.members = status, detail, headers, members


# What the statuses of errors mean, in the OpenAPI document.
_MEANINGS = {
    400: "the form cannot be read",
    401: "no valid key",
    404: "not found",
    408: "the request did not arrive in time",
    413: "a photo or the request is too large",
    415: "the body is neither a form, nor an image, nor JSON",
    422: "the request is not valid, or a photo cannot be decoded: `reason` and `photo` say why and which one",
    429: "too many requests from this client; see Retry-After",
    503: "too much work, or the database or bucket cannot be used; see Retry-After",
}
_SCHEMA = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "a sentence for people"},
        "reason": {"type": "string", "description": "the cause, for programs"},
        "photo": {"type": "integer", "description": "the position of the photo that cannot be decoded, from 0"},
    },
}


# The statuses of errors of requests with photos.
PHOTO_ERRORS: dict[int, str | None] = dict.fromkeys((400, 408, 413, 415, 422, 429, 503))


def problem_responses(statuses: Mapping[int, str | None]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of answers with problem details; None: the usual meaning of the status."""
    content = {MEDIA_TYPE: {"schema": _SCHEMA}}
    return {
        status: {"description": meaning or _MEANINGS[status], "content": content}
        for status, meaning in statuses.items()
    }


def problem(status: int, detail: str, *, headers: dict[str, str] | None = None, **members: Any) -> JSONResponse:
    """Return an answer with problem details."""
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(content | members, status, headers, MEDIA_TYPE)


def overloaded(error: OverloadedError) -> JSONResponse:
    """Return 503 for a request that would wait too long."""
    SHED.labels("overload").inc()
    return problem(503, str(error), headers={"Retry-After": str(error.retry_after_s)})


def add_problem_handlers(app: FastAPI) -> None:
    """Make every error of the application an answer with problem details."""

    @app.exception_handler(ProblemError)
    async def _problem(request: Request, error: ProblemError) -> JSONResponse:
        return problem(error.status, error.detail, headers=error.headers, **error.members)

    @app.exception_handler(OverloadedError)
    async def _overloaded(request: Request, error: OverloadedError) -> JSONResponse:
        return overloaded(error)

    @app.exception_handler(UndecodablePhotoError)
    async def _undecodable(request: Request, error: UndecodablePhotoError) -> JSONResponse:
        reason = str(error.cause.reason)
        UNDECODABLE.labels(reason).inc()
        return problem(422, error.cause.detail, reason=reason, photo=error.photo)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [{"field": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()]
        detail = "; ".join(f"{e['field']}: {e['message']}" for e in errors)
        return problem(422, detail, reason="invalid-request", errors=errors)

    @app.exception_handler(DatabaseError)
    @app.exception_handler(StorageError)
    @app.exception_handler(SetupError)
    async def _unavailable(request: Request, error: VergerError) -> JSONResponse:
        _log.error("%s", error)
        return problem(503, "the database or the photos cannot be used now", headers={"Retry-After": "5"})

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), headers=dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> JSONResponse:
        return problem(500, "an error of the service, which is in its log")
