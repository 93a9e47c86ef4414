"""Make later starts faster: archive Spark's classes, and convert the default network."""

from __future__ import annotations

import tempfile
from pathlib import Path

from verger.java import class_archive, complete_java
from verger.pipeline import chain
from verger.progress import Progress
from verger.sample import SampleOptions, render_sample
from verger.settings import load_settings
from verger.workplace import workplace


def warm_up(progress: Progress) -> Path | None:
    """Run the chain on ten renders and keep what the JVM loaded; return the archive, None if Java cannot."""
    archive = class_archive()
    complete_java()
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="verger-warm-up-", dir=archive.parent) as name:
        folder = Path(name)
        render_sample(folder / "photos", SampleOptions(per_kind=1))
        written = folder / archive.name
        _run_chain(folder, written, progress)
        if not written.is_file():
            return None
        written.replace(archive)
    return archive


def _run_chain(folder: Path, archive: Path, progress: Progress) -> None:
    settings = load_settings(components="2", export="csv,json", report=False)
    photos = str(folder / "photos")
    with workplace("run", photos, folder / "result", settings, progress, archive=archive) as place:
        chain(place, photos)
