"""The ten kinds of fruit: body, skin, stem, leaves. To add one, add an entry to `KINDS`.

Lengths are in body sizes (the longest side is 1), colours in linear light, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = Callable[["Skin", np.random.Generator], Floats]


@dataclass(frozen=True)
class Skin:
    """A grid of points on a body of revolution; the rows go from bottom to top.

    points: (rows, columns, 3). turn: (1, columns), the azimuth, from 0 to 1 for a full turn. along: (rows, 1), the
    length of the path over the skin from the bottom. radius: (rows, 1), the distance from the axis.
    """

    points: Floats
    turn: Floats
    along: Floats
    radius: Floats


@dataclass(frozen=True)
class Layer:
    """A colour that is painted where `mask` is 1. There, `relief` raises the skin, or lowers it if negative."""

    mask: Mask
    colour: str
    opacity: float = 1.0
    relief: float = 0.0


@dataclass(frozen=True)
class Stem:
    """A bent stalk on the axis of the body. It starts at height `base` above the top of the body."""

    length: float
    radius: float
    colour: str
    bend_rad: float = 0.6
    base: float = -0.06


@dataclass(frozen=True)
class Leaves:
    """A star of leaves around the axis, at height base + lift * r - droop * r ** 2 above the top of the body.

    waist: the radius between two leaves, as a share of the radius at the tips. sharpness: a higher value gives
    thinner leaves.
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
    """A kind of fruit: the profile (control points from bottom to top), skin, stem and leaves.

    ribs: number and depth of the ribs. depth: the scale from front to back. pitch_deg: the angle by which the top
    is tilted towards the camera, one value for each individual fruit. roll_deg: the angle by which the fruit is
    tilted to the side.
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


def band(start: float, end: float) -> Mask:
    """Return a mask that goes from 0 at `start` to 1 at `end`, positions along the skin: 0 bottom, 1 top."""
    return lambda skin, rng: smooth((skin.along / skin.along[-1] - start) / (end - start)) * np.ones_like(skin.turn)


def patches(scale: float, level: float, softness: float = 0.5, stretch: float = 1.0) -> Mask:
    """Return random patches; a higher scale makes them smaller, a higher level fewer; stretch < 1 makes streaks."""
    return lambda skin, rng: smooth((noise(skin.points * (1, stretch, 1), scale, rng) - level) / softness + 0.5)


def stripes(count: int, level: float) -> Mask:
    """Return irregular stripes from pole to pole; a higher level (-1 to 1) makes them thinner."""

    def paint(skin: Skin, rng: np.random.Generator) -> Floats:
        ragged = 0.10 * noise(skin.points, 2.5, rng) + 0.07 * noise(skin.points, 9, rng)
        return smooth((np.cos(2 * np.pi * (count * skin.turn + ragged)) - level) / 0.5 + 0.5)

    return paint


def spots(spacing: float, radius: float, jitter: float = 0.3, stretch: float = 1.0) -> Mask:
    """Return spots on a staggered grid. Each is moved by up to `jitter` cells; stretch > 1 makes the spots long."""

    def paint(skin: Skin, rng: np.random.Generator) -> Floats:
        row = np.floor(skin.along / spacing).astype(int)
        middle = np.interp((row + 0.5) * spacing, skin.along[:, 0], skin.radius[:, 0])
        n_columns = np.maximum(1, np.round(2 * np.pi * middle / spacing)).astype(int)
        position = (skin.turn * n_columns + 0.5 * (row % 2)) % n_columns
        column = np.floor(position).astype(int)
        shake = rng.uniform(-jitter, jitter, (3, row.max() + 1, n_columns.max()))[:, row, column]
        x = (position - column - 0.5 - shake[0]) * 2 * np.pi * skin.radius / n_columns
        y = skin.along - (row + 0.5 + shake[1]) * spacing
        return smooth(2 - 1.5 * np.hypot(x, y / stretch) / (radius * (1 + shake[2])))

    return paint


def noise(points: Floats, scale: float, rng: np.random.Generator) -> Floats:
    """Return random values of about N(0, 1), smooth in space: sums of plane waves in random directions."""
    waves = rng.normal(0, 2 * scale, (3, 16)).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, 16).astype(np.float32)
    field = np.cos(points.astype(np.float32) @ waves + phases).sum(axis=-1)
    return np.asarray(field / np.sqrt(8), np.float64)


def smooth(x: Floats) -> Floats:
    """Return the smooth step from 0 to 1 (Hermite) at x, elementwise."""
    x = x.clip(0, 1)
    return x * x * (3 - 2 * x)


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
