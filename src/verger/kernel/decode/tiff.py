"""The TIFF reader: Pillow's, extended by the values of black and white, which Pillow ignores."""

from __future__ import annotations

from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COMPRESSION,
    EXTRASAMPLES,
    PHOTOMETRIC_INTERPRETATION,
    SAMPLEFORMAT,
    SAMPLESPERPIXEL,
    TiffImageFile,
)

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
# CCITT's codes for fax, in which white is zero unless the file says otherwise.
_FAX = (2, 3, 4, 32771)
_UNSIGNED = (1,)
_ALPHA = ((1,), (2,))  # premultiplied; not premultiplied


class TiffReader(TiffImageFile):
    """Reads a TIFF.

    black, white: the pixel values of black and white, if pixels are unsigned and have 12 or 16 bits. Pillow reads
    12 bits as 0 to 4095, and inverts only pixels of up to 8 bits in which white is zero.
    """

    black, white = 0, 0xFFFF

    def _setup(self) -> None:
        tags = self.tag_v2
        if PHOTOMETRIC_INTERPRETATION not in tags:
            tags[PHOTOMETRIC_INTERPRETATION] = self._usual_interpretation()
        (depth, *_) = tags.get(BITSPERSAMPLE, (1,))
        if depth in (12, 16) and tags.get(SAMPLEFORMAT, _UNSIGNED) == _UNSIGNED:
            self.black, self.white = 0, (1 << depth) - 1
            if tags[PHOTOMETRIC_INTERPRETATION] == _WHITE_IS_ZERO:
                self.black, self.white = self.white, self.black
                # Pillow cannot open all files in which white is zero.
                tags[PHOTOMETRIC_INTERPRETATION] = _BLACK_IS_ZERO
        super()._setup()

    def _usual_interpretation(self) -> int:
        """Return the photometric interpretation that libtiff assumes if the file lacks this required tag."""
        if self.tag_v2.get(SAMPLESPERPIXEL, 1) >= 3:
            return _RGB
        return _WHITE_IS_ZERO if self.tag_v2.get(COMPRESSION, 1) in _FAX else _BLACK_IS_ZERO

    @property
    def has_declared_alpha(self) -> bool:
        """Whether the file declares that its fourth channel is alpha, not only that there is a fourth channel."""
        return self.tag_v2.get(EXTRASAMPLES, ())[:1] in _ALPHA
