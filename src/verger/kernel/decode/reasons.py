"""Reasons of failed decoding: unsupported, truncated or corrupt."""

from __future__ import annotations

import contextlib
import io

from PIL.AvifImagePlugin import AvifImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import STRIPBYTECOUNTS, STRIPOFFSETS, TILEBYTECOUNTS, TILEOFFSETS, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from verger.errors import Reason
from verger.kernel.decode.formats import Reader
from verger.kernel.decode.limits import iso_boxes

_UNSUPPORTED = ("cannot handle", "unknown pixel mode", "unsupported", "not installed")


def failure_reason(error: Exception, data: bytes, reader: Reader) -> Reason:
    """Return the reason why decoding failed: unsupported, truncated or corrupt."""
    message = str(error).lower()
    if any(phrase in message for phrase in _UNSUPPORTED):
        return Reason.UNSUPPORTED
    is_cut_off = (isinstance(error, OSError) and "truncated" in message) or _is_cut_off(data, reader)
    return Reason.TRUNCATED if is_cut_off else Reason.CORRUPT


class _WatchedBytes(io.BytesIO):
    """In-memory file that records whether a reader requested bytes beyond the end."""

    ran_out = False

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        self.ran_out |= size is not None and len(content) < size
        return content


def _is_cut_off(data: bytes, reader: Reader) -> bool:
    """Return whether the file ends too early. Most readers do not report this, so read again with _WatchedBytes."""
    if reader is WebPImageFile:  # reads everything at once, but bytes 4 to 8 hold the length of the rest
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    if reader is AvifImageFile or reader.format == "HEIF":
        return _lacks_boxes(data)
    source = _WatchedBytes(data)
    with contextlib.suppress(Exception):
        image = reader(source)
        if isinstance(image, PngImageFile):
            image.load()
        # libtiff reads everything at once, but the tags say where the strips end.
        if isinstance(image, TiffImageFile):
            tags = image.tag_v2
            starts = tags.get(STRIPOFFSETS) or tags[TILEOFFSETS]
            lengths = tags.get(STRIPBYTECOUNTS) or tags[TILEBYTECOUNTS]
            source.ran_out |= any(sum(strip) > len(data) for strip in zip(starts, lengths, strict=False))
    return source.ran_out


def _lacks_boxes(data: bytes) -> bool:
    """Return whether an AVIF or HEIC ends before the end of its last box, or before the box of its pixels."""
    boxes = {kind: end for kind, _, end in iso_boxes(data)}
    return b"mdat" not in boxes or max(boxes.values()) > len(data)
