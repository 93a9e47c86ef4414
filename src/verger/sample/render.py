"""Rendering of fruit photos in the style of Fruits-360: one fruit on white, rotated under a fixed light.

A body is a profile that is revolved around y, then bent, ribbed or flattened. The skin is painted once, so seeds
and pores rotate with the body. For each frame a depth buffer selects the nearest point in each pixel, and light is
computed for these points.
Lengths are in body sizes (the longest side is 1), colours in linear light, 0 to 1.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor

from verger.errors import SettingsError
from verger.sample.kinds import KINDS, Floats, Fruit, Leaves, Skin, Stem

MAX_SIZE_PX = 512  # memory grows with the square of the size: 1.5 GB at 512, 0.14 GB at 100
SUPERSAMPLING = 2
OVERSAMPLING = 1.2  # skin points per subpixel in each direction; with fewer, holes appear
FILL = 0.95  # length of the fruit as a share of the frame's side; the corners stay white
NOISE = 0.006  # standard deviation of the sensor noise


@dataclass(frozen=True)
class SampleOptions:
    """The number of photos of each kind, their size, and the seed."""

    per_kind: int = 40
    size_px: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.per_kind < 1:
            raise SettingsError("per_kind", self.per_kind, "at least 1")
        if not 16 <= self.size_px <= MAX_SIZE_PX:
            raise SettingsError("size_px", self.size_px, f"16 to {MAX_SIZE_PX}")
        if self.seed < 0:
            raise SettingsError("seed", self.seed, "at least 0")


@dataclass(frozen=True)
class PointCloud:
    """A fruit as n points in space (3, n), with unit normals (n, 3), albedo (n, 3) and shine (n,)."""

    points: npt.NDArray[np.float32]
    normals: npt.NDArray[np.float32]
    albedo: npt.NDArray[np.float32]
    shine: npt.NDArray[np.float32]


def render_kind(kind: str, options: SampleOptions) -> Iterator[Image.Image]:
    """Yield the photos of one kind: a full rotation of one individual fruit after the other."""
    if kind not in KINDS:
        raise SettingsError("kind", kind, KINDS)
    fruit = KINDS[kind]
    for individual, pitch_deg in enumerate(fruit.pitch_deg):
        rng = np.random.default_rng([options.seed, zlib.crc32(kind.encode()), individual])
        cloud = grow(fruit, options.size_px, rng)
        # The axis of rotation differs slightly from the fruit's axis, so the fruit wobbles.
        nod = _rotation(0, rng.uniform(4, 10))
        stand = _rotation(0, pitch_deg) @ _rotation(2, fruit.roll_deg)
        n_frames = len(range(individual, options.per_kind, len(fruit.pitch_deg)))
        for turn_deg in rng.uniform(0, 360) + np.linspace(0, 360, n_frames, endpoint=False):
            yield shoot(cloud, stand @ _rotation(1, turn_deg) @ nod, options.size_px, rng)


def grow(fruit: Fruit, size_px: int, rng: np.random.Generator) -> PointCloud:
    """Return one individual fruit of a kind as a point cloud, dense enough for photos of `size_px` pixels."""
    density = size_px * SUPERSAMPLING * OVERSAMPLING
    profile = np.column_stack([fruit.radii, fruit.heights]) * (rng.uniform(0.94, 1.06), 1)
    skin = _revolve(profile / max(np.ptp(profile[:, 1]), 2 * profile[:, 0].max()), density, *fruit.ribs)
    albedo, relief = _rgb(fruit.colour) * np.ones_like(skin.points), np.zeros(skin.points.shape[:2])
    for layer in fruit.layers:
        mask = layer.mask(skin, rng) * layer.opacity
        albedo += mask[..., None] * (_rgb(layer.colour) - albedo)
        relief += mask * layer.relief
    albedo *= np.exp(rng.normal(0, 0.07, 3))  # each individual has a slightly different hue
    body = skin.points + relief[..., None] * _normals(skin.points)
    parts = [(_bend(body * (1, 1, fruit.depth), fruit.bend_rad), albedo, fruit.shine)]
    for extra in fruit.extras:
        points, colour = _extra(extra, density)
        parts.append((points + np.array([0, skin.points[..., 1].max(), 0]), colour, 0.05))
    return PointCloud(
        points=np.ascontiguousarray(_stack([points for points, _, _ in parts]).T),
        normals=_stack([_normals(points) for points, _, _ in parts]),
        albedo=_stack([albedo for _, albedo, _ in parts]),
        shine=np.concatenate([np.full(points.size // 3, shine, np.float32) for points, _, shine in parts]),
    )


def shoot(cloud: PointCloud, pose: Floats, size_px: int, rng: np.random.Generator) -> Image.Image:
    """Render a point cloud: rotated by `pose`, centred, and as large as the frame."""
    side = size_px * SUPERSAMPLING
    points = pose.astype(np.float32) @ cloud.points
    low, high = points.min(axis=1, keepdims=True), points.max(axis=1, keepdims=True)
    centred = (points - (low + high) / 2) * (FILL * side / (high - low)[:2].max())
    column, row = (side / 2 + centred[0]).astype(np.int64), (side / 2 - centred[1]).astype(np.int64)
    depth = ((centred[2] - centred[2].min()) * 2**16).astype(np.int64)
    # A key has the depth in its high bits and the index of a point in its low bits. In a pixel, the point with the
    # largest key is the nearest.
    nearest = np.full(side * side, -1, np.int64)
    np.maximum.at(nearest, row * side + column, depth << 32 | np.arange(depth.size))
    for step in (1, side):  # fills small holes between the points
        inner, before, after = nearest[step:-step], nearest[: -2 * step], nearest[2 * step :]
        nearest[step:-step] = np.maximum(inner, np.minimum(before, after))
    is_seen = nearest >= 0
    index = nearest[is_seen] & 0xFFFFFFFF
    light = np.ones((side * side, 3))
    lit = _light(cloud.normals[index] @ pose.T, cloud.albedo[index], cloud.shine[index])
    light[is_seen] = lit + rng.normal(0, NOISE, (len(index), 3))
    light = light.clip(0, 1).reshape(size_px, SUPERSAMPLING, size_px, SUPERSAMPLING, 3).mean(axis=(1, 3))
    return Image.fromarray(np.round(255 * light ** (1 / 2.2)).astype(np.uint8))


def _light(normals: Floats, albedo: Floats, shine: Floats) -> Floats:
    """Return (n, 3) linear light, shaded by Lambert and Blinn-Phong: a lamp at the upper left, and a dim sky."""
    normals = normals * np.where(normals[:, 2:] < 0, -1, 1)  # leaves are lit on both sides
    lamp = np.array([-0.45, 0.6, 0.66])
    half = lamp + np.array([0, 0, 1])  # the direction halfway between lamp and camera
    half /= np.linalg.norm(half)
    diffuse = (normals @ lamp).clip(0)
    sky = 0.28 + 0.14 * normals[:, 1] + 0.1 * normals[:, 2]
    specular = shine * (normals @ half).clip(0) ** 28
    lit: Floats = albedo * (sky + 0.95 * diffuse)[:, None] + specular[:, None]
    return lit


def _revolve(profile: Floats, density: float, n_ribs: int = 1, rib_depth: float = 0.0) -> Skin:
    """Revolve the B-spline of control points (radius, height) around y, with `density` points per body size."""
    mirrored = profile * (-1, 1)  # makes the poles round
    control = np.concatenate([mirrored[1:2], profile, mirrored[-2:-1]])
    t = np.linspace(0, 1, 64, endpoint=False)
    basis = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    spans = np.lib.stride_tricks.sliding_window_view(control, 4, axis=0)
    curve = np.einsum("kt,sck->stc", basis, spans).reshape(-1, 2)
    path = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    along = (np.arange(np.ceil(path[-1] * density)) + 0.5) / density
    along = along[along < path[-1]]
    radius, height = (np.interp(along, path, curve[:, axis])[:, None] for axis in (0, 1))
    turn = np.linspace(0, 1, int(np.ceil(2 * np.pi * radius.max() * density)))[None]
    ribbed = radius * (1 + rib_depth * np.cos(2 * np.pi * n_ribs * turn))
    x, z = ribbed * np.cos(2 * np.pi * turn), ribbed * np.sin(2 * np.pi * turn)
    return Skin(np.stack([x, height * np.ones_like(x), z], axis=-1), turn, along[:, None], radius)


def _extra(extra: Stem | Leaves, density: float) -> tuple[Floats, Floats]:
    """Return points and albedo of a stem or leaves; the origin is the top of the body."""
    if isinstance(extra, Stem):
        thick, long = extra.radius, extra.length
        stalk = [(0, 0), (1.4, 0), (1, 0.3), (1, 0.9), (1.6, 1), (0, 1)]
        points = _bend(_revolve(np.array(stalk) * (thick, long), density).points, extra.bend_rad)
        return points + np.array([0, extra.base, 0]), _rgb(extra.colour) * np.ones_like(points)
    out = np.linspace(0.01, 1, 2 + int(extra.length * density))[:, None]
    turn = np.linspace(0, 2 * np.pi, 8 + int(2 * np.pi * extra.length * density))
    blade = (0.5 + 0.5 * np.cos(extra.count * turn)) ** extra.sharpness
    r = extra.length * out * (extra.waist + (1 - extra.waist) * blade)
    height = extra.base + extra.lift * r - extra.droop * r**2
    points = np.stack([r * np.cos(turn), height, r * np.sin(turn)], axis=-1)
    # Leaves are darker at the midrib, and near the axis, where there is shadow.
    shade = (0.3 + 0.7 * out) * (0.8 + 0.3 * np.abs(np.sin(extra.count * turn / 2)))
    return points, _rgb(extra.colour) * shade[..., None]


def _bend(points: Floats, angle_rad: float) -> Floats:
    """Bend the y axis into an arc of `angle_rad`; points in the plane y = 0 do not move."""
    if not angle_rad:
        return points
    spine = np.ptp(points[..., 1]) / angle_rad
    angle, reach = points[..., 1] / spine, spine - points[..., 0]
    return np.stack([spine - reach * np.cos(angle), reach * np.sin(angle), points[..., 2]], axis=-1)


def _rotation(axis: int, angle_deg: float) -> Floats:
    """Return the (3, 3) rotation about x, y or z."""
    i, j, angle_rad = (axis + 1) % 3, (axis + 2) % 3, np.radians(angle_deg)
    rotation = np.eye(3)
    rotation[[i, j], [i, j]] = np.cos(angle_rad)
    rotation[j, i], rotation[i, j] = np.sin(angle_rad), -np.sin(angle_rad)
    return rotation


def _normals(points: Floats) -> Floats:
    """Return the unit normals of a grid of points, from differences between neighbours."""
    normals = np.cross(np.gradient(points, axis=0), np.gradient(points, axis=1))
    unit: Floats = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    return unit


def _rgb(colour: str) -> Floats:
    return (np.array(ImageColor.getrgb(colour)[:3]) / 255) ** 2.2


def _stack(grids: list[Floats]) -> npt.NDArray[np.float32]:
    return np.concatenate([grid.reshape(-1, 3) for grid in grids]).astype(np.float32)
