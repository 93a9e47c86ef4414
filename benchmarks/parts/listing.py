"""Part `listing`: a flat folder listed from a slow store, in parallel and one page after another."""

from __future__ import annotations

import multiprocessing
import os
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from unittest import mock
from urllib.parse import parse_qs, urlsplit

from benchmarks.measure import Line
from benchmarks.photos import Bench
from verger.storage.objects import object_path
from verger.storage.objects.pages import _pages
from verger.storage.objects.stores import store_of

N_OBJECTS = 50_000
LATENCY_S = 0.05
_PAGE = 1000
_REQUESTS: Synchronized[int] = multiprocessing.Value("i", 0)
_KEYS = [f"photos/IMG_{i:06d}.jpg" for i in range(N_OBJECTS)]


@dataclass(frozen=True)
class ListingTimes:
    """Seconds and numbers of requests of both ways to list."""

    sequential_s: float
    parallel_s: float
    n_pages: int
    n_requests: int


def measure(bench: Bench) -> list[Line]:
    """List a folder of N_OBJECTS objects; needs no photos."""
    found = time_listing()
    return [
        Line(
            f"list a flat folder of {N_OBJECTS:,} objects, {LATENCY_S * 1000:.0f} ms per answer",
            f"{found.parallel_s:.1f} s, {found.n_requests} requests; "
            f"sequentially {found.sequential_s:.1f} s, {found.n_pages} requests",
        )
    ]


def time_listing() -> ListingTimes:
    """List the folder both ways."""
    folder = object_path("s3a://bucket/photos")
    assert folder is not None
    with _serving() as n_requests:
        start = time.monotonic()
        n_sequential = sum(len(page) for page in _pages(folder.root, folder.key))
        sequential_s, n_pages = time.monotonic() - start, n_requests.value
        start = time.monotonic()
        n_parallel = sum(1 for _ in folder.walk())
        parallel_s = time.monotonic() - start
        assert n_sequential == n_parallel == N_OBJECTS
        return ListingTimes(sequential_s, parallel_s, n_pages, n_requests.value - n_pages)


class _Lister(BaseHTTPRequestHandler):
    """The listing API of S3, which answers after a delay."""

    protocol_version = "HTTP/1.1"
    n_requests: Synchronized[int]

    def do_GET(self) -> None:
        with self.n_requests.get_lock():
            self.n_requests.value += 1
        parameters = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        first = bisect_right(_KEYS, parameters.get("continuation-token") or parameters.get("start-after") or "")
        page = _KEYS[first : first + _PAGE]
        is_truncated = first + _PAGE < len(_KEYS)
        body = "".join(_ENTRY.format(key) for key in page)
        body += f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated>"
        body += f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if is_truncated else ""
        content = f"<ListBucketResult>{body}</ListBucketResult>".encode()
        time.sleep(LATENCY_S)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Do not log requests."""


_ENTRY = "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>1</Size></Contents>"


def _serve(parent: Connection, n_requests: Synchronized[int]) -> None:
    _Lister.n_requests = n_requests
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Lister)
    parent.send(server.server_port)
    server.serve_forever()


@contextmanager
def _serving() -> Iterator[Synchronized[int]]:
    """Run the server in a child process; yield the number of requests so far."""
    parent, child = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_serve, args=(child, _REQUESTS), daemon=True)
    process.start()
    environment = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{parent.recv()}"}
    environment |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    try:
        with mock.patch.dict(os.environ, environment):
            store_of.cache_clear()
            yield _REQUESTS
    finally:
        process.kill()
        process.join()
