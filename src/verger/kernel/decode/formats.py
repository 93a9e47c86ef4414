"""The supported image formats, recognised by their first bytes."""

from __future__ import annotations

import re

from PIL import ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

Reader = type[ImageFile.ImageFile]


class _JpegFile(JpegImageFile):
    """JPEG reader that ignores the resolution in EXIF, which is not needed and makes the reader fail if broken."""

    def _read_dpi_from_exif(self) -> None:
        pass


# Only formats that cameras and apps write; EPS is excluded because reading it starts another program. MPO is a JPEG
# with further pictures behind the first. The readers are called directly, because Image.open hides why a reader
# failed.
READERS: dict[str, Reader] = {
    "JPEG": _JpegFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "GIF": GifImageFile,
    "TIFF": TiffImageFile,
    "BMP": BmpImageFile,
}
# Many text files also start with "BM", so the size of the header is checked too.
_FIRST_BYTES = re.compile(
    rb"(?P<JPEG>\xff\xd8\xff)|(?P<PNG>\x89PNG\r\n\x1a\n)|(?P<WEBP>RIFF....WEBP)|(?P<GIF>GIF8[79]a)"
    rb"|(?P<TIFF>II[*+]\0|MM\0[*+])|(?P<BMP>BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0)",
    re.DOTALL,
)


def photo_format(data: bytes) -> str | None:
    """Return the format according to the first bytes (JPEG, PNG, WEBP, GIF, TIFF or BMP), None for other data."""
    match = _FIRST_BYTES.match(data)
    return None if match is None else match.lastgroup
