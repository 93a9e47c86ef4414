"""Build a wheel of the verger that is running (installed or in a checkout), without build tools and a network."""

from __future__ import annotations

import io
from base64 import urlsafe_b64encode
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from verger.errors import SetupError

# Files that nodes do not need: only `verger cloud` on the user's machine uses them.
_EXCLUDED = ("infra", "cloud/deploy/locks", "cloud/deploy/verger.ipynb")
_WHEEL_METADATA = "Wheel-Version: 1.0\nGenerator: verger\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def own_wheel() -> tuple[str, bytes]:
    """Return the wheel's file name and content; the same code always gives the same bytes.

    Raises SetupError if verger is not installed.
    """
    try:
        installed = distribution("verger")
    except PackageNotFoundError as error:
        raise SetupError("verger is not installed: install it with pip or with `make setup`") from error
    stem = f"verger-{installed.version}"
    files = {f"verger/{name}": data for name, data in _code().items()}
    for name in ("METADATA", "entry_points.txt"):
        files[f"{stem}.dist-info/{name}"] = (installed.read_text(name) or "").encode()
    files[f"{stem}.dist-info/WHEEL"] = _WHEEL_METADATA.encode()
    record = f"{stem}.dist-info/RECORD"
    files[record] = "".join([*(_record_line(name, data) for name, data in files.items()), f"{record},,\n"]).encode()
    return f"{stem}-py3-none-any.whl", _zipped(files)


def _code() -> dict[str, bytes]:
    root = Path(__file__).parents[2]
    files = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if path.is_file()}
    return {
        name: path.read_bytes()
        for name, path in files.items()
        if path.suffix != ".pyc" and not name.startswith(_EXCLUDED)
    }


def _record_line(name: str, data: bytes) -> str:
    """Return a file's line in RECORD."""
    digest = urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"


def _zipped(files: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with ZipFile(sink, "w", ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = ZipInfo(name)  # its date is always 1980
            entry.compress_type = ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return sink.getvalue()
