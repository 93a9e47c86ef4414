"""Progress without a terminal, as in the log of a job on a cluster."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from verger.cli.app import console, messages
from verger.cli.progress_bar import ProgressLines, show_progress


def test_a_log_gets_lines_of_progress() -> None:
    sink = io.StringIO()
    lines = ProgressLines(Console(file=sink, width=40), every_s=0)
    lines.stage("featurize", 16480)
    lines.advance(1200, 0)
    lines.advance(2400, 3)
    printed = sink.getvalue().splitlines()
    assert printed[-2].startswith("featurize: 1,200 of 16,480 photos, ") and printed[-2].endswith(" img/s")
    assert printed[-1].startswith("featurize: 2,400 of 16,480 photos, ") and printed[-1].endswith(", 3 rejected")


def test_a_log_is_not_flooded() -> None:
    sink = io.StringIO()
    with show_progress(Console(file=sink)) as progress:
        progress.stage("featurize", 1000)
        for n_done in range(1000):
            progress.advance(n_done, 0)
        progress.note("a choice was made")
    assert sink.getvalue() == "a choice was made\n"


def test_brackets_in_names_and_advice_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    ProgressLines(messages).note("out [red]: pip install 'verger[heic]'")
    console.print("photos [bold]/1.jpg", Table("name", title="[v1]"))
    printed = capsys.readouterr()
    assert printed.err == "out [red]: pip install 'verger[heic]'\n"
    assert "photos [bold]/1.jpg" in printed.out and "[v1]" in printed.out
