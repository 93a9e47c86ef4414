"""Chromium, and photos for the phone page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import chromium
from verger.sample import SampleOptions, render_kind

PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Photos of fruit, rendered by verger."""
    folder = tmp_path_factory.mktemp("photos")
    paths = []
    for kind in ("Banana", "Apple", "Pear"):
        for i, photo in enumerate(render_kind(kind, SampleOptions(per_kind=2, size_px=256))):
            paths.append(folder / f"{kind}-{i}.jpg")
            photo.save(paths[-1], quality=92)
    return paths
