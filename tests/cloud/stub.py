"""A small HTTP server on loopback that answers from what a test hands it; what it does not know fails the test."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Request:
    """A request: the host it came to, its headers, the groups of its path's pattern, its query, its body."""

    host: str
    headers: Mapping[str, str]
    groups: tuple[str, ...]
    query: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        content: dict[str, object] = json.loads(self.body or b"{}")
        return content


@dataclass(frozen=True)
class Reply:
    """An answer that is no JSON."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


class RefusedError(Exception):
    """An answer that is an error: its status, and what the body says."""

    def __init__(self, status: int, content: object) -> None:
        super().__init__(status, content)
        self.status, self.content = status, content


Route = Callable[[Request], object]  # a Reply as it is, all else as JSON
Routes = Mapping[str, Route]  # "METHOD /pattern"


@dataclass
class Stub:
    """A running server; `unknown` and `broken` are what went wrong in it."""

    url: str
    requests: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


@contextlib.contextmanager
def serving(routes: Routes) -> Iterator[Stub]:
    """Serve the routes; raises at the end where something else was asked for, or a route did not understand."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    stub = Stub(f"http://127.0.0.1:{server.server_port}")
    patterns = [(re.compile(f"^{pattern}$"), route) for pattern, route in routes.items()]
    server.answer = _answers(stub, patterns)  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield stub
        assert not stub.unknown, f"asked for what the stand-in does not know: {stub.unknown}"
        assert not stub.broken, f"not understood: {stub.broken}"
    finally:
        server.shutdown()
        server.server_close()


Answer = Callable[[str, str, Mapping[str, str], bytes], Reply]


def _answers(stub: Stub, patterns: list[tuple[re.Pattern[str], Route]]) -> Answer:
    def answer(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
        parts = urlsplit(target)
        request = f"{method} {unquote(parts.path)}"
        stub.requests.append(request)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        for pattern, route in patterns:
            if match := pattern.match(request):
                try:
                    content = route(Request(urlsplit(stub.url).netloc, headers, match.groups(), query, body))
                    return content if isinstance(content, Reply) else _json(content)
                except RefusedError as refused:
                    return _json(refused.content, refused.status)
                except Exception as error:
                    stub.broken.append(f"{request}: {error!r}")
                    return _json({"error_code": "BROKEN", "message": repr(error)}, 400)
        stub.unknown.append(request)
        return _json({"error_code": "ENDPOINT_NOT_FOUND", "message": request}, 404)

    return answer


def _json(content: object, status: int = 200) -> Reply:
    return Reply(json.dumps(content).encode(), {"Content-Type": "application/json"}, status)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer: Answer = self.server.answer  # type: ignore[attr-defined]
        reply = answer(self.command, self.path, headers, self._body())
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline().strip() or b"0", 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass
