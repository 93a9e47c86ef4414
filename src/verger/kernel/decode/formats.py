"""The formats that cameras and apps write, told by their first bytes."""

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
    """Looks for no resolution in EXIF: nobody asks for it, and where it is broken the picture is lost."""

    def _read_dpi_from_exif(self) -> None:
        pass


# Only what a camera or an app writes: formats that run other programs (EPS) stay shut. MPO is JPEG with more
# pictures behind the first. Called directly, as Image.open forgets why a reader refused the file.
READERS: dict[str, Reader] = {
    "JPEG": _JpegFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "GIF": GifImageFile,
    "TIFF": TiffImageFile,
    "BMP": BmpImageFile,
}
# "BM" alone begins too many words: the size of the header after it tells a bitmap.
_FIRST_BYTES = re.compile(
    rb"(?P<JPEG>\xff\xd8\xff)|(?P<PNG>\x89PNG\r\n\x1a\n)|(?P<WEBP>RIFF....WEBP)|(?P<GIF>GIF8[79]a)"
    rb"|(?P<TIFF>II[*+]\0|MM\0[*+])|(?P<BMP>BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0)",
    re.DOTALL,
)


def photo_format(data: bytes) -> str | None:
    """Return JPEG, PNG, WEBP, GIF, TIFF or BMP by the first bytes, None for anything else."""
    found = _FIRST_BYTES.match(data)
    return None if found is None else found.lastgroup
