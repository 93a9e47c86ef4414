"""Decode image bytes into RGB arrays, as a careful photo library does.

Pillow decodes; this package adds what photos in the wild need: upright by EXIF, alpha onto white, 16-bit
scaled to 8 (`pixels`), the first frame of animations, a limit on pixels checked before they are allocated, limits
on what a small file can make the decoder do (`limits`), and one error that says why (`reasons`). Colour profiles
are not applied: the ImageNet networks were trained without.

Importing it silences the warnings of Pillow's own modules: a photo either decodes or is a DecodeError. It also lets
Pillow keep 64 MB of memory between pictures, unless the environment variable PILLOW_BLOCKS_MAX is set.
"""

from verger.kernel.decode.formats import photo_format
from verger.kernel.decode.image import RGB, Decoded, decode_image, decode_rgb, read_orientation
from verger.kernel.decode.limits import DEFAULT_MAX_PIXELS, check_file_size, max_file_bytes

__all__ = [
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
