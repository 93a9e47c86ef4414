"""Folders that cannot be listed, also for root, to whom nothing is forbidden."""

from __future__ import annotations

import os
from typing import Any

import pytest


def refuse_listing(patch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """Let the listing of folders that end with this name fail in this process, with this error number."""
    real = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith(name):
            raise OSError(number, os.strerror(number))
        return real(path)

    patch.setattr(os, "scandir", scandir)
