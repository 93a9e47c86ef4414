"""Random augmentation of a photo with Pillow: crop, mirror, brightness, contrast and colours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from verger.kernel.decode import RGB

SMALLEST = 0.6  # the default minimum share of a photo's area in a crop
_ASPECT = (0.8, 1.25)
_GAIN, _CONTRAST, _SATURATION, _CAST = 0.2, 0.2, 0.2, 0.05  # each factor differs from 1 by at most this number
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def augment(pixels: RGB, size_px: int, rng: np.random.Generator, smallest: float = SMALLEST) -> RGB:
    """Return a random (size_px, size_px, 3) view of a photo; the same state of `rng` gives the same view.

    smallest: the minimum share of the photo's area in the view.
    """
    image = Image.fromarray(pixels)
    view = image.resize((size_px, size_px), Image.Resampling.BICUBIC, box=_draw_box(image.size, smallest, rng))
    if rng.random() < 0.5:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(view.convert("RGB", _draw_light(rng)))


def _draw_box(
    size_px: tuple[int, int], smallest: float, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    area, aspect = rng.uniform(smallest, 1.0), np.exp(rng.uniform(*np.log(_ASPECT)))
    width, height = np.minimum(1, [np.sqrt(area * aspect), np.sqrt(area / aspect)]) * size_px
    left, top = rng.uniform(0, size_px[0] - width), rng.uniform(0, size_px[1] - height)
    return left, top, left + width, top + height


def _draw_light(rng: np.random.Generator) -> tuple[float, ...]:
    """Return random brightness, contrast, saturation and colour cast as one 3 x 4 matrix for (r, g, b, 1)."""
    gain, contrast, saturation = (1 + rng.uniform(-most, most) for most in (_GAIN, _CONTRAST, _SATURATION))
    cast = 1 + rng.uniform(-_CAST, _CAST, 3)
    colours: npt.NDArray[np.float64] = saturation * np.eye(3) + (1 - saturation) * _LUMA
    matrix = contrast * gain * cast[:, None] * colours
    middle = np.full((3, 1), 128 * (1 - contrast))
    return tuple(np.hstack([matrix, middle]).ravel().tolist())
