"""Progress of a run on stderr: a progress bar on a terminal, otherwise a line every half minute."""

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
from rich.progress import Progress as RichProgress

from verger.process.progress import Progress, SilentProgress


class ProgressBar:
    """A rich progress bar for each stage: photos done, photos per second, time left, rejected."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def stage(self, name: str, n_photos: int | None = None) -> None:
        """Complete the bar of the last stage and add one for this stage."""
        self.finish()
        self._task = self._bars.add_task(name, total=n_photos, details="")

    def note(self, message: str) -> None:
        """Print a line above the bars."""
        self._bars.console.print(message, style="dim", highlight=False)

    def advance(self, n_done: int, n_rejected: int) -> None:
        """Set the bar to `n_done` photos."""
        if self._task is None:
            return
        speed = self._bars.tasks[self._task].speed
        details = [f"{speed:.0f} img/s"] if speed else []
        details += [f"[red]{n_rejected} rejected[/red]"] if n_rejected else []
        self._bars.update(self._task, completed=n_done, details=" ".join(details))

    def finish(self) -> None:
        """Complete the bar of the last stage."""
        if self._task is not None:
            task = self._bars.tasks[self._task]
            total = task.total or 1
            self._bars.update(self._task, total=total, completed=total)


class ProgressLines(SilentProgress):
    """Plain lines for logs: every note, and the progress of the run at most once in `every_s` seconds."""

    def __init__(self, console: Console, every_s: float = 30.0) -> None:
        self._console = console
        self._every_s = every_s
        self._last_print = time.monotonic()
        self.stage("")

    def stage(self, name: str, n_photos: int | None = None) -> None:
        """Print the name of the stage that begins."""
        self._stage, self._n_photos, self._start = name, n_photos, time.monotonic()
        self._print_if_due(name)

    def note(self, message: str) -> None:
        """Print a line."""
        self._console.print(message, highlight=False, soft_wrap=True)

    def advance(self, n_done: int, n_rejected: int) -> None:
        """Print the progress of the stage, if the last line is old enough."""
        elapsed_s = max(time.monotonic() - self._start, 1e-9)
        of_all = f" of {self._n_photos:,}" if self._n_photos else ""
        rejected = f", {n_rejected:,} rejected" * bool(n_rejected)
        self._print_if_due(f"{self._stage}: {n_done:,}{of_all} photos, {n_done / elapsed_s:.0f} img/s{rejected}")

    def _print_if_due(self, message: str) -> None:
        if time.monotonic() - self._last_print >= self._every_s:
            self._last_print = time.monotonic()
            self.note(message)


@contextmanager
def show_progress(console: Console) -> Iterator[Progress]:
    """Yield a progress bar if `console` is a terminal, otherwise progress lines."""
    if not console.is_terminal:
        yield ProgressLines(console)
        return
    columns = (
        SpinnerColumn(finished_text="[green]✓[/green]"),
        TextColumn("{task.description:<16}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[details]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=console, transient=False) as bars:
        bar = ProgressBar(bars)
        yield bar
        bar.finish()
