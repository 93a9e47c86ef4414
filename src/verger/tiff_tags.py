"""TIFF without its metadata, in place: the directories say where everything lies, so nothing may move.

Entries that decoders do not need are taken out of the directories, and what they point to is overwritten. As a
broken file may have them point anywhere, the pixels are compared. Source: TIFF 6.0; BigTIFF is the same, wider.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from verger.decode import decode_rgb
from verger.errors import DecodeError, Reason

# What says how pixels are laid out, compressed and meant: baseline, tiles, JPEG, YCbCr, colour profile, LERC.
_KEPT = {
    *(254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 280, 281, 282, 283, 284, 292, 293, 296),
    *(301, 317, 318, 319, 320, 322, 323, 324, 325, 332, 334, 336, 338, 339, 340, 341, 342, 347),
    *range(512, 522),
    *(529, 530, 531, 532, 559, 34675, 50674),
}
# Entries that hold places of further directories: pages below this one, EXIF, GPS, interoperability.
_DIRECTORIES = (330, 34665, 34853, 40965)
_BYTES_OF_TYPE = dict(enumerate((1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4), 1)) | {16: 8, 17: 8, 18: 8}
_MAX_DIRECTORIES = 1000


def strip_tiff(data: bytes, max_pixels: int) -> bytes:
    """Return a TIFF without its metadata; `data` itself where there is none. Raises DecodeError."""
    tiff = _Tiff(bytearray(data))
    at = tiff.number(tiff.width, tiff.width)
    while at:
        at = tiff.strip_directory(at, _KEPT)
    if tiff.content == data:
        return data
    stripped = bytes(tiff.content)
    before, after = (decode_rgb(content, max_pixels=max_pixels) for content in (data, stripped))
    if not np.array_equal(before, after):
        raise DecodeError(Reason.CORRUPT, "the TIFF's metadata cannot be told from its pixels")
    return stripped


@dataclass
class _Tiff:
    """The bytes of a TIFF, changed in place; `width` is that of an offset: 4 bytes, or 8 in BigTIFF."""

    content: bytearray
    seen: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.order: Literal["little", "big"] = "little" if self.content.startswith(b"II") else "big"
        self.width = 8 if b"+" in self.content[2:4] else 4
        self.count_bytes, self.entry_bytes = (8, 20) if self.width == 8 else (2, 12)

    def number(self, at: int, n_bytes: int) -> int:
        """Read a whole number; raises DecodeError beyond the end."""
        if at + n_bytes > len(self.content):
            raise DecodeError(Reason.TRUNCATED, "the TIFF ends before its directories do")
        return int.from_bytes(self.content[at : at + n_bytes], self.order)

    def strip_directory(self, at: int, kept: set[int]) -> int:
        """Take out of a directory all entries but those kept; return where the next one is."""
        if at in self.seen or len(self.seen) >= _MAX_DIRECTORIES:
            return 0
        self.seen.add(at)
        n_entries, first = self.number(at, self.count_bytes), at + self.count_bytes
        end = first + n_entries * self.entry_bytes
        following = self.number(end, self.width)
        entries = [self.content[i : i + self.entry_bytes] for i in range(first, end, self.entry_bytes)]
        tags = [self.number(i, 2) for i in range(first, end, self.entry_bytes)]
        for tag, start in zip(tags, range(first, end, self.entry_bytes), strict=True):
            if tag not in kept:
                self._blank(tag, start)
        remaining = b"".join(entry for tag, entry in zip(tags, entries, strict=True) if tag in kept)
        if len(remaining) < end - first:
            n_kept = len(remaining) // self.entry_bytes
            self._write(at, n_kept.to_bytes(self.count_bytes, self.order))
            whole = remaining + following.to_bytes(self.width, self.order)
            self._write(first, whole.ljust(end - first + self.width, b"\0"))
        return following

    def _blank(self, tag: int, entry: int) -> None:
        """Overwrite what an entry points to; the directory entry itself is its owner's."""
        kind, count = self.number(entry + 2, 2), self.number(entry + 4, self.width)
        n_bytes, value = _BYTES_OF_TYPE.get(kind, 1) * count, entry + 4 + self.width
        at = value if n_bytes <= self.width else self.number(value, self.width)
        n_bytes = max(0, min(n_bytes, len(self.content) - at))
        if tag in _DIRECTORIES:
            size = _BYTES_OF_TYPE.get(kind, 1)
            for i in range(min(n_bytes // size, _MAX_DIRECTORIES)):
                self.strip_directory(self.number(at + i * size, size), set())
        if n_bytes:
            self._write(at, bytes(n_bytes))

    def _write(self, at: int, what: bytes) -> None:
        self.content[at : at + len(what)] = what
