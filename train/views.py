"""Augmented views of fruits on white and of scenes, similar to photos from a user's phone.

All views are `VIEW_PX` square, RGB uint8. Random numbers come only from the generator that a function is given.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

RGB = npt.NDArray[np.uint8]
RGBA = npt.NDArray[np.uint8]
Random = np.random.Generator
Point = npt.NDArray[np.float64]

VIEW_PX = 128
TEACHER_PX = 260
_SHADOW_REACH_PX = 12
_WHITE = 232  # JPEG leaves the white background between this and 255

cv2.setNumThreads(1)


def cut_out(pixels: RGB) -> RGBA:
    """Return a fruit photographed on white, with an alpha channel that is 0 on the white background.

    White that is not connected to the border, such as a highlight, is kept.
    """
    is_white = np.pad((pixels.min(axis=2) > _WHITE).astype(np.uint8), 1, constant_values=1)
    cv2.floodFill(is_white, None, (0, 0), 2)
    alpha = np.where(is_white[1:-1, 1:-1] == 2, 0, 255).astype(np.uint8)
    alpha = cv2.GaussianBlur(cv2.erode(alpha, np.ones((3, 3), np.uint8)), (3, 3), 0)
    return np.dstack([pixels, alpha])


def on_white(pixels: RGB, rng: Random) -> RGB:
    """Return the photo slightly moved, rotated and scaled, on white."""
    side = max(pixels.shape[:2])
    scale = VIEW_PX / side * rng.uniform(0.85, 1.2)
    view = _warp(pixels, scale, rng.normal(0, 6), VIEW_PX / 2 + rng.uniform(-6, 6, 2), (VIEW_PX, VIEW_PX), 255)
    return _retouched(view, rng, strength=0.4)


def on_background(fruit: RGBA, background: RGB, rng: Random) -> RGB:
    """Return one fruit on a background, at any position and angle, 45 to 110 % of the view."""
    view = background.copy()
    scale = VIEW_PX / 100 * rng.uniform(0.45, 1.1)
    _paste(view, fruit, scale, rng.uniform(0, 360), VIEW_PX * rng.uniform(0.3, 0.7, 2), rng)
    return _retouched(view, rng, strength=1.0)


def pile(fruits: Sequence[RGBA], background: RGB, rng: Random) -> RGB:
    """Return a pile of fruits of one kind, as in a crate: on a jittered grid, each over the previous one."""
    view = background.copy()
    size_px = VIEW_PX * rng.uniform(0.22, 0.55)
    positions = np.arange(-0.2, VIEW_PX / size_px + 0.2, 0.7)
    grid = [(x, y) for y in positions for x in positions]
    share = rng.choice([1.0, 1.0, 0.6])
    for at in rng.permutation(len(grid)) if rng.random() < 0.5 else range(len(grid)):
        if rng.random() > share:
            continue
        centre = (np.array(grid[at]) + rng.uniform(-0.15, 0.15, 2)) * size_px
        fruit = fruits[int(rng.integers(len(fruits)))]
        _paste(view, fruit, size_px / 85 * rng.uniform(0.9, 1.1), rng.uniform(0, 360), centre, rng)
    return _retouched(view, rng, strength=1.0)


def scene_crop(pixels: RGB, rng: Random, *, size_px: int, smallest: float) -> RGB:
    """Return a crop of a photo, `smallest` to 100 % of its area, sides up to 4:3, mirrored half the time."""
    return _retouched(_crop(pixels, rng, size_px, smallest), rng, strength=0.7)


def wild_crop(pixels: RGB, rng: Random, *, size_px: int, smallest: float) -> RGB:
    """Return a crop that is rotated, sheared and recoloured.

    With such strong augmentation a student learns as much from few photos as from many (Asano and Saeed 2021,
    arXiv:2112.00725). These views have no label.
    """
    crop = _crop(pixels, rng, size_px, smallest)
    turn_deg, zoom = rng.normal(0, 25), rng.uniform(1.0, 1.6)
    matrix = cv2.getRotationMatrix2D((size_px / 2, size_px / 2), turn_deg, zoom)
    matrix[:, :2] += rng.normal(0, 0.15, (2, 2))
    matrix[:, 2] += size_px / 2 - matrix @ (size_px / 2, size_px / 2, 1)
    warped = cv2.warpAffine(crop, matrix, (size_px, size_px), borderMode=cv2.BORDER_REFLECT_101)
    return _retouched(_recoloured(np.asarray(warped, np.uint8), rng), rng, strength=1.0)


def _crop(pixels: RGB, rng: Random, size_px: int, smallest: float) -> RGB:
    height, width = pixels.shape[:2]
    area = rng.uniform(smallest, 1.0) * height * width
    aspect = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3))) * width / height
    crop_w, crop_h = min(width, int(np.sqrt(area * aspect))), min(height, int(np.sqrt(area / aspect)))
    left, top = rng.integers(width - crop_w + 1), rng.integers(height - crop_h + 1)
    crop = pixels[top : top + crop_h, left : left + crop_w]
    view = np.asarray(cv2.resize(crop, (size_px, size_px), interpolation=cv2.INTER_AREA), np.uint8)
    return view[:, ::-1].copy() if rng.random() < 0.5 else view


def mixed(one: RGB, other: RGB, rng: Random) -> RGB:
    """Return a blend of two views of one size, or one view with a rectangle of the other.

    Mixup (Zhang et al. 2018, arXiv:1710.09412) and CutMix (Yun et al. 2019, arXiv:1905.04899).
    """
    if rng.random() < 0.5:
        share = rng.uniform(0.3, 0.7)
        return np.asarray(cv2.addWeighted(one, share, other, 1 - share, 0), np.uint8)
    size_px = one.shape[0]
    left, top = (rng.uniform(0, 0.6, 2) * size_px).astype(int)
    width, height = (rng.uniform(0.3, 0.8, 2) * size_px).astype(int)
    view = one.copy()
    view[top : top + height, left : left + width] = other[top : top + height, left : left + width]
    return view


def backdrop(rng: Random, photo: RGB | None = None) -> RGB:
    """Return a background: a colour, a gradient, coloured noise, or a blurred crop of `photo` if given."""
    kind = rng.integers(3) if photo is None else 3
    colours = rng.uniform(0, 255, (3, 3)) * 0.7 + rng.uniform(0, 255, (3, 1)) * 0.3
    if kind == 0:
        return np.broadcast_to(colours[0], (VIEW_PX, VIEW_PX, 3)).astype(np.uint8)
    if kind == 1:
        slope = _slope(rng)[..., None]
        return np.asarray(slope * colours[0] + (1 - slope) * colours[1], np.uint8)
    if kind == 2:
        cloud = _cloud(rng)[..., None]
        return np.asarray(np.clip(colours[0] + cloud * (colours[1] - colours[0]), 0, 255), np.uint8)
    assert photo is not None
    crop = wild_crop(photo, rng, size_px=VIEW_PX, smallest=0.05)
    return np.asarray(cv2.GaussianBlur(crop, (0, 0), rng.uniform(1, 8)), np.uint8)


def _slope(rng: Random) -> npt.NDArray[np.float64]:
    turn = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:VIEW_PX, 0:VIEW_PX] / VIEW_PX - 0.5
    return np.asarray(np.clip(0.5 + x * np.cos(turn) + y * np.sin(turn), 0, 1))


def _cloud(rng: Random) -> npt.NDArray[np.float64]:
    """Return noise of three octaves, about 0 to 1."""
    cloud = np.zeros((VIEW_PX, VIEW_PX))
    first = rng.integers(2, 12)
    for octave in range(3):
        grid = rng.uniform(0, 1, (first * 2**octave,) * 2)
        cloud += cv2.resize(grid, (VIEW_PX, VIEW_PX), interpolation=cv2.INTER_CUBIC) / 2 ** (octave + 1)
    return cloud


def _warp(pixels: RGB, scale: float, turn_deg: float, centre: Point, size_px: tuple[int, int], border: int) -> RGB:
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn_deg, scale)
    matrix[:, 2] += centre - (width / 2, height / 2)
    return np.asarray(cv2.warpAffine(pixels, matrix, size_px, borderValue=(border,) * pixels.shape[2]), np.uint8)


def _paste(view: RGB, fruit: RGBA, scale: float, turn_deg: float, centre: Point, rng: Random) -> None:
    """Paste a fruit into the view in place, slightly relit, with a soft shadow half the time."""
    if rng.random() < 0.5:
        fruit = fruit[:, ::-1].copy()
    reach = np.hypot(*fruit.shape[:2]) * scale / 2 + _SHADOW_REACH_PX
    left, top = np.clip(centre - reach, 0, VIEW_PX).astype(int)
    right, lower = np.clip(centre + reach, 0, VIEW_PX).astype(int)
    if right <= left or lower <= top:
        return
    placed = _warp(fruit, scale, turn_deg, centre - (left, top), (right - left, lower - top), 0)
    part = view[top:lower, left:right]
    alpha = placed[..., 3:].astype(np.float32) / 255
    light = rng.uniform(0.75, 1.15)
    if rng.random() < 0.5:
        shadow = cv2.GaussianBlur(np.roll(alpha, (3, 2), (0, 1)), (0, 0), 3)[..., None]
        part[:] = (part * (1 - 0.5 * shadow)).astype(np.uint8)
    part[:] = np.clip(placed[..., :3] * light * alpha + part * (1 - alpha), 0, 255).astype(np.uint8)


def _recoloured(view: RGB, rng: Random) -> RGB:
    """Return the view with another hue (slightly or completely), saturation and gamma."""
    levels = np.arange(256)
    shift = rng.integers(256) if rng.random() < 0.3 else round(rng.normal(0, 12))
    hue = (levels + shift) % 256  # OpenCV's full hues: 256 to the circle
    saturation = np.clip(levels * rng.uniform(0.3, 1.6), 0, 255)
    value = 255 * (levels / 255) ** np.exp(rng.uniform(-0.6, 0.6))
    table = np.stack([hue, saturation, value], axis=1).astype(np.uint8)[None]
    hsv = cv2.LUT(cv2.cvtColor(view, cv2.COLOR_RGB2HSV_FULL), table)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), np.uint8)


def _retouched(view: RGB, rng: Random, strength: float) -> RGB:
    """Return the view as if from another camera: light, white balance, contrast, saturation, blur, noise, JPEG."""
    light = rng.uniform(1 - 0.35 * strength, 1 + 0.25 * strength)
    balance = rng.uniform(1 - 0.12 * strength, 1 + 0.12 * strength, 3)
    contrast = rng.uniform(1 - 0.25 * strength, 1 + 0.25 * strength)
    saturation = rng.uniform(1 - 0.4 * strength, 1 + 0.3 * strength)
    to_grey = np.full((3, 3), 1 / 3)
    colours = (saturation * np.eye(3) + (1 - saturation) * to_grey) @ np.diag(contrast * light * balance)
    out: RGB = np.asarray(
        cv2.transform(view, np.column_stack([colours, np.full(3, 128 * (1 - contrast))])), np.uint8
    )
    if rng.random() < 0.25 * strength:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), rng.uniform(0.4, 1.6)), np.uint8)
    if rng.random() < 0.2 * strength:
        noise = rng.standard_normal(view.shape, np.float32) * np.float32(rng.uniform(2, 10))
        out = np.clip(out + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        _, jpeg = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 95))])
        out = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)
    return out
