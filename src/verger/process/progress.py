"""How long work tells whoever watches how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What a watcher of a run implements; all numbers are photos."""

    def stage(self, name: str, n_photos: int | None = None) -> None:
        """A stage begins; `n_photos` where it counts them."""

    def note(self, words: str) -> None:
        """A choice was made that the user should know of."""

    def advance(self, n_done: int, n_rejected: int) -> None:
        """The running stage has done so many photos in all, so many of them rejected."""


class SilentProgress:
    """Watches nothing."""

    def stage(self, name: str, n_photos: int | None = None) -> None:
        """Say nothing."""

    def note(self, words: str) -> None:
        """Say nothing."""

    def advance(self, n_done: int, n_rejected: int) -> None:
        """Say nothing."""
