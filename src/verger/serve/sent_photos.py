"""The photos of a request: files of a multipart form, the body itself, or photos that were uploaded before."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException

from verger.kernel.decode import photo_format
from verger.serve.admission import OverloadedError
from verger.serve.photo_store import PhotoStore, upload_key
from verger.serve.problems import ProblemError
from verger.serve.settings import N_PHOTOS

PHOTO_FIELD = "photo"
_FORM, _JSON = "multipart/form-data", "application/json"
_MAX_FIELD_BYTES = 10_000
_ENCODINGS = ("", "identity")
_EXPECTED = f"expected a form ({_FORM}) with 1 to {N_PHOTOS} files {PHOTO_FIELD!r}, or {_JSON} with uploads"
_TRUE, _FALSE = ("true", "1", "on", "yes"), ("", "false", "0", "off", "no")

# The request body in the OpenAPI document.
_BINARY = {"type": "string", "format": "binary"}
_FLAG = {"type": "boolean", "default": False}


class UploadedPhotos(BaseModel):
    """Photos that the client has uploaded: the ids from POST /v1/uploads. The flags are for observations."""

    model_config = ConfigDict(extra="forbid")

    uploads: Annotated[list[uuid.UUID], Field(min_length=1, max_length=N_PHOTOS)]
    consent: bool = False
    keep_metadata: bool = False


@dataclass(frozen=True)
class SentPhotos:
    """The photos of a request: their bytes, or the ids of uploads; and the other fields of the form."""

    photos: tuple[bytes, ...] = ()
    uploads: tuple[uuid.UUID, ...] = ()
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def n_photos(self) -> int:
        """The number of photos."""
        return len(self.photos) + len(self.uploads)

    def flag(self, name: str) -> bool:
        """Return the value of a field that is true or false; a missing one is false. Raises ProblemError (422)."""
        value = self.fields.get(name, "").strip().lower()
        if value not in _TRUE + _FALSE:
            raise ProblemError(422, f"{name}: {value[:50]!r} is neither true nor false", reason="invalid-request")
        return value in _TRUE


def body_schema(*flags: str, allows_image: bool = False) -> dict[str, object]:
    """Return the OpenAPI description of the body: a form with photos and flags, uploads, or an image."""
    photos = {"type": "array", "items": _BINARY, "minItems": 1, "maxItems": N_PHOTOS}
    uploads = {"type": "array", "items": {"type": "string", "format": "uuid"}, "minItems": 1, "maxItems": N_PHOTOS}
    content: dict[str, object] = {
        _FORM: {"schema": _object(PHOTO_FIELD, photos, flags)},
        _JSON: {"schema": _object("uploads", uploads, flags)},
    }
    if allows_image:
        content["image/*"] = {"schema": _BINARY}
    return {"required": True, "content": content}


def _object(name: str, schema: Mapping[str, object], flags: tuple[str, ...]) -> dict[str, object]:
    properties = {name: schema, **dict.fromkeys(flags, _FLAG)}
    return {"type": "object", "required": [name], "properties": properties, "additionalProperties": False}


async def read_sent_photos(request: Request, max_bytes: int, *, allows_image: bool = False) -> SentPhotos:
    """Return the photos of a request, each of at most `max_bytes`; raises ProblemError (400, 413, 415, 422).

    allows_image: the body may also be the photo itself.
    """
    media_type = _media_type(request)
    if media_type == _FORM:
        return await _read_form(request, max_bytes)
    if media_type == _JSON:
        return _parse_uploads(await request.body())
    if not (allows_image and media_type.startswith("image/")):
        raise ProblemError(415, _EXPECTED + (", or an image as body" if allows_image else ""))
    body = await request.body()
    _check_size(len(body), max_bytes)
    return SentPhotos((body,))


async def load_photos(sent: SentPhotos, store: PhotoStore, max_bytes: int, limit_s: float) -> tuple[bytes, ...]:
    """Return the bytes of the photos; uploads are read from the store.

    Raises ProblemError (413, 422), and OverloadedError if the store takes longer than `limit_s` seconds.
    """
    try:
        async with asyncio.timeout(limit_s):
            loaded = [await run_in_threadpool(_load_upload, store, upload, max_bytes) for upload in sent.uploads]
    except TimeoutError:
        raise OverloadedError(5, "the bucket is slow") from None
    return sent.photos + tuple(loaded)


def content_type_of(photo: bytes) -> str:
    """Return the media type of a photo from its first bytes; what a client declares is not trusted."""
    kind = photo_format(photo)
    return "application/octet-stream" if kind is None else f"image/{kind.lower()}"


def _load_upload(store: PhotoStore, upload: uuid.UUID, max_bytes: int) -> bytes:
    try:
        return store.read(upload_key(upload), lambda n_bytes: _check_size(n_bytes, max_bytes))
    except FileNotFoundError:
        detail = f"there is no uploaded photo {upload}: it was not sent to the bucket, or it was already used"
        raise ProblemError(422, detail, reason="unknown-upload") from None


async def _read_form(request: Request, max_bytes: int) -> SentPhotos:
    try:
        form = request.form(max_files=N_PHOTOS + 1, max_fields=20, max_part_size=_MAX_FIELD_BYTES)
        async with form as data:
            photos = tuple([await _read_file(file, max_bytes) for file in _files(data)])
            return SentPhotos(photos, (), {key: value for key, value in data.items() if isinstance(value, str)})
    except MultiPartException as error:
        raise ProblemError(400, f"the form cannot be read: {error.message}", reason="invalid-form") from error


def _parse_uploads(body: bytes) -> SentPhotos:
    try:
        sent = UploadedPhotos.model_validate_json(body)
    except ValidationError as error:
        parts = [f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors()]
        raise ProblemError(422, "; ".join(parts), reason="invalid-request") from None
    flags = sent.model_dump(exclude={"uploads"})
    return SentPhotos((), tuple(sent.uploads), {name: str(value) for name, value in flags.items()})


def _media_type(request: Request) -> str:
    encoding = request.headers.get("content-encoding", "")
    if encoding.strip().lower() not in _ENCODINGS:
        raise ProblemError(415, f"Content-Encoding {encoding[:50]!r} is not supported: send the photo as it is")
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _files(data: FormData) -> list[UploadFile]:
    found = data.getlist(PHOTO_FIELD)
    files = [item for item in found if isinstance(item, UploadFile)]
    if not 1 <= len(files) <= N_PHOTOS or len(files) < len(found):
        detail = f"expected 1 to {N_PHOTOS} files in the field {PHOTO_FIELD!r}, with file names; found {len(files)}"
        raise ProblemError(422, detail, reason="invalid-request")
    return files


async def _read_file(file: UploadFile, max_bytes: int) -> bytes:
    _check_size(file.size or 0, max_bytes)
    return await file.read()


def _check_size(n_bytes: int, max_bytes: int) -> None:
    if n_bytes > max_bytes:
        detail = f"a photo of {n_bytes / 1e6:,.1f} MB is over the limit of {max_bytes / 1e6:,.0f} MB"
        raise ProblemError(413, detail, reason="too-large")
