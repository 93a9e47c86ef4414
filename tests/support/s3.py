"""An S3 server on loopback, and functions that put objects into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from tests.support.s3_environment import BUCKET as BUCKET
from tests.support.s3_environment import REGION, s3_environment
from tests.support.s3_environment import SECRET as SECRET
from verger.storage.objects.stores import store_of


@contextmanager
def serving(around: Callable[[Any], Any] = lambda app: app) -> Iterator[str]:
    """Run moto's server, with a bucket, and point the environment at it; yield the endpoint.

    `around` may stand before it (see `faulty`).
    """
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    assert server._server is not None
    server._server.app = around(server._server.app)
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_environment(endpoint).items():
            patch.setenv(name, value)
        _backend().create_bucket(BUCKET, REGION)
        store_of.cache_clear()  # one of this bucket may know an earlier server
        yield endpoint
        _backend().reset()
    store_of.cache_clear()
    server.stop()


def put(key: str, content: bytes) -> None:
    """Put an object without a request."""
    _backend().put_object(BUCKET, key, content)


def remove(key: str) -> None:
    """Delete an object without a request."""
    _backend().delete_object(BUCKET, key)


def put_tree(folder: Path, prefix: str) -> None:
    """Put every file below a folder."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            put(f"{prefix}/{file.relative_to(folder)}", file.read_bytes())


def keys(prefix: str) -> list[str]:
    """Return the names of the objects below a prefix, with marks of folders."""
    objects, *_ = _backend().list_objects(_backend().head_bucket(BUCKET), prefix, None, None, None)
    return sorted(found.name for found in objects)


def _backend() -> Any:
    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
