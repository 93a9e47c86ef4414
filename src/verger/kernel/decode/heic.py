"""The HEIC reader: the pixels of libheif, from the C module of pi-heif.

pi-heif's own reader also reads metadata, which verger does not need, and damaged metadata crash it (version 1.4.0).
libheif returns upright pixels: HEIC has its own property for the orientation, and the EXIF orientation is ignored.
"""

from __future__ import annotations

from importlib import metadata
from typing import Any

from PIL import ImageFile

from verger.errors import SetupError

_ONE_THREAD = 1
_TO_8_BIT, _TO_16_BIT = True, True
_AS_BGR = _WITHOUT_STRIDE = _WITHOUT_LIMITS = False
_ANY_DECODER = ""


class HeicReader(ImageFile.ImageFile):
    """Reads the primary picture of a HEIC. Needs pi-heif; raises SetupError if its version does not fit."""

    format = "HEIF"
    format_description = "HEIC photo"

    _primary: Any

    def _open(self) -> None:
        import _pi_heif  # of the extra verger[heic]

        assert self.fp is not None
        options = (_ONE_THREAD, _TO_8_BIT, _AS_BGR, _WITHOUT_STRIDE, _TO_16_BIT, _ANY_DECODER, _WITHOUT_LIMITS)
        try:
            found = _pi_heif.load_file(self.fp.read(), *options)
        except (AttributeError, TypeError) as error:  # a function without documentation, which may change
            raise SetupError(
                f"pi-heif {metadata.version('pi-heif')} does not fit verger, so HEIC photos cannot be read "
                f"({type(error).__name__}: {error}): pip install 'pi-heif>=1.0,<2'"
            ) from error
        pictures = [picture for picture in found if picture is not None]
        self._primary = next((picture for picture in pictures if picture.primary), pictures[0])
        self._size, self._mode = self._primary.size_mode
        profile = self._primary.color_profile
        if profile and profile["type"] in ("rICC", "prof"):
            self.info["icc_profile"] = profile["data"]

    def load(self) -> Any:
        """Decode the picture when it is first needed."""
        if self._primary is not None:
            primary, self._primary = self._primary, None
            data = primary.data
            self._size, _ = primary.size_mode
            self.load_prepare()
            self.frombytes(data, "raw", (self.mode, primary.stride))
        return super().load()
