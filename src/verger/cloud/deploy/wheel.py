"""A wheel of the verger that runs here, be it a checkout or installed: no build tool is needed, nor a network."""

from __future__ import annotations

import io
from base64 import urlsafe_b64encode
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from verger.errors import SetupError

# What an installed verger has beside its code for `verger cloud`: no node has a use for it.
_LEFT_OUT = ("infra", "cloud/deploy/locks", "cloud/deploy/verger.ipynb")
_ORIGIN = "Wheel-Version: 1.0\nGenerator: verger\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def own_wheel() -> tuple[str, bytes]:
    """Return a wheel's file name and content; the same code gives the same bytes. Raises SetupError."""
    try:
        installed = distribution("verger")
    except PackageNotFoundError as error:
        raise SetupError("verger runs here without being installed: pip install it, or make setup") from error
    stem = f"verger-{installed.version}"
    files = {f"verger/{name}": data for name, data in _code().items()}
    for name in ("METADATA", "entry_points.txt"):
        files[f"{stem}.dist-info/{name}"] = (installed.read_text(name) or "").encode()
    files[f"{stem}.dist-info/WHEEL"] = _ORIGIN.encode()
    record = f"{stem}.dist-info/RECORD"
    files[record] = "".join([*(_line(name, data) for name, data in files.items()), f"{record},,\n"]).encode()
    return f"{stem}-py3-none-any.whl", _zipped(files)


def _code() -> dict[str, bytes]:
    root = Path(__file__).parents[2]
    found = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if path.is_file()}
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if path.suffix != ".pyc" and not name.startswith(_LEFT_OUT)
    }


def _line(name: str, data: bytes) -> str:
    """Return a file's line in RECORD."""
    digest = urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"


def _zipped(files: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with ZipFile(sink, "w", ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = ZipInfo(name)  # dated 1980, always
            entry.compress_type = ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return sink.getvalue()
