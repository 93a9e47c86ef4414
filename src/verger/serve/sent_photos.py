"""The photos of a request: files of a multipart form, or the body itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException

from verger.kernel.decode import photo_format
from verger.serve.problems import ProblemError
from verger.serve.settings import N_PHOTOS

PHOTO_FIELD = "photo"
_FORM_TYPE = "multipart/form-data"
_MAX_FIELD_BYTES = 10_000
_ENCODINGS = ("", "identity")

# The request body in the OpenAPI document.
_BINARY = {"type": "string", "format": "binary"}


@dataclass(frozen=True)
class Upload:
    """The photos of a request, and the other fields of its form."""

    photos: tuple[bytes, ...]
    fields: dict[str, str] = field(default_factory=dict)


def body_schema(**fields: Mapping[str, object]) -> dict[str, object]:
    """Return the OpenAPI description of a form with photos and other fields."""
    photos = {"type": "array", "items": _BINARY, "minItems": 1, "maxItems": N_PHOTOS}
    form = {"type": "object", "required": [PHOTO_FIELD], "properties": {PHOTO_FIELD: photos, **fields}}
    return {"required": True, "content": {_FORM_TYPE: {"schema": form}}}


def body_schema_of_photo() -> dict[str, object]:
    """Return the OpenAPI description of a form with photos, or a photo as the body."""
    schema = body_schema()
    content = schema["content"]
    assert isinstance(content, dict)
    return {"required": True, "content": content | {"image/*": {"schema": _BINARY}}}


async def read_form(request: Request, max_bytes: int) -> Upload:
    """Return the photos and fields of a multipart form; raises ProblemError (400, 413, 415, 422)."""
    if _media_type(request) != _FORM_TYPE:
        raise ProblemError(415, f"expected a form ({_FORM_TYPE}) with 1 to {N_PHOTOS} files {PHOTO_FIELD!r}")
    try:
        form = request.form(max_files=N_PHOTOS + 1, max_fields=20, max_part_size=_MAX_FIELD_BYTES)
        async with form as data:
            photos = tuple([await _read_file(file, max_bytes) for file in _files(data)])
            return Upload(photos, {key: value for key, value in data.items() if isinstance(value, str)})
    except MultiPartException as error:
        raise ProblemError(400, f"the form cannot be read: {error.message}", reason="invalid-form") from error


async def read_photos(request: Request, max_bytes: int) -> Upload:
    """Return the photos of a form, or the photo that is the request's body; raises ProblemError."""
    media_type = _media_type(request)
    if media_type == _FORM_TYPE:
        return await read_form(request, max_bytes)
    if not media_type.startswith("image/"):
        raise ProblemError(
            415, f"expected a form ({_FORM_TYPE}) with 1 to {N_PHOTOS} files {PHOTO_FIELD!r}, or an image as body"
        )
    body = await request.body()
    _check_size(len(body), max_bytes)
    return Upload((body,))


def content_type_of(photo: bytes) -> str:
    """Return the media type of a photo from its first bytes; what a client declares is not trusted."""
    kind = photo_format(photo)
    return "application/octet-stream" if kind is None else f"image/{kind.lower()}"


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
