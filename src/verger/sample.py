"""Render labelled fruit photos, so that a fresh clone has something to read.

A small point renderer in the manner of the Fruits-360 photos: one fruit on white, turned about its axis
frame by frame under a fixed light. A body is a profile revolved about y, then bent, ribbed or flattened; its
skin is painted once, on the body, so seeds and pores turn with it; each frame throws the points through a
depth buffer and lights the nearest. Lengths are in body sizes (the longest side is 1), colours in linear
light, 0 to 1.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor

from verger.errors import ResultError, SettingsError

Floats = npt.NDArray[np.float64]
Mask = Callable[["Skin", np.random.Generator], Floats]

COMMENT = "synthetic, rendered by verger sample"
ABOUT_NAME = "ABOUT.txt"
ABOUT_TITLE = "Synthetic fruit photos, rendered by verger sample"
ABOUT = """
These are computer renders made by verger, not photographs of real fruit. They are there to try the pipeline
on: accuracy measured on them says nothing about real fruit. One folder a kind, as in Fruits-360.
"""

MAX_SIZE_PX = 512  # memory grows with its square: 1.5 GB here, 0.14 GB at 100
SUPERSAMPLING = 2
OVERSAMPLING = 1.2  # skin points a subpixel, each way: fewer leave holes
FILL = 0.95  # of the frame's side; the rest keeps the corners white
NOISE = 0.006  # standard deviation of the sensor noise
_IMAGE_DESCRIPTION = 0x010E  # EXIF tag


@dataclass(frozen=True)
class SampleOptions:
    """How many photos, how large, and from which seed."""

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


_DEFAULTS = SampleOptions()


@dataclass(frozen=True)
class Skin:
    """A grid on a body of revolution, its rows from bottom to top.

    `points` (rows, columns, 3); `turn` (1, columns) is the azimuth, 0 to 1; `along` and `radius` (rows, 1)
    are the way from the bottom over the skin and the distance from the axis.
    """

    points: Floats
    turn: Floats
    along: Floats
    radius: Floats


@dataclass(frozen=True)
class Layer:
    """A colour laid where `mask` is 1, which `relief` lifts or dents."""

    mask: Mask
    colour: str
    opacity: float = 1.0
    relief: float = 0.0


@dataclass(frozen=True)
class Stem:
    """A bent stalk on the axis, from height `base` above the top."""

    length: float
    radius: float
    colour: str
    bend_rad: float = 0.6
    base: float = -0.06


@dataclass(frozen=True)
class Leaves:
    """A star of blades about the axis, at height base + lift * r - droop * r ** 2 above the top.

    Between the blades it is `waist` as wide as at their tips; the greater `sharpness`, the thinner they are.
    """

    count: int
    length: float
    colour: str
    base: float = 0.0
    lift: float = 0.0
    droop: float = 0.0
    waist: float = 0.12
    sharpness: float = 1.2


@dataclass(frozen=True)
class Fruit:
    """A kind: its profile as control points from the bottom up, its skin, stem and leaves.

    `ribs` are a number and a depth; `depth` flattens front to back; `pitch_deg`, one an individual, tips the
    top towards the camera, `roll_deg` lays the fruit on its side.
    """

    radii: tuple[float, ...]
    heights: tuple[float, ...]
    colour: str
    layers: tuple[Layer, ...]
    extras: tuple[Stem | Leaves, ...] = ()
    shine: float = 0.15
    bend_rad: float = 0.0
    ribs: tuple[int, float] = (5, 0.0)
    depth: float = 1.0
    pitch_deg: tuple[float, float] = (12, 35)
    roll_deg: float = 0.0


@dataclass(frozen=True)
class Cloud:
    """A fruit as points (3, n), with their unit normals (n, 3), albedo (n, 3) and shine (n,)."""

    points: npt.NDArray[np.float32]
    normals: npt.NDArray[np.float32]
    albedo: npt.NDArray[np.float32]
    shine: npt.NDArray[np.float32]


def band(start: float, end: float) -> Mask:
    """Return a ramp from 0 to 1 between two fractions of the way from bottom to top."""
    return lambda skin, rng: (
        _smooth((skin.along / skin.along[-1] - start) / (end - start)) * np.ones_like(skin.turn)
    )


def patches(scale: float, level: float, softness: float = 0.5, stretch: float = 1.0) -> Mask:
    """Return random patches, `scale` to a body; a higher level has fewer; stretch < 1 makes streaks."""
    return lambda skin, rng: _smooth((_noise(skin.points * (1, stretch, 1), scale, rng) - level) / softness + 0.5)


def stripes(count: int, level: float) -> Mask:
    """Return ragged stripes from pole to pole; the higher the level (-1 to 1), the thinner."""

    def paint(skin: Skin, rng: np.random.Generator) -> Floats:
        ragged = 0.10 * _noise(skin.points, 2.5, rng) + 0.07 * _noise(skin.points, 9, rng)
        return _smooth((np.cos(2 * np.pi * (count * skin.turn + ragged)) - level) / 0.5 + 0.5)

    return paint


def spots(spacing: float, radius: float, jitter: float = 0.3, stretch: float = 1.0) -> Mask:
    """Return spots on a staggered lattice, shaken by `jitter` of a cell; stretch > 1 makes them long."""

    def paint(skin: Skin, rng: np.random.Generator) -> Floats:
        row = np.floor(skin.along / spacing).astype(int)
        middle = np.interp((row + 0.5) * spacing, skin.along[:, 0], skin.radius[:, 0])
        n_columns = np.maximum(1, np.round(2 * np.pi * middle / spacing)).astype(int)
        place = (skin.turn * n_columns + 0.5 * (row % 2)) % n_columns
        column = np.floor(place).astype(int)
        shake = rng.uniform(-jitter, jitter, (3, row.max() + 1, n_columns.max()))[:, row, column]
        x = (place - column - 0.5 - shake[0]) * 2 * np.pi * skin.radius / n_columns
        y = skin.along - (row + 0.5 + shake[1]) * spacing
        return _smooth(2 - 1.5 * np.hypot(x, y / stretch) / (radius * (1 + shake[2])))

    return paint


KINDS: dict[str, Fruit] = {
    "Apple": Fruit(
        radii=(0, 0.14, 0.3, 0.46, 0.6, 0.58, 0.36, 0.09, 0.03, 0),
        heights=(-0.37, -0.47, -0.47, -0.3, 0.05, 0.38, 0.54, 0.42, 0.3, 0.3),
        colour="#cdb445",
        layers=(
            Layer(patches(2.5, -1.0, 3.0, 0.6), "#a8151f"),
            Layer(patches(26, 0.3, 2.0, 0.08), "#8a0f1a", 0.5),
            Layer(spots(0.075, 0.006, 0.45), "#e0b58a", 0.45),
            Layer(band(0.87, 0.96), "#a39a48", 0.8),
        ),
        extras=(
            Stem(0.28, 0.018, "#5a4028", base=-0.12),
            Leaves(1, 0.36, "#4a7d2c", lift=0.5, droop=0.8, sharpness=8),
        ),
        shine=0.25,
        ribs=(5, 0.015),
    ),
    "Avocado": Fruit(
        radii=(0, 0.16, 0.36, 0.42, 0.34, 0.22, 0.15, 0.06, 0),
        heights=(-0.53, -0.54, -0.42, -0.12, 0.16, 0.36, 0.52, 0.56, 0.56),
        colour="#3d4c20",
        layers=(
            Layer(patches(4, 0.3, 2.5), "#262f17", 0.8),
            Layer(spots(0.036, 0.016, 0.35), "#4a5828", 0.6, 0.005),
            Layer(spots(0.1, 0.009, 0.45), "#8a9450", 0.5),
        ),
        extras=(Stem(0.09, 0.03, "#6b4a2c", 0, -0.04),),
    ),
    "Banana": Fruit(
        radii=(0, 0.03, 0.045, 0.13, 0.165, 0.155, 0.1, 0.04, 0.036, 0.046, 0),
        heights=(-0.62, -0.62, -0.57, -0.45, -0.1, 0.2, 0.4, 0.5, 0.62, 0.67, 0.67),
        colour="#e6bf22",
        layers=(
            Layer(band(0.72, 0.95), "#a9ac35", 0.8),
            Layer(band(0.16, 0.06), "#a9a035", 0.7),
            Layer(spots(0.13, 0.009, 0.48, 2.5), "#6b4a1a", 0.7),
            Layer(band(0.05, 0.03), "#33261a"),
            Layer(band(0.975, 0.99), "#4a3722"),
        ),
        shine=0.1,
        bend_rad=1.6,
        ribs=(5, 0.05),
        pitch_deg=(8, 25),
        roll_deg=70,
    ),
    "Blueberry": Fruit(
        radii=(0, 0.2, 0.44, 0.56, 0.5, 0.28, 0.15, 0.1, 0),
        heights=(-0.45, -0.46, -0.32, 0, 0.28, 0.44, 0.45, 0.36, 0.34),
        colour="#27396f",
        layers=(
            Layer(patches(2.5, 0.2, 3.5), "#6a82b8", 0.75),
            Layer(patches(9, 0.8, 2.0), "#1c2850", 0.5),
            Layer(band(0.88, 0.95), "#121730", 0.9),
        ),
        extras=(Leaves(5, 0.25, "#33457c", base=-0.08, lift=0.9, droop=0.8, waist=0.55),),
        shine=0.05,
        pitch_deg=(35, 58),
    ),
    "Lemon": Fruit(
        radii=(0, 0.05, 0.09, 0.3, 0.43, 0.3, 0.1, 0.06, 0),
        heights=(-0.54, -0.54, -0.45, -0.36, 0, 0.36, 0.44, 0.54, 0.54),
        colour="#ecc92a",
        layers=(
            Layer(spots(0.042, 0.012, 0.4), "#d9b01c", 0.7, -0.004),
            Layer(band(0.9, 0.99), "#b4b440", 0.7),
            Layer(band(0.03, 0.0), "#6e5a20", 0.9),
        ),
        roll_deg=68,
    ),
    "Mango": Fruit(
        radii=(0, 0.16, 0.36, 0.43, 0.38, 0.2, 0.05, 0),
        heights=(-0.54, -0.53, -0.36, 0.02, 0.36, 0.52, 0.52, 0.51),
        colour="#dea12e",
        layers=(
            Layer(band(0.25, 0.75), "#71902f", 0.75),
            Layer(patches(1.2, 0.2, 2.0), "#c24a26", 0.85),
            Layer(spots(0.06, 0.006, 0.45), "#ecca86", 0.6),
            Layer(spots(0.16, 0.009, 0.48), "#4f3a20", 0.6),
        ),
        extras=(Stem(0.07, 0.02, "#5c4326", 0.3, -0.03),),
        bend_rad=0.9,
        depth=0.78,
        roll_deg=35,
    ),
    "Orange": Fruit(
        radii=(0, 0.22, 0.47, 0.57, 0.47, 0.22, 0.06, 0),
        heights=(-0.5, -0.5, -0.34, 0, 0.34, 0.5, 0.49, 0.47),
        colour="#ea8016",
        layers=(
            Layer(patches(2, 0.5, 2.5), "#f09824", 0.6),
            Layer(spots(0.036, 0.01, 0.4), "#d66a0a", 0.7, -0.004),
        ),
        extras=(Leaves(5, 0.07, "#6a6f35", base=0.005),),
        pitch_deg=(30, 55),
    ),
    "Pear": Fruit(
        radii=(0, 0.14, 0.34, 0.44, 0.36, 0.22, 0.17, 0.13, 0.03, 0),
        heights=(-0.48, -0.53, -0.46, -0.2, 0.06, 0.26, 0.42, 0.53, 0.51, 0.48),
        colour="#b7bd4a",
        layers=(
            Layer(patches(1.5, 0.6, 2.5), "#d0b850", 0.8),
            Layer(spots(0.045, 0.006, 0.45), "#6f6a2a", 0.75),
            Layer(spots(0.15, 0.012, 0.48), "#7d5f30", 0.6),
            Layer(band(0.92, 1.0), "#8a6d38", 0.6),
        ),
        extras=(Stem(0.26, 0.017, "#4f3a24", 0.7),),
    ),
    "Strawberry": Fruit(
        radii=(0, 0.1, 0.24, 0.4, 0.45, 0.3, 0.06, 0),
        heights=(-0.57, -0.56, -0.36, 0.03, 0.3, 0.47, 0.44, 0.42),
        colour="#c2101b",
        layers=(
            Layer(band(0.72, 0.95), "#e09078", 0.6),
            Layer(spots(0.095, 0.03, 0.08, 1.3), "#a00c16", 0.7, -0.014),
            Layer(spots(0.095, 0.011, 0.08, 1.7), "#dfb850", 0.9, 0.005),
        ),
        extras=(Leaves(8, 0.42, "#467f2a", lift=0.3, droop=1.2), Stem(0.2, 0.018, "#6a9a3a", 0.8, 0)),
        shine=0.35,
        ribs=(3, 0.02),
        pitch_deg=(5, 25),
    ),
    "Watermelon": Fruit(
        radii=(0, 0.2, 0.42, 0.5, 0.42, 0.2, 0.05, 0),
        heights=(-0.52, -0.52, -0.35, 0, 0.35, 0.52, 0.52, 0.5),
        colour="#8fac5c",
        layers=(
            Layer(patches(14, 0.6, 0.8), "#6f9a48", 0.7),
            Layer(stripes(9, 0.1), "#1f4a22", 0.95),
            Layer(band(0.97, 1.0), "#9a9a58", 0.8),
        ),
        extras=(Stem(0.14, 0.018, "#6f7438", 1.8, -0.03),),
        roll_deg=30,
    ),
}


def render_sample(out: Path, options: SampleOptions = _DEFAULTS) -> int:
    """Write out/<kind>/<n>_<size_px>.jpg and ABOUT.txt; return the number of photos.

    A former sample in `out` is replaced, but only its own files; any other content raises ResultError.
    """
    try:
        _clear(out)
        about = f"{ABOUT_TITLE}\n{ABOUT}\nMade with {options}\n"
        # First, so that a sample cut short is known as one and can be rewritten.
        (out / ABOUT_NAME).write_text(about, encoding="utf-8")
        for kind in KINDS:
            (out / kind).mkdir(exist_ok=True)
            for i, photo in enumerate(render_kind(kind, options)):
                _save(photo, out / kind / f"{i}_{options.size_px}.jpg")
    except OSError as error:
        raise ResultError(f"cannot write the sample to {out}: {error}") from error
    return len(KINDS) * options.per_kind


def render_kind(kind: str, options: SampleOptions) -> Iterator[Image.Image]:
    """Yield the photos of one kind: a full turn of each individual, one individual after the other."""
    if kind not in KINDS:
        raise SettingsError("kind", kind, KINDS)
    fruit = KINDS[kind]
    for individual, pitch_deg in enumerate(fruit.pitch_deg):
        rng = np.random.default_rng([options.seed, zlib.crc32(kind.encode()), individual])
        cloud = grow(fruit, options.size_px, rng)
        # The shaft is never quite in the axis of the fruit, so it nods a little as it turns.
        nod = _rotation(0, rng.uniform(4, 10))
        stand = _rotation(0, pitch_deg) @ _rotation(2, fruit.roll_deg)
        n_frames = len(range(individual, options.per_kind, len(fruit.pitch_deg)))
        for turn_deg in rng.uniform(0, 360) + np.linspace(0, 360, n_frames, endpoint=False):
            yield shoot(cloud, stand @ _rotation(1, turn_deg) @ nod, options.size_px, rng)


def grow(fruit: Fruit, size_px: int, rng: np.random.Generator) -> Cloud:
    """Return one individual of a kind as points dense enough for photos of `size_px`."""
    density = size_px * SUPERSAMPLING * OVERSAMPLING
    profile = np.column_stack([fruit.radii, fruit.heights]) * (rng.uniform(0.94, 1.06), 1)
    skin = _revolve(profile / max(np.ptp(profile[:, 1]), 2 * profile[:, 0].max()), density, *fruit.ribs)
    albedo, relief = _rgb(fruit.colour) * np.ones_like(skin.points), np.zeros(skin.points.shape[:2])
    for layer in fruit.layers:
        mask = layer.mask(skin, rng) * layer.opacity
        albedo += mask[..., None] * (_rgb(layer.colour) - albedo)
        relief += mask * layer.relief
    albedo *= np.exp(rng.normal(0, 0.07, 3))  # no two individuals have quite the same hue
    body = skin.points + relief[..., None] * _normals(skin.points)
    parts = [(_bend(body * (1, 1, fruit.depth), fruit.bend_rad), albedo, fruit.shine)]
    for extra in fruit.extras:
        points, colour = _extra(extra, density)
        parts.append((points + np.array([0, skin.points[..., 1].max(), 0]), colour, 0.05))
    return Cloud(
        points=np.ascontiguousarray(_stack([points for points, _, _ in parts]).T),
        normals=_stack([_normals(points) for points, _, _ in parts]),
        albedo=_stack([albedo for _, albedo, _ in parts]),
        shine=np.concatenate([np.full(points.size // 3, shine, np.float32) for points, _, shine in parts]),
    )


def shoot(cloud: Cloud, pose: Floats, size_px: int, rng: np.random.Generator) -> Image.Image:
    """Return the photo of a cloud turned by the rotation `pose`, centred, filling the frame."""
    side = size_px * SUPERSAMPLING
    points = pose.astype(np.float32) @ cloud.points
    low, high = points.min(axis=1, keepdims=True), points.max(axis=1, keepdims=True)
    centred = (points - (low + high) / 2) * (FILL * side / (high - low)[:2].max())
    column, row = (side / 2 + centred[0]).astype(np.int64), (side / 2 - centred[1]).astype(np.int64)
    depth = ((centred[2] - centred[2].min()) * 2**16).astype(np.int64)
    # Depth above, index below: the greatest key at a pixel is its nearest point, whatever the order.
    nearest = np.full(side * side, -1, np.int64)
    np.maximum.at(nearest, row * side + column, depth << 32 | np.arange(depth.size))
    for step in (1, side):  # closes the pinholes that the points leave between them
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
    """Lambert and Blinn-Phong under one lamp at the upper left and a dim sky; (n, 3) linear light."""
    normals = normals * np.where(normals[:, 2:] < 0, -1, 1)  # leaves have two sides
    lamp = np.array([-0.45, 0.6, 0.66])
    half = lamp + np.array([0, 0, 1])  # between the lamp and the camera
    half /= np.linalg.norm(half)
    diffuse = (normals @ lamp).clip(0)
    sky = 0.28 + 0.14 * normals[:, 1] + 0.1 * normals[:, 2]
    specular = shine * (normals @ half).clip(0) ** 28
    lit: Floats = albedo * (sky + 0.95 * diffuse)[:, None] + specular[:, None]
    return lit


def _revolve(profile: Floats, density: float, n_ribs: int = 1, rib_depth: float = 0.0) -> Skin:
    """Revolve the B-spline of control points (radius, height) about y, `density` points a body size."""
    mirrored = profile * (-1, 1)  # makes the poles round
    control = np.concatenate([mirrored[1:2], profile, mirrored[-2:-1]])
    t = np.linspace(0, 1, 64, endpoint=False)
    basis = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    spans = np.lib.stride_tricks.sliding_window_view(control, 4, axis=0)
    curve = np.einsum("kt,sck->stc", basis, spans).reshape(-1, 2)
    way = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    along = (np.arange(np.ceil(way[-1] * density)) + 0.5) / density
    along = along[along < way[-1]]
    radius, height = (np.interp(along, way, curve[:, axis])[:, None] for axis in (0, 1))
    turn = np.linspace(0, 1, int(np.ceil(2 * np.pi * radius.max() * density)))[None]
    ribbed = radius * (1 + rib_depth * np.cos(2 * np.pi * n_ribs * turn))
    x, z = ribbed * np.cos(2 * np.pi * turn), ribbed * np.sin(2 * np.pi * turn)
    return Skin(np.stack([x, height * np.ones_like(x), z], axis=-1), turn, along[:, None], radius)


def _extra(extra: Stem | Leaves, density: float) -> tuple[Floats, Floats]:
    """Return points and albedo of a stem or leaves, the top of the body at the origin."""
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
    # Darker at the midrib and, where little light comes, near the axis.
    shade = (0.3 + 0.7 * out) * (0.8 + 0.3 * np.abs(np.sin(extra.count * turn / 2)))
    return points, _rgb(extra.colour) * shade[..., None]


def _bend(points: Floats, angle_rad: float) -> Floats:
    """Bend the y axis into an arc of `angle_rad`; the plane y = 0 stays."""
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
    """Return the unit normals of a grid of points, from differences of its neighbours."""
    normals = np.cross(np.gradient(points, axis=0), np.gradient(points, axis=1))
    unit: Floats = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    return unit


def _noise(points: Floats, scale: float, rng: np.random.Generator) -> Floats:
    """Return a smooth random field, about N(0, 1): plane waves of random directions."""
    waves = rng.normal(0, 2 * scale, (3, 16)).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, 16).astype(np.float32)
    field = np.cos(points.astype(np.float32) @ waves + phases).sum(axis=-1)
    return np.asarray(field / np.sqrt(8), np.float64)


def _smooth(x: Floats) -> Floats:
    x = x.clip(0, 1)
    return x * x * (3 - 2 * x)


def _rgb(colour: str) -> Floats:
    return (np.array(ImageColor.getrgb(colour)[:3]) / 255) ** 2.2


def _stack(grids: list[Floats]) -> npt.NDArray[np.float32]:
    return np.concatenate([grid.reshape(-1, 3) for grid in grids]).astype(np.float32)


def _clear(out: Path) -> None:
    """Make `out`, or empty it of a former sample; raise ResultError where it holds anything else."""
    if out.exists() and not out.is_dir():
        raise ResultError(f"{out} is a file: name a folder for the sample")
    out.mkdir(parents=True, exist_ok=True)
    if not any(out.iterdir()):
        return
    about = out / ABOUT_NAME
    if not about.is_file() or not about.read_bytes().startswith(ABOUT_TITLE.encode()):
        raise ResultError(f"{out} is not empty and not a sample made by verger: name another folder")
    for photo in (path for kind in KINDS for path in (out / kind).glob("*.jpg")):
        if re.fullmatch(r"\d+_\d+\.jpg", photo.name):
            photo.unlink()


def _save(photo: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[_IMAGE_DESCRIPTION] = COMMENT
    photo.save(path, quality=95, exif=exif, comment=COMMENT)
