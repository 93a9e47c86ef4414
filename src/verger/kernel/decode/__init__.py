"""Image decoding with Pillow, from the bytes of a photo to upright 8-bit RGB.

This package adds to Pillow:

- Photos are turned upright by their EXIF orientation. Transparency is blended onto white, and 16 bits are scaled to
  8 (`pixels`).
- The number of pixels is checked before memory is allocated. The work that a small file can cause is limited
  (`limits`).
- Files with damage outside their pixels are repaired (`repair`).
- Every failure is a DecodeError with a reason (`reasons`).

Only the first frame of an animation is decoded. Colour profiles are not applied, because the ImageNet networks were
trained without them.

Importing this package silences the warnings of Pillow's modules: a photo is either decoded or causes a DecodeError.
The import also makes Pillow keep 64 MB of memory between pictures, unless the environment variable
PILLOW_BLOCKS_MAX is set.
"""

from verger.kernel.decode.formats import photo_format
from verger.kernel.decode.image import RGB, Decoded, decode_image, decode_rgb, read_orientation
from verger.kernel.decode.limits import DEFAULT_MAX_PIXELS, check_file_size, max_file_bytes

# Part of the fingerprint of features, so that `--resume` does not mix the pixels of two versions. Increase it with
# every change after which a photo has other pixels, or is read although it was rejected before (or the reverse).
DECODER_VERSION = 2

__all__ = [
    "DECODER_VERSION",
    "DEFAULT_MAX_PIXELS",
    "RGB",
    "Decoded",
    "check_file_size",
    "decode_image",
    "decode_rgb",
    "max_file_bytes",
    "photo_format",
    "read_orientation",
]
