"""What a run says where there is no terminal: in the log of a cluster's step, say."""

from __future__ import annotations

import io

from rich.console import Console

from verger.cli.progress_bar import Lines, watching


def test_a_log_is_told_how_far_a_run_is_in_lines() -> None:
    sink = io.StringIO()
    lines = Lines(Console(file=sink, width=40), every_s=0)
    lines.stage("featurize", 16480)
    lines.advance(1200, 0)
    lines.advance(2400, 3)
    said = sink.getvalue().splitlines()
    assert said[-2].startswith("featurize: 1,200 of 16,480 photos, ") and said[-2].endswith(" img/s")
    assert said[-1].startswith("featurize: 2,400 of 16,480 photos, ") and said[-1].endswith(", 3 rejected")


def test_a_log_is_not_flooded() -> None:
    sink = io.StringIO()
    with watching(Console(file=sink)) as progress:
        progress.stage("featurize", 1000)
        for n_done in range(1000):
            progress.advance(n_done, 0)
        progress.note("a choice was made")
    assert sink.getvalue() == "a choice was made\n"
