"""Writing a sample: one folder for each kind of fruit, and ABOUT.txt, which describes the photos."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from verger.errors import ResultError
from verger.sample.kinds import KINDS
from verger.sample.render import SampleOptions, render_kind

COMMENT = "synthetic, rendered by verger sample"
ABOUT_NAME = "ABOUT.txt"
ABOUT_TITLE = "Synthetic fruit photos, rendered by verger sample"
ABOUT = """
These are computer renders made by verger, not photographs of real fruit. Use them to try the pipeline: accuracy
measured on them says nothing about real fruit. Each kind has one folder, as in Fruits-360.
"""

_IMAGE_DESCRIPTION = 0x010E  # EXIF tag
_DEFAULTS = SampleOptions()


def render_sample(out: Path, options: SampleOptions = _DEFAULTS) -> int:
    """Write out/<kind>/<n>_<size_px>.jpg and ABOUT.txt; return the number of photos.

    The files of an earlier sample in `out` are replaced; raises ResultError if `out` has other content.
    """
    try:
        _clear(out)
        about = f"{ABOUT_TITLE}\n{ABOUT}\nMade with {options}\n"
        # Written first, so that an interrupted sample is recognised and can be replaced.
        (out / ABOUT_NAME).write_text(about, encoding="utf-8")
        for kind in KINDS:
            (out / kind).mkdir(exist_ok=True)
            for i, photo in enumerate(render_kind(kind, options)):
                _save(photo, out / kind / f"{i}_{options.size_px}.jpg")
    except OSError as error:
        raise ResultError(f"cannot write the sample to {out}: {error}") from error
    return len(KINDS) * options.per_kind


def _clear(out: Path) -> None:
    """Create `out`, or delete an earlier sample in it; raise ResultError if it has any other content."""
    if out.exists() and not out.is_dir():
        raise ResultError(f"{out} is a file: choose a folder for the sample")
    out.mkdir(parents=True, exist_ok=True)
    if not any(out.iterdir()):
        return
    about = out / ABOUT_NAME
    if not about.is_file() or not about.read_bytes().startswith(ABOUT_TITLE.encode()):
        raise ResultError(f"{out} is not empty and is not a sample made by verger: choose another folder")
    for photo in (path for kind in KINDS for path in (out / kind).glob("*.jpg")):
        if re.fullmatch(r"\d+_\d+\.jpg", photo.name):
            photo.unlink()


def _save(photo: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[_IMAGE_DESCRIPTION] = COMMENT
    photo.save(path, quality=95, exif=exif, comment=COMMENT)
