"""Why a photo that failed did not decode."""

from __future__ import annotations

import contextlib
import io

from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import STRIPBYTECOUNTS, STRIPOFFSETS, TILEBYTECOUNTS, TILEOFFSETS, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from verger.errors import Reason
from verger.kernel.decode.formats import Reader

_UNSUPPORTED = ("cannot handle", "unknown pixel mode", "unsupported")


def reason_of(error: Exception, data: bytes, reader: Reader) -> Reason:
    """Return unsupported, truncated or corrupt."""
    message = str(error).lower()
    if any(phrase in message for phrase in _UNSUPPORTED):
        return Reason.UNSUPPORTED
    is_cut_off = (isinstance(error, OSError) and "truncated" in message) or _is_cut_off(data, reader)
    return Reason.TRUNCATED if is_cut_off else Reason.CORRUPT


class _WatchedBytes(io.BytesIO):
    """Bytes that remember whether a reader asked for more than there were."""

    ran_out = False

    def read(self, size: int | None = -1, /) -> bytes:
        given = super().read(size)
        self.ran_out |= size is not None and len(given) < size
        return given


def _is_cut_off(data: bytes, reader: Reader) -> bool:
    """Tell whether a photo that failed ends too early: most readers do not say, so read again and watch."""
    if reader is WebPImageFile:  # reads all at once, but the second word is the length of what follows
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    source = _WatchedBytes(data)
    with contextlib.suppress(Exception):
        image = reader(source)
        if isinstance(image, PngImageFile):
            image.load()
        if isinstance(image, TiffImageFile):  # libtiff gets all at once, but tags say where strips end
            tags = image.tag_v2
            starts = tags.get(STRIPOFFSETS) or tags[TILEOFFSETS]
            lengths = tags.get(STRIPBYTECOUNTS) or tags[TILEBYTECOUNTS]
            source.ran_out |= any(sum(strip) > len(data) for strip in zip(starts, lengths, strict=False))
    return source.ran_out
