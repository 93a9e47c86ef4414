"""Names of photo files, by which a source's photos are found."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

HEIC_SUFFIXES = (".heic", ".heif")
HEIC_MISSING = "HEIC photos need pi-heif: pip install 'verger[heic]'"
HAS_HEIC = find_spec("_pi_heif") is not None
PHOTO_GLOBS = (
    *("*.jpg", "*.jpeg", "*.jpe", "*.jfif", "*.png", "*.webp", "*.avif", "*.bmp", "*.gif", "*.tif", "*.tiff"),
    *(f"*{suffix}" for suffix in HEIC_SUFFIXES if HAS_HEIC),
)


def heic_advice(skipped: Mapping[str, int]) -> str | None:
    """Return what to install if HEIC photos are among the skipped files, which are counted by suffix."""
    n_photos = sum(skipped.get(suffix, 0) for suffix in HEIC_SUFFIXES)
    return f"{n_photos:,} skipped: {HEIC_MISSING}" if n_photos and not HAS_HEIC else None
