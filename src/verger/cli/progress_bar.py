"""What a person sees while a run goes on: a progress bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from verger.process.progress import Progress, SilentProgress


class Bar:
    """A rich progress bar: stage, photos done, photos a second, time left, rejected."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def stage(self, name: str, n_photos: int | None = None) -> None:
        """Finish the last stage's line and begin one."""
        self._finish()
        self._task = self._bars.add_task(name, total=n_photos, told="")

    def note(self, words: str) -> None:
        """Print a line above the bars."""
        self._bars.console.print(words, style="dim", highlight=False)

    def advance(self, n_done: int, n_rejected: int) -> None:
        """Move the bar."""
        if self._task is None:
            return
        speed = self._bars.tasks[self._task].speed
        told = [f"{speed:.0f} img/s"] if speed else []
        told += [f"[red]{n_rejected} rejected[/red]"] if n_rejected else []
        self._bars.update(self._task, completed=n_done, told=" ".join(told))

    def _finish(self) -> None:
        if self._task is not None:
            task = self._bars.tasks[self._task]
            total = task.total or 1
            self._bars.update(self._task, total=total, completed=total)


class Lines(SilentProgress):
    """Says in plain lines what must be said where there is no terminal, and every `every_s` how far it is."""

    def __init__(self, console: Console, every_s: float = 30.0) -> None:
        self._console = console
        self._every_s = every_s
        self._told = time.monotonic()
        self.stage("")

    def stage(self, name: str, n_photos: int | None = None) -> None:
        """Remember the stage."""
        self._stage, self._n_photos, self._began = name, n_photos, time.monotonic()
        self._tell(name)

    def note(self, words: str) -> None:
        """Print a line."""
        self._console.print(words, highlight=False, soft_wrap=True)

    def advance(self, n_done: int, n_rejected: int) -> None:
        """Print how far it is, once the last line is old enough."""
        spent = max(time.monotonic() - self._began, 1e-9)
        of_all = f" of {self._n_photos:,}" if self._n_photos else ""
        rejected = f", {n_rejected:,} rejected" * bool(n_rejected)
        self._tell(f"{self._stage}: {n_done:,}{of_all} photos, {n_done / spent:.0f} img/s{rejected}")

    def _tell(self, words: str) -> None:
        """A log is read later, and need not hold every second of it."""
        if time.monotonic() - self._told >= self._every_s:
            self._told = time.monotonic()
            self.note(words)


@contextmanager
def watching(console: Console) -> Iterator[Progress]:
    """Yield a progress bar on a terminal, and what prints a line now and then elsewhere."""
    if not console.is_terminal:
        yield Lines(console)
        return
    columns = (
        SpinnerColumn(finished_text="[green]✓[/green]"),
        TextColumn("{task.description:<16}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console, transient=False) as bars:
        bar = Bar(bars)
        yield bar
        bar._finish()
