"""Terraform's providers for the tests: from a folder, where this machine has one, else from its registry."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from verger.cloud.deploy.terraform import PLUGINS

# Read before the tests are cut off from the user's settings.
_SET = os.environ.get(PLUGINS)


@pytest.fixture(scope="session", autouse=True)
def _plugins(_own_folders: None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if folder := _SET or _found():
            patch.setenv(PLUGINS, folder)
        yield


def _found() -> str | None:
    """Return the folder of a mirror in the places where one is kept: HOST/hashicorp/aws lies in it."""
    places = [
        Path.home() / ".terraform.d" / "plugins",
        *Path("/opt").glob("*"),
        Path("/usr/share/terraform/plugins"),
    ]
    return next((str(place) for place in places if list(place.glob("*/hashicorp/aws"))), None)
