"""A Cloud Storage of our own, with both of its faces: JSON for Google's clients and pyarrow, XML for obstore."""

from __future__ import annotations

import contextlib
import email
import email.utils
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

from tests.cloud.stub import RefusedError, Reply, Request, Routes, Stub, serving

_OBJECT = r"/storage/v1/b/([^/]+)/o/(.+)"
_XML = r"/(?!v1/|compute/|storage/|upload/|download/)([^/]+)"  # a bucket; not where an API begins
_CHANGED_S = 1_764_000_000
_PAGE = 1000


@dataclass
class Store:
    """Buckets as the JSON API describes them, and what is in them: (bucket, key) to bytes and generation."""

    buckets: dict[str, dict[str, Any]] = field(default_factory=dict)
    objects: dict[tuple[str, str], tuple[bytes, int]] = field(default_factory=dict)
    begun: dict[str, tuple[str, str]] = field(default_factory=dict)
    generations: Any = field(default_factory=lambda: itertools.count(1))

    def make(self, bucket: str, **settings: Any) -> None:
        """Make a bucket, with settings in the JSON API's words."""
        self.buckets[bucket] = {"kind": "storage#bucket", "id": bucket, "name": bucket, **settings}

    def keys(self, bucket: str) -> list[str]:
        """Return what is in a bucket, in its order."""
        return sorted(key for existing, key in self.objects if existing == bucket)

    @property
    def routes(self) -> Routes:
        bucket = r"/storage/v1/b/([^/]+)"
        return {
            rf"GET {bucket}": self._bucket,
            rf"GET {bucket}/o": self._list_json,
            rf"GET {_OBJECT}": self._get_json,
            rf"DELETE {_OBJECT}": self._delete,
            rf"GET /download{_OBJECT}": self._get,
            rf"POST /upload{bucket}/o": self._upload,
            rf"PUT /upload{bucket}/o": self._resume,
            rf"GET {_XML}/?": self._list_xml,
            rf"GET {_XML}/(.+)": self._get,
            rf"HEAD {_XML}/(.+)": self._get,
            rf"PUT {_XML}/(.+)": self._put,
            rf"DELETE {_XML}/(.+)": self._delete,
        }

    def _bucket(self, request: Request) -> object:
        (name,) = request.groups
        if name not in self.buckets:
            raise RefusedError(404, {"error": {"code": 404, "message": "The specified bucket does not exist."}})
        return self.buckets[name]

    def _list_json(self, request: Request) -> object:
        objects, folders, more = self._page(request, request.query.get("pageToken", ""), "maxResults")
        items = [self._described(request.groups[0], key) for key in objects]
        return {"items": items, "prefixes": folders, **({"nextPageToken": more} if more else {})}

    def _list_xml(self, request: Request) -> Reply:
        start = request.query.get("continuation-token") or request.query.get("start-after", "")
        objects, folders, more = self._page(request, start, "max-keys")
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self._held(request.groups[0], key)[0])}</Size>"
            f'<LastModified>2025-11-24T16:00:00.000Z</LastModified><ETag>"1"</ETag></Contents>'
            for key in objects
        )
        below = "".join(f"<CommonPrefixes><Prefix>{escape(key)}</Prefix></CommonPrefixes>" for key in folders)
        rest = f"<NextContinuationToken>{escape(more)}</NextContinuationToken>" if more else ""
        body = f"<ListBucketResult><IsTruncated>{str(bool(more)).lower()}</IsTruncated>{rest}{found}{below}"
        return Reply(f"{body}</ListBucketResult>".encode(), {"Content-Type": "application/xml"})

    def _page(self, request: Request, after: str, size: str) -> tuple[list[str], list[str], str]:
        """Return the objects and folders of a page, and after what the next one begins."""
        (bucket,) = request.groups
        if bucket not in self.buckets:
            raise RefusedError(404, {"error": {"code": 404, "message": "The specified bucket does not exist."}})
        prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter")
        below = [key for key in self.keys(bucket) if key.startswith(prefix) and key > after]
        first = below[: int(request.query.get(size, _PAGE))]
        more = first[-1] if len(below) > len(first) else ""
        if not delimiter:
            return first, [], more
        rests = {key: key.removeprefix(prefix) for key in first}
        cut = (rest.partition(delimiter) for rest in rests.values() if delimiter in rest)
        folders = {prefix + name + delimiter for name, _, _ in cut}
        return [key for key, rest in rests.items() if delimiter not in rest], sorted(folders), more

    def _get_json(self, request: Request) -> object:
        return self._get(request) if request.query.get("alt") == "media" else self._described(*request.groups)

    def _get(self, request: Request) -> Reply:
        data, generation = self._held(*request.groups)
        headers = {
            "ETag": f'"{generation}"',
            "Last-Modified": email.utils.formatdate(_CHANGED_S, usegmt=True),
            "x-goog-generation": str(generation),
        }
        if span := request.headers.get("range"):
            first, _, last = span.removeprefix("bytes=").partition("-")
            part = data[int(first) : int(last) + 1 if last else None]
            headers["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
            return Reply(part, headers, 206)
        return Reply(data, headers)

    def _put(self, request: Request) -> Reply:
        bucket, key = request.groups
        _, generation = self.objects.get((bucket, key), (b"", 0))
        if request.headers.get("x-goog-if-generation-match", str(generation)) != str(generation):
            raise RefusedError(412, {"error": {"code": 412, "message": "conditionNotMet"}})
        data = request.body
        if source := request.headers.get("x-goog-copy-source"):
            existing, _, name = unquote(source).strip("/").partition("/")
            data = self._held(existing, name)[0]
        now = self._hold(bucket, key, data)
        return Reply(b"", {"ETag": f'"{now}"', "x-goog-generation": str(now)})

    def _delete(self, request: Request) -> Reply:
        self._held(*request.groups)
        del self.objects[request.groups[0], request.groups[1]]
        return Reply(b"", {}, 204)

    def _upload(self, request: Request) -> object:
        (bucket,) = request.groups
        self._bucket(request)
        if request.query["uploadType"] == "resumable":
            name = request.query.get("name") or str(request.json["name"])
            ticket = str(next(self.generations))
            self.begun[ticket] = (bucket, name)
            where = f"http://{request.host}/upload/storage/v1/b/{bucket}/o?upload_id={ticket}"
            return Reply(b"{}", {"Location": where})
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        parts: Any = email.message_from_bytes(head + request.body).get_payload()
        metadata, content = parts
        name = json.loads(metadata.get_payload())["name"]
        self._hold(bucket, name, content.get_payload(decode=True))
        return self._described(bucket, name)

    def _resume(self, request: Request) -> object:
        """Take the rest of an upload: here always all of it."""
        bucket, name = self.begun.pop(request.query["upload_id"])
        self._hold(bucket, name, request.body)
        return self._described(bucket, name)

    def _hold(self, bucket: str, key: str, data: bytes) -> int:
        generation = next(self.generations)
        self.objects[bucket, key] = (data, generation)
        return int(generation)

    def _held(self, bucket: str, key: str) -> tuple[bytes, int]:
        if (bucket, key) not in self.objects:
            raise RefusedError(404, {"error": {"code": 404, "message": f"No such object: {bucket}/{key}"}})
        return self.objects[bucket, key]

    def _described(self, bucket: str, key: str) -> dict[str, Any]:
        data, generation = self._held(bucket, key)
        metadata = {"kind": "storage#object", "bucket": bucket, "name": key, "size": str(len(data))}
        when = "2025-11-24T16:00:00.000Z"
        return metadata | {
            "generation": str(generation),
            "metageneration": "1",
            "updated": when,
            "timeCreated": when,
        }


@contextlib.contextmanager
def serving_store(store: Store, more: Routes | None = None) -> Iterator[Stub]:
    """Serve a store; `more` comes first: other services at the same address."""
    with serving({**(more or {}), **store.routes}) as stub:
        yield stub
