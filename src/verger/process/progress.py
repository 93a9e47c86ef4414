"""Progress reporting: the protocol of a display, and a display that shows nothing."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Display of a run's progress; all numbers are numbers of photos."""

    def stage(self, name: str, n_photos: int | None = None) -> None:
        """Show that a stage begins; n_photos is given if the stage counts photos."""

    def note(self, message: str) -> None:
        """Show a message, such as a choice that verger has made."""

    def advance(self, n_done: int, n_rejected: int) -> None:
        """Show how many photos the stage has done in total, and how many of them were rejected."""


class SilentProgress:
    """Display that shows nothing."""

    def stage(self, name: str, n_photos: int | None = None) -> None:
        """Show nothing."""

    def note(self, message: str) -> None:
        """Show nothing."""

    def advance(self, n_done: int, n_rejected: int) -> None:
        """Show nothing."""
