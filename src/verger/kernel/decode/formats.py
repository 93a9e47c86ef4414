"""The supported image formats, recognised by their first bytes."""

from __future__ import annotations

import re

from PIL import AvifImagePlugin, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from verger import photo_names
from verger.errors import DecodeError, Reason
from verger.kernel.decode.heic import HeicReader
from verger.kernel.decode.tiff import TiffReader

Reader = type[ImageFile.ImageFile]

# By default Pillow decodes an AVIF in one thread per core, but the workers already use all cores.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


class _JpegFile(JpegImageFile):
    """JPEG reader that ignores EXIF's resolution, which verger does not need: a broken value would be an error."""

    def _read_dpi_from_exif(self) -> None:
        pass


# Only formats that cameras and apps write. EPS is excluded because reading it starts another program. An MPO is a
# JPEG with further pictures after the first, and is read as a JPEG. The readers are called directly, because
# Image.open hides why a reader failed.
READERS: dict[str, Reader] = {
    "JPEG": _JpegFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "GIF": GifImageFile,
    "TIFF": TiffReader,
    "BMP": BmpImageFile,
    "AVIF": AvifImageFile,
    "HEIF": HeicReader,
}
# Many text files also start with "BM", so the size of the header is checked too. AVIF and HEIF files begin with the
# length of the first box and a brand; the brands mif1 and msf1 are followed by the list of other brands.
_FIRST_BYTES = re.compile(
    rb"(?P<JPEG>\xff\xd8\xff)|(?P<PNG>\x89PNG\r\n\x1a\n)|(?P<WEBP>RIFF....WEBP)|(?P<GIF>GIF8[79]a)"
    rb"|(?P<TIFF>II[*+]\0|MM\0[*+])|(?P<BMP>BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0)"
    rb"|(?P<AVIF>....ftyp(?:avi[fs]|m[is]f1.{4}(?:.{4}){0,30}?avi[fs]))"
    rb"|(?P<HEIF>....ftyp(?:he[iv][cmsx]|m[is]f1))",
    re.DOTALL,
)


def photo_format(data: bytes) -> str | None:
    """Return the format according to the first bytes (a key of READERS), None for other data."""
    match = _FIRST_BYTES.match(data)
    return None if match is None else match.lastgroup


def reader_of(kind: str) -> Reader:
    """Return Pillow's reader of a format; raises DecodeError if a package for it is not installed."""
    if kind == "HEIF" and not photo_names.HAS_HEIC:
        raise DecodeError(Reason.UNSUPPORTED, photo_names.HEIC_MISSING)
    return READERS[kind]
