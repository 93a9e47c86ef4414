"""TIFF without its metadata, in place: the directory says where everything lies, so nothing may move.

Only the first page is ever decoded. What its picture needs stays where it is: the header, the directory with the
entries that decoders know, what these point to, and the pixels. All the rest is overwritten, or cut off at the end:
other directories and pages, previews, gaps. Source: TIFF 6.0; BigTIFF is the same, wider.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from verger.errors import DecodeError, Reason
from verger.kernel.decode import read_orientation

# What says how pixels are laid out, compressed and meant: baseline, tiles, JPEG, YCbCr, colour profile, LERC.
_KEPT = {
    *(254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 280, 281, 282, 283, 284, 292, 293, 296),
    *(301, 317, 318, 319, 320, 322, 323, 324, 325, 332, 334, 336, 338, 339, 340, 341, 342, 347),
    *(529, 530, 531, 532, 559, 34675, 50674),
}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _SAMPLES, _ROWS, _PLANES = 256, 257, 258, 259, 277, 278, 284
_TILE_WIDTH, _TILE_HEIGHT, _ORIENTATION, _JPEG_TABLES, _OLD_JPEG_TABLES = 322, 323, 274, 347, (519, 520, 521)
_STRIPS, _TILES, _OLD_JPEG_STREAM = (273, 279), (324, 325), (513, 514)  # places, and how many bytes
_OLD_JPEG_KEPT = set(range(512, 522))  # without that compression they are of a thumbnail
_UNCOMPRESSED, _OLD_JPEG, _JPEG, _LOSSY_DNG = 1, 6, 7, 34892
_BYTES_OF_TYPE = dict(enumerate((1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4), 1)) | {16: 8, 17: 8, 18: 8}
_SHORT = 3

Range = tuple[int, int]  # of bytes: the first, and the first behind


def strip_tiff(data: bytes, max_pixels: int, blank_jpeg: Callable[[bytes], bytes]) -> bytes:
    """Return a TIFF of the first page without its metadata; `data` itself where there is nothing else in it.

    `blank_jpeg` takes the notes out of a JPEG of which no byte may move. As a broken file may hide its pixels
    anywhere, they are to be compared. Raises DecodeError.
    """
    tiff = _Tiff(data)
    kept = _KEPT | _OLD_JPEG_KEPT if tiff.compression == _OLD_JPEG else _KEPT
    entries = [entry for entry in tiff.entries if entry.tag in kept]
    pictures = list(tiff.pictures())
    ranges = [(0, 2 * tiff.width), tiff.directory, *(entry.values for entry in entries), *pictures]
    content = blank_all_but(data, ranges)
    wholes = [entry.whole for entry in entries]
    if _ORIENTATION not in tiff.told and len(entries) < len(tiff.entries):
        wholes += _told_elsewhere(tiff, max_pixels)
    _write_directory(content, tiff, sorted(wholes, key=tiff.tag))
    if tiff.compression in (_OLD_JPEG, _JPEG, _LOSSY_DNG):
        tables = tiff.told.get(_JPEG_TABLES)
        _blank_jpegs(content, {*pictures, *([tables.values] if tables else [])}, blank_jpeg)
    return cut_behind(data, content, ranges)


def blank_all_but(data: bytes, ranges: Iterable[Range]) -> bytearray:
    """Return as many bytes as `data`, zero wherever no range is."""
    kept, reached = bytearray(len(data)), 0
    for first, end in sorted(ranges):
        start = max(first, reached)
        if start < end:
            kept[start:end] = data[start:end]
            reached = end
    return kept


def cut_behind(data: bytes, changed: bytearray, ranges: Iterable[Range]) -> bytes:
    """Return what was changed up to the end of the last range; `data` itself where it is still the same."""
    return data if changed == data else bytes(changed[: max(end for _, end in ranges)])


def _told_elsewhere(tiff: _Tiff, max_pixels: int) -> list[bytes]:
    """Return an entry for an orientation that only the metadata told."""
    orientation = read_orientation(tiff.content, max_pixels=max_pixels)
    if orientation is None:
        return []
    numbers = ((_ORIENTATION, 2), (_SHORT, 2), (1, tiff.width), (orientation, 2))
    return [b"".join(n.to_bytes(size, tiff.order) for n, size in numbers).ljust(tiff.entry_bytes, b"\0")]


def _write_directory(content: bytearray, tiff: _Tiff, entries: list[bytes]) -> None:
    """Write a directory in the room of the old one, as the last of its file."""
    start, end = tiff.directory
    directory = len(entries).to_bytes(tiff.count_bytes, tiff.order) + b"".join(entries)
    content[start:end] = directory.ljust(end - start, b"\0")[: len(content) - start]


def _blank_jpegs(content: bytearray, ranges: set[Range], blank_jpeg: Callable[[bytes], bytes]) -> None:
    """Take the notes out of strips and tiles that are whole JPEGs."""
    if sum(max(0, min(end, len(content)) - start) for start, end in ranges) > 2 * len(content):
        raise DecodeError(Reason.CORRUPT, "the TIFF's strips or tiles cover it repeatedly")
    for start, end in sorted(ranges):
        if content.startswith(b"\xff\xd8", start):
            content[start:end] = blank_jpeg(bytes(content[start:end]))


@dataclass(frozen=True)
class _Entry:
    """A tag: its bytes in the directory, where its values are, and of how many bytes each is."""

    tag: int
    whole: bytes
    values: Range
    n_bytes: int


@dataclass
class _Tiff:
    """The first directory of a TIFF; `width` is that of an offset: 4 bytes, or 8 in BigTIFF.

    `told` has the entry for each tag that decoders go by: the first. Raises DecodeError where the file ends first.
    """

    content: bytes
    entries: list[_Entry] = field(init=False)

    def __post_init__(self) -> None:
        self.order: Literal["little", "big"] = "little" if self.content.startswith(b"II") else "big"
        self.width = 8 if b"+" in self.content[2:4] else 4
        self.count_bytes, self.entry_bytes = (8, 20) if self.width == 8 else (2, 12)
        at = self._number(self.width, self.width)
        first = at + self.count_bytes
        end = first + self._number(at, self.count_bytes) * self.entry_bytes
        if end > len(self.content):
            raise DecodeError(Reason.TRUNCATED, "the TIFF ends before its directory does")
        self.directory = at, end + self.width
        self.entries = [self._entry(i) for i in range(first, end, self.entry_bytes)]
        self.told = {entry.tag: entry for entry in reversed(self.entries)}
        self.compression = self._first(_COMPRESSION, _UNCOMPRESSED)

    def tag(self, entry: bytes) -> int:
        return int.from_bytes(entry[:2], self.order)

    def pictures(self) -> Iterator[Range]:
        """Yield where strips, tiles and the older kind of JPEG are."""
        if self.compression == _UNCOMPRESSED:
            yield from self._uncompressed()
            return
        for places, sizes in (_STRIPS, _TILES, *([_OLD_JPEG_STREAM] if self.compression == _OLD_JPEG else [])):
            for at, n_bytes in zip(self._numbers(places), self._numbers(sizes), strict=False):
                yield at, at + n_bytes
        if self.compression == _OLD_JPEG:
            for tag in _OLD_JPEG_TABLES:
                for at in self._numbers(tag):
                    is_quantization = tag == _OLD_JPEG_TABLES[0]
                    yield at, at + (64 if is_quantization else 16 + sum(self.content[at : at + 16]))

    def _uncompressed(self) -> Iterator[Range]:
        """Yield strips and tiles by the size of their pixels: decoders ask for no other, some files tell none."""
        height = self._first(_HEIGHT, 0)
        rows, row_bytes = max(1, self._first(_ROWS, height)), self._row_bytes(_WIDTH)
        strips_of_plane = max(1, -(-height // rows))
        for i, at in enumerate(self._numbers(_STRIPS[0])):
            yield at, at + row_bytes * min(rows, height - rows * (i % strips_of_plane))
        tile_bytes = self._row_bytes(_TILE_WIDTH) * self._first(_TILE_HEIGHT, 0)
        for at in self._numbers(_TILES[0]):
            yield at, at + tile_bytes

    def _row_bytes(self, width: int) -> int:
        samples = 1 if self._first(_PLANES, 1) == 2 else self._first(_SAMPLES, 1)
        return (self._first(width, 0) * samples * max(self._numbers(_BITS), default=1) + 7) // 8

    def _first(self, tag: int, default: int) -> int:
        return next(iter(self._numbers(tag)), default)

    def _numbers(self, tag: int) -> list[int]:
        entry = self.told.get(tag)
        if entry is None:
            return []
        start, end = entry.values[0], min(entry.values[1], len(self.content))
        kind = f"{'<' if self.order == 'little' else '>'}u{entry.n_bytes}"
        count = max(0, end - start) // entry.n_bytes
        return np.frombuffer(self.content, kind, count, start).tolist() if count else []

    def _entry(self, at: int) -> _Entry:
        kind, count = self._number(at + 2, 2), self._number(at + 4, self.width)
        n_bytes, value = _BYTES_OF_TYPE.get(kind, 1), at + 4 + self.width
        start = value if n_bytes * count <= self.width else self._number(value, self.width)
        return _Entry(
            self._number(at, 2), self.content[at : at + self.entry_bytes], (start, start + n_bytes * count), n_bytes
        )

    def _number(self, at: int, n_bytes: int) -> int:
        if at + n_bytes > len(self.content):
            raise DecodeError(Reason.TRUNCATED, "the TIFF ends before its directory does")
        return int.from_bytes(self.content[at : at + n_bytes], self.order)
