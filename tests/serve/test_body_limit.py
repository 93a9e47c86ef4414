"""The limits of request bodies: size by kind of body, time, and memory of all bodies together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.support.service import OWNER
from verger.serve import body_limit
from verger.serve.body_limit import BodyLimit

MEGABYTE = 1_000_000


async def read_all(scope: Any, receive: Any, send: Any) -> None:
    """An application that reads the body, as the routes do, and hides errors while it reads."""
    try:
        while (await receive()).get("more_body"):
            pass
        status = 200
    except Exception:
        status = 400
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def status_of(
    limit: BodyLimit, media_type: str, receive: Callable[[], Awaitable[Any]], length: int | None = None
) -> Coroutine[Any, Any, int]:
    async def request() -> int:
        answered: list[int] = []

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answered.append(message["status"])

        headers = [(b"content-type", media_type.encode())]
        headers += [] if length is None else [(b"content-length", str(length).encode())]
        await limit({"type": "http", "headers": headers}, receive, send)
        (status,) = answered
        return status

    return request()


def parts_of(n_bytes: int) -> Callable[[], Awaitable[Any]]:
    left = n_bytes

    async def receive() -> Any:
        nonlocal left
        size = min(left, 50_000)
        left -= size
        return {"type": "http.request", "body": bytes(size), "more_body": left > 0}

    return receive


@pytest.mark.parametrize(
    ("media_type", "n_bytes", "status"),
    [
        ("application/json", 60_000, 200),
        ("application/json", 70_000, 413),
        ("image/jpeg", MEGABYTE, 200),
        ("image/jpeg", MEGABYTE + 1, 413),
        ("multipart/form-data; boundary=x", 5 * MEGABYTE, 200),
        ("multipart/form-data; boundary=x", 5 * MEGABYTE + 200_000, 413),
        ("", 70_000, 413),
    ],
)
@pytest.mark.parametrize("declares_length", [True, False])
def test_the_largest_body_depends_on_its_kind(
    media_type: str, n_bytes: int, status: int, declares_length: bool
) -> None:
    async def ask() -> int:
        length = n_bytes if declares_length else None
        return await status_of(BodyLimit(read_all, MEGABYTE), media_type, parts_of(n_bytes), length)

    assert asyncio.run(ask()) == status


def test_bodies_together_have_a_limit_and_free_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limit, "_MEMORY_BYTES", 10 * MEGABYTE)
    limit, form = BodyLimit(read_all, MEGABYTE), "multipart/form-data; boundary=x"

    async def ask() -> list[int]:
        may_end = asyncio.Event()

        async def waiting() -> Any:
            await may_end.wait()
            return {"type": "http.request", "body": b"", "more_body": False}

        size = 5 * MEGABYTE
        async with asyncio.TaskGroup() as group:
            held = [group.create_task(status_of(limit, form, waiting, size)) for _ in range(2)]
            await asyncio.sleep(0)
            refused = await status_of(limit, form, parts_of(size), size)
            may_end.set()
        answered = [task.result() for task in held]
        return [refused, *answered, await status_of(limit, form, parts_of(size), size)]

    assert asyncio.run(ask()) == [503, 200, 200, 200]


def test_a_body_that_does_not_arrive_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limit, "_BODY_S", 0.01)

    async def never() -> Any:
        await asyncio.Event().wait()

    async def ask() -> int:
        return await status_of(BodyLimit(read_all, MEGABYTE), "image/jpeg", never)

    assert asyncio.run(ask()) == 408


def test_a_large_text_is_refused_before_it_is_parsed(client: TestClient) -> None:
    where = "/v1/observations/00000000-0000-4000-8000-000000000000/feedback"
    response = client.post(where, json={"is_right": True, "comment": "x" * 70_000}, headers=OWNER)
    assert (response.status_code, response.json()["reason"]) == (413, "too-large")
